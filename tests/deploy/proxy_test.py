"""The real proxy before three small stand-ins for nodes: proxy_test.py CADDY.

Everything is on the loopback interface, on free ports. It also asks `quire-ready`, which the image
uses as its health check, about these stand-ins.
"""

import os
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
DEADLINE = 20


class Node(socketserver.ThreadingTCPServer):
    """Stands in for a node: it tells its name and its caller's host, and echoes WebSockets."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, name):
        super().__init__(("127.0.0.1", 0), Handler)
        self.name, self.ready, self.silent = name, True, False
        self.address = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Is silent where the other side has gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while request := self.rfile.readline().decode():
            headers = {}
            while line := self.rfile.readline().decode().strip():
                key, value = line.split(":", 1)
                headers[key.lower()] = value.strip()
            path = request.split()[1]
            if self.server.silent:
                time.sleep(DEADLINE)
            if headers.get("upgrade", "").lower() == "websocket":
                return self.echo()
            status = "503 Service Unavailable" if path == "/readyz" and not self.server.ready else "200 OK"
            body = f"{self.server.name} {headers.get('host')} {path}"
            self.wfile.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        return None

    def echo(self):
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.wfile.write(f"{head}X-Node: {self.server.name}\r\n\r\n".encode())
        while data := self.request.recv(65536):
            self.wfile.write(data)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, condition):
    """Waits for a condition."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


class Proxy:
    """Runs Caddy with deploy/proxy/Caddyfile."""

    def __init__(self, caddy, folder, nodes):
        self.port = free_port()
        environment = {
            **os.environ,
            "HOME": folder,
            "XDG_DATA_HOME": folder,
            "XDG_CONFIG_HOME": folder,
            "CADDY_ADMIN": f"127.0.0.1:{free_port()}",
            "QUIRE_SITE": f"https://localhost:{self.port}",
            "QUIRE_NODES": " ".join(node.address for node in nodes),
        }
        self.log = open(Path(folder) / "log", "w+b")
        command = [caddy, "run", "--adapter", "caddyfile", "--config", str(DEPLOY / "proxy/Caddyfile")]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    def connect(self):
        context = ssl.create_default_context()
        # The authority is made at the first start, of this test's own.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        return context.wrap_socket(raw, server_hostname="localhost")

    def get(self, path):
        """Returns the status and the body."""
        with self.connect() as line:
            head = f"GET {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nConnection: close\r\n\r\n"
            line.sendall(head.encode())
            answer = b""
            while data := line.recv(65536):
                answer += data
        head, _, body = answer.decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def name(self):
        return self.get("/d/notes")[1].split()[0]

    def websocket(self):
        """Opens a WebSocket; returns the connection and the node's name."""
        line = self.connect()
        line.sendall(
            f"GET /ws/notes HTTP/1.1\r\nHost: localhost:{self.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.recv(1)
        head = head.decode()
        assert " 101 " in head.splitlines()[0], head
        return line, head.lower().split("x-node: ")[1].split()[0]

    def up(self):
        assert self.process.poll() is None, "the proxy has ended"
        try:
            return self.get("/")[0] == 200
        except OSError:
            return False


def echoes(line):
    line.sendall(b"abc")
    return line.recv(3) == b"abc"


def proxy(caddy, folder):
    nodes = [Node(name) for name in ("a", "b", "c")]
    proxy = Proxy(caddy, folder, nodes)
    try:
        until("the proxy serves", proxy.up)
        assert {proxy.name() for _ in range(60)} == {"a", "b", "c"}, "some node gets no request"
        assert proxy.get("/d/notes")[1].split()[1] == f"localhost:{proxy.port}", "the host is not kept"
        for path in ("/livez", "/readyz", "/metrics"):
            assert proxy.get(path)[0] == 404, f"{path} can be seen from outside"
        lines = dict(reversed(proxy.websocket()) for _ in range(3))
        assert set(lines) == {"a", "b", "c"}, f"three WebSockets are at {sorted(lines)}"
        assert all(echoes(line) for line in lines.values())

        nodes[0].ready = False
        until("a node that drains gets no more", lambda: "a" not in {proxy.name() for _ in range(20)})
        assert echoes(lines["a"]), "the WebSocket of a node that drains was cut"
        assert proxy.websocket()[1] != "a"
        nodes[0].ready = True
        until("it is back", lambda: "a" in {proxy.name() for _ in range(20)})

        nodes[1].shutdown()
        nodes[1].server_close()
        assert all(proxy.get("/d/notes")[0] == 200 for _ in range(30)), "a dead node costs an error"
    except BaseException:
        proxy.log.seek(0)
        sys.stderr.write(proxy.log.read().decode()[-4000:])
        raise
    finally:
        proxy.process.terminate()
        proxy.process.wait(DEADLINE)


def ready():
    def ask(address):
        begun = time.monotonic()
        done = subprocess.run([str(DEPLOY / "ready"), address], capture_output=True, timeout=DEADLINE)
        assert time.monotonic() - begun < 3, "it takes longer than the health check allows"
        assert not done.stdout + done.stderr, "it is not silent"
        return done.returncode == 0

    node = Node("a")
    assert ask(node.address)
    node.ready = False
    assert not ask(node.address)
    node.ready, node.silent = True, True
    assert not ask(node.address)
    assert not ask(f"127.0.0.1:{free_port()}")


if __name__ == "__main__":
    ready()
    with tempfile.TemporaryDirectory() as folder:
        proxy(sys.argv[1], folder)
