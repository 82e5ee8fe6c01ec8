//! What is written down of those who come in: who read or changed rights, restored, cut, exported,
//! deleted, and every entry that was refused. It goes to the log of the process under one target,
//! [`TARGET`], so that it can be kept apart; what changes a document is in its log as well.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::info;

use crate::edge::Remote;
use crate::edge::doors::Caller;

/// What the lines are filtered by.
pub(in crate::edge) const TARGET: &str = "quire::audit";

/// Lists what is written down where it was done, too: the rest is only where it was refused.
const ACTIONS: &[(Method, &str, &str)] = &[
    (Method::PUT, "/v1/docs/{doc}", "import"),
    (Method::POST, "/v1/docs/{doc}", "create"),
    (Method::DELETE, "/v1/docs/{doc}", "delete"),
    (Method::POST, "/v1/docs/{doc}/undelete", "undelete"),
    (Method::POST, "/v1/docs/{doc}/restore", "restore"),
    (Method::POST, "/v1/docs/{doc}/cut", "cut"),
    (Method::POST, "/v1/docs/{doc}/erase", "erase"),
    (Method::GET, "/v1/docs/{doc}/export", "export"),
    (Method::GET, "/v1/docs/{doc}/rights", "read-rights"),
    (Method::PUT, "/v1/docs/{doc}/rights", "change-rights"),
];

/// Spells from which address something was asked; `-` where no port has said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) struct Address(Option<IpAddr>);

impl Address {
    /// Returns what the port says of a request.
    pub(in crate::edge) fn of(extensions: &Extensions) -> Self {
        Self(extensions.get::<Remote>().map(|remote| remote.address))
    }
}

impl<S: Sync> FromRequestParts<S> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// Writes down what was asked about a document, and what came of it.
pub(in crate::edge) async fn write_down(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let action = path.and_then(|path| action(request.method(), path));
    let caller = request.extensions().get::<Caller>().cloned();
    let address = Address::of(request.extensions());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if refused || action.is_some() {
        let subject = caller.as_ref().and_then(Caller::subject).map_or("-", |who| who.as_str());
        let action = action.unwrap_or("use");
        let (refused, status) = (refused, status.as_u16());
        info!(
            target: TARGET, action, subject, %address, %method, path, refused, status, "asked"
        );
    }
    response
}

fn action(method: &Method, path: &str) -> Option<&'static str> {
    let action = ACTIONS.iter().find(|(known, at, _)| known == method && *at == path);
    action.map(|(_, _, action)| *action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_port_has_seen_has_no_address() {
        let mut extensions = Extensions::new();
        assert_eq!(Address::of(&extensions).to_string(), "-");
        let address = "2001:db8::7".parse().unwrap();
        extensions.insert(Remote { address, secure: true });
        assert_eq!(Address::of(&extensions).to_string(), "2001:db8::7");
    }

    #[test]
    fn what_reads_nothing_but_the_text_is_not_written_down() {
        assert_eq!(action(&Method::GET, "/v1/docs/{doc}"), None);
        assert_eq!(action(&Method::DELETE, "/v1/docs/{doc}"), Some("delete"));
        assert_eq!(action(&Method::GET, "/v1/docs/{doc}/rights"), Some("read-rights"));
    }
}
