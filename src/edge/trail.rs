//! What is written down of those who come in: who read or changed rights, restored, cut, exported,
//! deleted, and every entry that was refused. It goes to the log of the process under one target,
//! [`TARGET`], so that it can be kept apart; what changes a document is in its log as well. Of what
//! is refused again and again there is a line a second, which tells how many were left out.

pub(in crate::edge) mod lines;

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::info;

use crate::edge::doors::{Caller, Refused};
use crate::edge::metrics::Reason;
use crate::edge::routes::Shared;
use crate::edge::trail::lines::Lines;
use crate::edge::{Metrics, Remote};
use crate::types::DocId;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
pub(in crate::edge) async fn write_down(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let action = path.and_then(|path| action(request.method(), path));
    let caller = request.extensions().get::<Caller>().cloned();
    let address = Address::of(request.extensions());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let subject = caller.as_ref().and_then(Caller::subject).map_or("-", |who| who.as_str());
    let left_out = match (refused, action) {
        (true, action) => {
            let like_it = format!("{} {subject}", action.unwrap_or("use"));
            shared.metrics.lines.due(address, &like_it)
        }
        (false, Some(_)) => Some(0),
        (false, None) => None,
    };
    if let Some(left_out) = left_out {
        let (action, status) = (action.unwrap_or("use"), status.as_u16());
        info!(
            target: TARGET, action, subject, %address, %method, path, refused, status, left_out,
            "asked"
        );
    }
    response
}

/// Counts what the port has refused by itself, and writes it down.
pub(in crate::edge) fn turned_away(metrics: &Metrics, reason: Reason, from: IpAddr) {
    metrics.refuse(reason);
    let (reason, address) = (reason.label(), Address(Some(from)));
    if let Some(left_out) = metrics.lines.due(address, reason) {
        info!(target: TARGET, reason, %address, left_out, "refused at the port");
    }
}

/// Writes down that a request was not let in.
pub(in crate::edge) fn not_let_in(lines: &Lines, refused: Refused, request: &Request) {
    let (reason, method, path) = (refused.reason(), request.method(), request.uri().path());
    let address = Address::of(request.extensions());
    if let Some(left_out) = lines.due(address, reason) {
        info!(target: TARGET, reason, %address, %method, path, left_out, "not let in");
    }
}

/// Writes down that somebody was not signed in.
pub(in crate::edge) fn not_signed_in(lines: &Lines, refused: Refused, address: Address) {
    let reason = refused.reason();
    // Beside the line of what else is refused for the same reason.
    if let Some(left_out) = lines.due(address, &format!("sign-in {reason}")) {
        info!(target: TARGET, reason, %address, left_out, "not signed in");
    }
}

/// Writes down that a socket was not let in, or is not any more: then each has its line.
pub(in crate::edge) fn sent_away(
    (lines, was_in): (&Lines, bool),
    reason: &'static str,
    subject: Option<&str>,
    (address, doc): (Address, &DocId),
) {
    let left_out = if was_in { Some(0) } else { lines.due(address, reason) };
    let Some(left_out) = left_out else { return };
    let subject = subject.unwrap_or("-");
    info!(
        target: TARGET, reason, subject, %address, %doc, left_out, "not let in, or not any more"
    );
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
