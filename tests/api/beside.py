#!/usr/bin/env python3
"""What is beside schemathesis at a node: documents that are there before it, a login, and an honest
writer, whose text has to be its own in the end.

Usage: beside.py URL begin|same|sign-in|sign-out|write|metrics. Who asks comes by QUIRE_TOKEN, or by
QUIRE_COOKIE and QUIRE_CSRF. `begin` makes the documents and prints what they are, `same` fails
where they are something else than its input says; `sign-in` prints a page's cookies and its CSRF
token, `sign-out` fails where they were no login, or are one afterwards; `write` writes until its
input ends.
"""

import http.client
import json
import os
import select
import sys
import urllib.parse

# As in schemathesis.toml.
THERE = ["there-1", "there-2", "there-3"]
# No token of the others' reaches it: `*` ends at the dot.
OWN = "honest.words"
CHARS_MAX = 1_000
# Somebody who types quickly.
PAUSE_SECONDS = 0.05


class Node:
    """Asks one node over one connection, and takes nothing but success."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
        token, cookie = os.environ.get("QUIRE_TOKEN"), os.environ.get("QUIRE_COOKIE")
        self.headers = {"authorization": f"Bearer {token}"} if token else {}
        if cookie:
            self.headers |= {"cookie": cookie, "x-csrf-token": os.environ["QUIRE_CSRF"]}

    def send(self, method, path, body=None, **headers):
        """Returns status, headers and text of the answer."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()} | self.headers
        if body is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(body)
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()

    def ask(self, method, path, body=None, **headers):
        """Returns what is answered."""
        status, _, text = self.send(method, path, body, **headers)
        if status // 100 != 2:
            sys.exit(f"{method} {path} was refused: {status} {text}")
        return json.loads(text)


def begin(node):
    """Makes the documents, with a history and members."""
    for doc in THERE:
        node.ask("POST", f"/v1/docs/{doc}", {"text": "one two three\n"})
        node.ask("POST", f"/v1/docs/{doc}/ops", {"base": 1, "op": [14, "four\n"]})
        node.ask("POST", f"/v1/docs/{doc}/versions", {"name": "first", "rev": 1})


def told(node):
    """Returns all that the documents tell."""
    parts = ["", "/history", "/versions", "/rights", "/export?format=json"]
    paths = [f"/v1/docs/{doc}{part}" for doc in THERE for part in parts]
    return {path: node.ask("GET", path) for path in paths}


def same(node, before):
    """Fails where the documents tell something else."""
    for path, now in told(node).items():
        if now != before[path]:
            sys.exit(f"{path} has changed:\n{before[path]}\n{now}")


def sign_in(node):
    """Makes a token a login, as a page does; the cookies are one word."""
    status, headers, text = node.send("POST", "/auth/session")
    if status != 200:
        sys.exit(f"not signed in: {status} {text}")
    cookies = [value.split(";")[0] for value in headers.get_all("set-cookie")]
    csrf = dict(cookie.split("=", 1) for cookie in cookies)["__Host-quire-csrf"]
    print(";".join(cookies), csrf)


def sign_out(node):
    """Ends a login, which has to be one until then."""
    told = [node.send(method, "/auth/session")[0] for method in ("GET", "DELETE", "GET")]
    if told != [200, 204, 401]:
        sys.exit(f"the login is not one until it ends: {told}")


def write(node):
    """Appends a word at a time, and removes what is over at the beginning; every third request is
    made twice, and counts once."""
    text, number = "begun", 0
    rev = node.ask("POST", f"/v1/docs/{OWN}", {"text": text})["rev"]
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        number += 1
        over, word = max(0, len(text) - CHARS_MAX), f" word{number}"
        op = [{"d": over}] * (over > 0) + [len(text) - over, word]
        edit = ("POST", f"/v1/docs/{OWN}/ops", {"base": rev, "op": op})
        answers = [node.ask(*edit, idempotency_key=f"edit-{number}")["rev"]]
        if number % 3 == 0:
            answers.append(node.ask(*edit, idempotency_key=f"edit-{number}")["rev"])
        rev, text = rev + 1, text[over:] + word
        if answers != [rev] * len(answers):
            sys.exit(f"edit {number} was told as {answers}, not {rev}: nobody else writes there")
    is_there = node.ask("GET", f"/v1/docs/{OWN}")
    if (is_there["text"], is_there["rev"]) != (text, rev):
        sys.exit(f"the text is not what was written: {is_there}, not {text!r} at {rev}")
    if number < 10:
        sys.exit(f"only {number} edits were made beside the others")
    print(f"{number} edits beside it, each there once, none refused")


def main():
    """Does one of the things."""
    url, what = sys.argv[1:]
    node = Node(url)
    match what:
        case "begin":
            begin(node)
            json.dump(told(node), sys.stdout)
        case "same":
            same(node, json.load(sys.stdin))
        case "sign-in":
            sign_in(node)
        case "sign-out":
            sign_out(node)
        case "write":
            write(node)
        case "metrics":
            print(node.send("GET", "/metrics")[2])
        case _:
            sys.exit(__doc__)


main()
