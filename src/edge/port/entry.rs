//! What happens to each request between its connection and the routes: it is refused where it is
//! not well made, and carries who it comes from.

use std::convert::Infallible;
use std::sync::Arc;

use axum::BoxError;
use axum::Router as Routes;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
    request::Parts,
};
use axum::response::IntoResponse;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::edge::Config;
use crate::edge::headers;
use crate::edge::metrics::{Metrics, Reason};
use crate::edge::port::activity::Activity;
use crate::edge::port::forwarded;
use crate::edge::port::gate::Gate;
use crate::edge::port::listener::Admitted;
use crate::edge::port::remote::Remote;
use crate::edge::problem::Problem;
use crate::edge::trail::turned_away;

/// What the requests of one connection have in common.
pub(crate) struct Entry {
    /// Who is at its other end.
    pub(crate) peer: Remote,
    pub(crate) admitted: Admitted,
    pub(crate) activity: Arc<Activity>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) routes: Routes,
}

impl Entry {
    /// Answers a request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Result<Response<Body>, Infallible>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.activity.ask();
        let (mut head, body) = request.into_parts();
        let version = head.version;
        let mut is_last = ends_connection(&head);
        let answer = match well_made(&mut head) {
            Ok(()) => {
                self.introduce(&mut head).await;
                let request = Request::from_parts(head, body);
                TowerToHyperService::new(self.routes.clone()).call(request).await
            }
            Err(problem) => {
                turned_away(&self.metrics, Reason::Head, self.peer.address);
                is_last = true;
                let mut answer = problem.into_response();
                headers::of_a_refusal(&mut answer, self.client(&head.headers));
                Ok(answer)
            }
        };
        let mut answer = answer.unwrap_or_else(|never| match never {});
        if is_last
            && version < Version::HTTP_2
            && answer.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(answer)
    }

    /// Returns who a request comes from: a proxy that is trusted says for whom it speaks.
    fn client(&self, headers: &HeaderMap) -> Remote {
        let trusted = &self.config.trusted_proxies;
        if !trusted.contain(self.peer.address) {
            return self.peer;
        }
        forwarded::client(self.peer, headers, self.config.proxy_header, trusted)
    }

    /// Has a request carry who it comes from, and what keeps its place.
    async fn introduce(&self, head: &mut Parts) {
        let (peer, trusted) = (self.client(&head.headers), &self.config.trusted_proxies);
        forwarded::strip(&mut head.headers);
        let mut admitted = self.admitted.clone();
        // A connection is counted under its own address. One that becomes a socket of somebody
        // behind a proxy is that one's.
        let is_socket = head.headers.contains_key(header::UPGRADE);
        if is_socket && peer.address != self.peer.address && !trusted.contain(peer.address) {
            match self.gate.admit(peer.address).await {
                Ok(place) => admitted.keep(place),
                Err(crowded) => {
                    self.metrics.refuse(crowded.reason());
                    head.extensions.insert(crowded);
                }
            }
        }
        head.extensions.insert(peer);
        head.extensions.insert(self.activity.clone());
        head.extensions.insert(admitted);
    }
}

/// Tells whether no request comes after this one, because it is not known for sure where it ends.
fn ends_connection(head: &Parts) -> bool {
    let doubtful = [header::TRANSFER_ENCODING, header::UPGRADE];
    doubtful.iter().any(|name| head.headers.contains_key(name))
}

/// Refuses a request that another server could take for one to somebody else, and gives those of
/// all versions one form: a path, and the host in its header.
fn well_made(head: &mut Parts) -> Result<(), Problem> {
    let bad = |detail| Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    if head.method == Method::CONNECT {
        return bad("this is no proxy: there is nothing to connect to");
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return bad("there are two hosts: send one Host header");
    }
    if host.is_none() && head.version == Version::HTTP_11 {
        return bad("there is no host: send a Host header");
    }
    let named = host.map(|host| Authority::try_from(host).ok().filter(plain));
    let named = match named {
        Some(Some(host)) => Some(host),
        Some(None) => return bad("the Host header is no host"),
        None => None,
    };
    let Some(authority) = head.uri.authority().filter(|authority| plain(authority)).cloned() else {
        return match head.uri.authority() {
            Some(_) => bad("the address names more than a host"),
            None => Ok(()),
        };
    };
    match named {
        Some(host) if host != authority => {
            return bad("the address and the Host header name different hosts");
        }
        Some(_) => {}
        None => {
            let Ok(host) = HeaderValue::from_str(authority.as_str()) else {
                return bad("the address names no host");
            };
            head.headers.insert(header::HOST, host);
        }
    }
    let path = head.uri.path_and_query().cloned();
    head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Ok(())
}

/// Tells whether it is a host and perhaps a port, without somebody's name and password.
fn plain(authority: &Authority) -> bool {
    !authority.as_str().contains('@') && !authority.host().is_empty()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::body::to_bytes;
    use futures_util::future::join_all;
    use prometheus::{Histogram, HistogramOpts};

    use super::*;
    use crate::edge::ProxyHeader;
    use crate::edge::port::gate::Crowded;
    use crate::telemetry;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Begins with a connection from an address to a server whose proxies are in 10.0.0.0/8.
    fn entry(from: &str, proxy_header: ProxyHeader) -> Entry {
        let acks = Histogram::with_opts(HistogramOpts::new("quire_test", "test")).unwrap();
        let trusted_proxies = "10.0.0.0/8".parse().unwrap();
        let echo = async |request: axum::extract::Request| {
            let (head, _) = request.into_parts();
            let peer = *head.extensions.get::<Remote>().expect("each request carries one");
            let crowded = head.extensions.get::<Crowded>().is_some();
            let kept = head.extensions.get::<Admitted>().is_some_and(Admitted::is_behind);
            (head.headers, format!("{} {} {crowded} {kept}", peer.address, peer.secure))
        };
        Entry {
            peer: Remote { address: ip(from), secure: true },
            admitted: Admitted::for_test(),
            activity: Arc::new(Activity::new(std::time::Duration::from_secs(10), 1)),
            gate: Arc::new(Gate::new(0, 1)),
            config: Config { trusted_proxies, proxy_header, ..Config::default() },
            metrics: Metrics::register(&telemetry::registry(), acks).unwrap(),
            routes: Routes::new().fallback(echo),
        }
    }

    /// Asks; the headers and the text that come back are what the route was given.
    async fn ask(entry: &Entry, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().uri("/").header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = entry.answer(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let text = to_bytes(body, 1_024).await.unwrap();
        (head.status, head.headers, String::from_utf8(text.to_vec()).unwrap())
    }

    async fn peer(entry: &Entry, headers: &[(&str, &str)], expected: &str) {
        let (status, seen, text) = ask(entry, headers).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, expected), "{headers:?}");
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"] {
            assert!(!seen.contains_key(name), "{name} reached a route");
        }
    }

    const SAID: &[(&str, &str)] = &[
        ("forwarded", "for=198.51.100.1;proto=https, for=192.0.2.7;proto=http"),
        ("x-forwarded-for", "198.51.100.1, 192.0.2.8"),
        ("x-forwarded-proto", "http"),
        ("x-real-ip", "198.51.100.1"),
    ];

    #[tokio::test]
    async fn only_a_trusted_proxy_tells_who_the_client_is() {
        let stranger = entry("192.0.2.1", ProxyHeader::Forwarded);
        peer(&stranger, SAID, "192.0.2.1 true false false").await;
        peer(&stranger, &[], "192.0.2.1 true false false").await;
        let forwarded = entry("10.0.0.1", ProxyHeader::Forwarded);
        peer(&forwarded, SAID, "192.0.2.7 false false false").await;
        peer(&forwarded, &[], "10.0.0.1 true false false").await;
        let older = entry("10.0.0.1", ProxyHeader::XForwarded);
        peer(&older, SAID, "192.0.2.8 false false false").await;
        let silent = entry("10.0.0.1", ProxyHeader::None);
        peer(&silent, SAID, "10.0.0.1 true false false").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_of_somebody_behind_a_proxy_is_counted_under_its_address() {
        let proxy = entry("10.0.0.1", ProxyHeader::Forwarded);
        let socket = [("forwarded", "for=192.0.2.7"), ("upgrade", "websocket")];
        let texts = join_all((0..4).map(|_| ask(&proxy, &socket))).await;
        let texts: Vec<_> = texts.iter().map(|(_, _, text)| text.as_str()).collect();
        // The burst, one that waits, and one for which it would be too long.
        assert_eq!(texts[..3], ["192.0.2.7 false false true"; 3]);
        assert_eq!(texts[3], "192.0.2.7 false true false");
        peer(&proxy, &socket[..1], "192.0.2.7 false false false").await;
        // Those of a connection that was counted already, and a proxy's own, are not.
        let own = entry("192.0.2.1", ProxyHeader::Forwarded);
        for _ in 0..3 {
            peer(&own, &socket[1..], "192.0.2.1 true false false").await;
            peer(&proxy, &socket[1..], "10.0.0.1 true false false").await;
        }
    }

    #[tokio::test]
    async fn a_request_whose_end_is_in_doubt_is_the_last() {
        let entry = entry("192.0.2.1", ProxyHeader::None);
        for doubtful in [("transfer-encoding", "chunked"), ("upgrade", "h2c")] {
            let (_, headers, _) = ask(&entry, &[doubtful]).await;
            assert_eq!(headers.get("connection").map(HeaderValue::as_bytes), Some(&b"close"[..]));
        }
        let (_, headers, _) = ask(&entry, &[]).await;
        assert!(!headers.contains_key("connection"));
        let (status, headers, _) = ask(&entry, &[("host", "other")]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(headers.get("cache-control").map(HeaderValue::as_bytes), Some(&b"no-store"[..]));
    }

    fn check(version: Version, uri: &str, hosts: &[&str], expected: Option<(&str, &str)>) {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let made = well_made(&mut head).ok().map(|()| {
            let host = head.headers.get(header::HOST).map_or("", |host| host.to_str().unwrap());
            (head.uri.to_string(), host.to_owned())
        });
        let expected = expected.map(|(uri, host)| (uri.to_owned(), host.to_owned()));
        assert_eq!(made, expected, "{version:?} {uri} {hosts:?}");
    }

    #[test]
    fn a_request_names_one_host() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        check(one, "/d/a?b", &["h:80"], Some(("/d/a?b", "h:80")));
        check(Version::HTTP_10, "/d/a", &[], Some(("/d/a", "")));
        check(one, "/d/a", &[], None);
        check(one, "/", &["h", "h"], None);
        check(one, "/", &[""], None);
        check(one, "/", &["h i"], None);
        check(one, "/", &["u@h"], None);
        check(one, "http://h/d/a?b", &["H"], Some(("/d/a?b", "H")));
        check(one, "http://h/d/a", &["i"], None);
        check(one, "http://h/d/a", &[], None);
        check(one, "http://u@h/", &["h"], None);
        check(two, "https://h:443/d/a", &[], Some(("/d/a", "h:443")));
        check(two, "https://h", &[], Some(("/", "h")));
        check(two, "https://h/", &["i"], None);
        check(two, "https://h/", &["h", "h"], None);
    }
}
