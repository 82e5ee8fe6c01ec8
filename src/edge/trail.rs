//! What is written down of those who come in: who read or changed rights, restored, cut, exported,
//! deleted, and every entry that was refused. It goes to the log of the process under one target,
//! [`TARGET`], so that it can be kept apart; what changes a document is in its log as well.

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::info;

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

/// Writes down what was asked about a document, and what came of it.
pub(in crate::edge) async fn write_down(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let action = path.and_then(|path| action(request.method(), path));
    let caller = request.extensions().get::<Caller>().cloned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if refused || action.is_some() {
        let subject = caller.as_ref().and_then(Caller::subject).map_or("-", |who| who.as_str());
        let action = action.unwrap_or("use");
        let (refused, status) = (refused, status.as_u16());
        info!(target: TARGET, action, subject, %method, path, refused, status, "asked");
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
    fn what_reads_nothing_but_the_text_is_not_written_down() {
        assert_eq!(action(&Method::GET, "/v1/docs/{doc}"), None);
        assert_eq!(action(&Method::DELETE, "/v1/docs/{doc}"), Some("delete"));
        assert_eq!(action(&Method::GET, "/v1/docs/{doc}/rights"), Some("read-rights"));
    }
}
