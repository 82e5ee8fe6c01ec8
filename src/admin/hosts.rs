//! By which names the port is asked. A page of anybody can have its own name point to this machine
//! and then reads what it is answered; it has no other name, and none without a dot.

use std::net::IpAddr;

use axum::http::uri::Authority;

use crate::auth::listed;

/// Tells whether a host of a request may be this one, where these names are listed besides.
pub(crate) fn may_ask(host: &str, names: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    let is_address = name.parse::<IpAddr>().is_ok();
    let is_inner = !name.contains('.') || name.ends_with(".localhost");
    is_address || is_inner || listed(names).any(|listed| listed.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_that_anybody_can_have_is_believed() {
        for good in ["127.0.0.1:8081", "[::1]:8081", "10.0.0.7", "localhost:1", "quire-a:8081"] {
            assert!(may_ask(good, ""), "{good}");
        }
        for bad in ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "a b", "", "@"] {
            assert!(!may_ask(bad, "quire-0.quire.docs.svc, ops.example"), "{bad:?}");
        }
        assert!(may_ask("quire-0.quire.docs.svc:8081", "quire-0.quire.docs.svc, ops.example"));
        assert!(may_ask("OPS.example", "quire-0.quire.docs.svc,ops.example"));
    }
}
