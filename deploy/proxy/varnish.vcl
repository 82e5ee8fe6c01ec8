# Varnish in front of the nodes: it keeps pages of public documents and assets, and nothing else.
# TLS ends before it (hitch, Caddy), or is not there.
#
# For nodes of your own: a backend each, all of them in vcl_init, and their addresses among the
# nodes that may purge. In each node's configuration:
#
#   [purge]
#   caches = "http://varnish:6081/pub/{doc}"
vcl 4.1;

import directors;

probe ready {
  .url = "/readyz";
  .interval = 1s;
  .timeout = 1s;
  .window = 3;
  .threshold = 2;
  .initial = 2;
}

backend quire_1 {
  .host = "127.0.0.1";
  .port = "8080";
  .probe = ready;
}

# Who may say that a page has changed: the nodes, and nobody else. What ends TLS on this machine has
# an address of theirs: it has to tell for whom it asks, by X-Forwarded-For (Caddy does by itself) or
# by the PROXY protocol (hitch).
acl nodes {
  "127.0.0.1";
}

sub vcl_init {
  # Every node serves every document, so there is no stickiness.
  new quire = directors.round_robin();
  quire.add_backend(quire_1);
}

sub vcl_recv {
  set req.backend_hint = quire.backend();
  if (req.method == "PURGE") {
    # Varnish has put the client behind what came: two are one whom a proxy speaks for.
    if (client.ip !~ nodes || req.http.X-Forwarded-For ~ ",") {
      return (synth(403));
    }
    return (purge);
  }
  # For those who watch the nodes, from inside.
  if (req.url ~ "^/(livez|readyz|metrics)") {
    return (synth(404));
  }
  if (req.http.Upgrade ~ "(?i)websocket") {
    return (pipe);
  }
  # Whatever may be somebody's own goes through, and is not even looked up.
  if ((req.method != "GET" && req.method != "HEAD") || req.url !~ "^/(pub|assets)/") {
    return (pass);
  }
  # These are the same for everybody.
  unset req.http.Cookie;
  unset req.http.Authorization;
  return (hash);
}

sub vcl_hash {
  # One site: a node that purges need not know its name.
  hash_data(req.url);
  return (lookup);
}

sub vcl_pipe {
  set bereq.http.Upgrade = req.http.Upgrade;
  set bereq.http.Connection = req.http.Connection;
}

sub vcl_deliver {
  unset resp.http.Surrogate-Key;
  unset resp.http.Cache-Tag;
}
