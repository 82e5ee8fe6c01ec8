//! What proxies tell of a client in the heads of its requests: `Forwarded` (RFC 7239), or
//! `X-Forwarded-For` and `X-Forwarded-Proto`.
//!
//! Each proxy adds on the right where a request came to it from. What a trusted one has added is
//! true, and whatever stands to the left of an address that is not trusted may be made up by it: of
//! the addresses, from the right, the first that is no trusted proxy's is the client's. A proxy
//! leaves alone what it does not know, so that only one kind is looked at.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::edge::config::ProxyHeader;
use crate::edge::port::networks::Networks;
use crate::edge::port::remote::Remote;

const FORWARDED: &str = "forwarded";
const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";

/// What only proxies say; no route sees it, whoever has said it.
const ALL: [&str; 6] = [FORWARDED, FOR, PROTO, "x-forwarded-host", "x-forwarded-port", "x-real-ip"];

/// Takes what proxies say out of a head.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in ALL {
        headers.remove(name);
    }
}

/// Returns who the client is behind a trusted proxy; what cannot be read leaves the last that can.
pub(crate) fn client(
    proxy: Remote,
    headers: &HeaderMap,
    header: ProxyHeader,
    trusted: &Networks,
) -> Remote {
    match header {
        ProxyHeader::None => proxy,
        ProxyHeader::Forwarded => by_forwarded(proxy, headers, trusted),
        ProxyHeader::XForwarded => by_x_forwarded(proxy, headers, trusted),
    }
}

fn by_forwarded(proxy: Remote, headers: &HeaderMap, trusted: &Networks) -> Remote {
    let mut peer = proxy;
    for element in elements(headers, FORWARDED) {
        let pair = |wanted: &str| {
            element.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case(wanted).then(|| unquoted(value.trim()))
            })
        };
        let Some(address) = pair("for").as_deref().and_then(node) else { break };
        let secure = pair("proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        peer = Remote { address, secure };
        if !trusted.contain(address) {
            break;
        }
    }
    peer
}

fn by_x_forwarded(proxy: Remote, headers: &HeaderMap, trusted: &Networks) -> Remote {
    let mut address = None;
    for element in elements(headers, FOR) {
        let Some(next) = node(element.trim()) else { break };
        address = Some(next);
        if !trusted.contain(next) {
            break;
        }
    }
    let Some(address) = address else { return proxy };
    let protos = elements(headers, PROTO);
    let secure = matches!(&*protos, [proto] if proto.trim().eq_ignore_ascii_case("https"));
    Remote { address, secure }
}

/// Returns the elements of a header, the last one first.
///
/// Quotes do not matter: what a client has made up must not take in what a proxy puts behind it,
/// and proxies say nothing with a comma in it.
fn elements(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).into_iter().rev();
    let lines = lines.map(|line| String::from_utf8_lossy(line.as_bytes()));
    let elements = |line: Cow<'_, str>| line.rsplit(',').map(str::to_owned).collect::<Vec<_>>();
    lines.flat_map(elements).collect()
}

/// Returns what a value says, in quotes or not.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut escaped = false;
    let kept = inner.chars().filter(|c| {
        escaped = *c == '\\' && !escaped;
        !escaped
    });
    kept.collect()
}

/// Reads an address, with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn check(header: ProxyHeader, lines: &[(&'static str, &str)], address: &str, secure: bool) {
        let trusted = "10.0.0.0/8, 2001:db8:1::/48".parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let proxy = Remote { address: PROXY.parse().unwrap(), secure: false };
        let expected = Remote { address: address.parse().unwrap(), secure };
        assert_eq!(client(proxy, &headers, header, &trusted), expected, "{lines:?}");
        strip(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn the_first_from_the_right_that_is_not_trusted_is_the_client() {
        let check = |lines: &[&str], address: &str, secure| {
            let lines: Vec<_> = lines.iter().map(|line| (FORWARDED, *line)).collect();
            check(ProxyHeader::Forwarded, &lines, address, secure);
        };
        check(&[], PROXY, false);
        check(&["for=192.0.2.7"], "192.0.2.7", false);
        check(&["For=\"192.0.2.7:4711\";Proto=HTTPS;by=10.0.0.1"], "192.0.2.7", true);
        check(&["for=\"[2001:db8:2::7]:4711\";proto=https"], "2001:db8:2::7", true);
        check(&["for=\"[2001:db8:2::7]\""], "2001:db8:2::7", false);
        // What the client made up stands to the left.
        check(&["for=198.51.100.1;proto=https, for=192.0.2.7;proto=http"], "192.0.2.7", false);
        check(&["for=198.51.100.1;proto=https", "for=192.0.2.7"], "192.0.2.7", false);
        check(&["for=192.0.2.7;proto=https, for=10.0.0.2;proto=http"], "192.0.2.7", true);
        check(&["for=192.0.2.7, for=\"[2001:db8:1::2]\", for=10.9.9.9"], "192.0.2.7", false);
        check(&["for=10.0.0.2, for=10.0.0.3"], "10.0.0.2", false);
        // What the client says does not take in what is put behind it.
        check(&["for=\"198.51.100.1, for=192.0.2.7"], "192.0.2.7", false);
        check(&["x=\"\\, for=192.0.2.7;proto=https"], "192.0.2.7", true);
        check(&["\u{e9}, for=192.0.2.7"], "192.0.2.7", false);
        check(&["for=\"192.0.\\2.7\""], "192.0.2.7", false);
        for unknown in ["for=unknown", "for=_hidden", "proto=https", "nonsense", "for=", "\u{e9}"] {
            check(&[&format!("for=192.0.2.7;proto=https, {unknown}")], PROXY, false);
            check(&[&format!("for=192.0.2.7, {unknown}, for=10.0.0.2")], "10.0.0.2", false);
        }
    }

    #[test]
    fn the_older_headers_are_read_alike_where_they_are_asked_for() {
        let check = |x: &[&str], proto: &[&str], address: &str, secure| {
            let x = x.iter().map(|line| (FOR, *line));
            let lines: Vec<_> = x.chain(proto.iter().map(|line| (PROTO, *line))).collect();
            check(ProxyHeader::XForwarded, &lines, address, secure);
        };
        check(&["192.0.2.7"], &["https"], "192.0.2.7", true);
        check(&["198.51.100.1, 192.0.2.7"], &["http"], "192.0.2.7", false);
        check(&["198.51.100.1", "192.0.2.7,10.0.0.2"], &[], "192.0.2.7", false);
        check(&["192.0.2.7:80"], &["https", "https"], "192.0.2.7", false);
        check(&["2001:db8:2::7"], &["https"], "2001:db8:2::7", true);
        check(&["192.0.2.7, nonsense"], &["https"], PROXY, false);
        check(&[], &["https"], PROXY, false);
    }

    #[test]
    fn only_one_kind_is_looked_at() {
        let lines = [(FORWARDED, "for=198.51.100.1;proto=https"), (FOR, "192.0.2.7")];
        check(ProxyHeader::None, &lines, PROXY, false);
        check(ProxyHeader::XForwarded, &lines, "192.0.2.7", false);
        check(ProxyHeader::Forwarded, &lines, "198.51.100.1", true);
    }
}
