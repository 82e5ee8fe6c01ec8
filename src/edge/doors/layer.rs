//! What every request goes through before it is answered: whose page asks, who asks, and whether
//! that was meant.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::edge::Remote;
use crate::edge::doors::{Caller, Refused, Wish};
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::edge::trail::not_let_in;

/// Refuses what a page of another origin asks for.
pub(in crate::edge) async fn own_pages(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let origins = shared.doors.origins();
    let remote = request.extensions().get::<Remote>();
    match origins.check(request.method(), request.uri(), request.headers(), remote) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused_entry(&shared, refused, &request).into_response(),
    }
}

/// Finds out who asks; what changes something needs a CSRF token beside a login.
pub(in crate::edge) async fn admit(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    admit_to(Wish::In, shared, request, next).await
}

/// Finds out who asks to be signed out.
pub(in crate::edge) async fn admit_out(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    admit_to(Wish::Out, shared, request, next).await
}

async fn admit_to(wish: Wish, shared: Arc<Shared>, mut request: Request, next: Next) -> Response {
    let remote = request.extensions().get::<Remote>().copied();
    let (headers, is_safe) = (request.headers(), request.method().is_safe());
    let judging = async {
        let caller = shared.doors.caller(headers, wish).await?;
        if !is_safe {
            shared.doors.check_csrf(&caller, headers)?;
        }
        Ok(caller)
    };
    let shows = headers.contains_key(header::AUTHORIZATION);
    let caller = match judged(&shared, (remote, shows), judging).await {
        Ok(caller) => caller,
        Err(refused) => return refused_entry(&shared, refused, &request).into_response(),
    };
    let tenant = remote.map(|remote| shared.tenants.of(&caller, remote));
    if let Some(Err(spent)) = tenant.map(|tenant| shared.tenants.request(tenant)) {
        shared.metrics.refuse(spent.reason());
        return refused_entry(&shared, spent.into(), &request).into_response();
    }
    request.extensions_mut().insert(caller);
    if let Some(tenant) = tenant {
        request.extensions_mut().insert(tenant);
    }
    let answered = next.run(request);
    let Some(tenant) = tenant else { return answered.await };
    let mut answer = shared.tenants.in_turn(tenant, answered).await;
    // What it takes until it was sent counts for the same.
    answer.extensions_mut().insert(tenant);
    answer
}

/// Refuses what changes a document where nobody has shown who they are: before its body is read,
/// and before the document is opened.
pub(in crate::edge) async fn known_writers(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    if !request.method().is_safe()
        && let Err(refused) = shared.doors.check_known(request.extensions().get())
    {
        return refused.into_response();
    }
    next.run(request).await
}

/// Has credentials judged. Where too many of their address were refused, no token and no ticket is:
/// guessing is slow, and costs no more than that. A login is opened all the same, which costs
/// little: whoever shares an address with somebody who guesses goes on.
pub(in crate::edge) async fn judged<T>(
    shared: &Shared,
    (remote, shows): (Option<Remote>, bool),
    judging: impl Future<Output = Result<T, Refused>>,
) -> Result<T, Refused> {
    let Some(at) = remote.map(|remote| shared.tenants.at(remote)) else { return judging.await };
    if shows {
        shared.tenants.may_try(at).inspect_err(|spent| shared.metrics.refuse(spent.reason()))?;
    }
    judging.await.inspect_err(|refused| {
        if refused.is_guess() {
            shared.tenants.guessed(at);
        }
    })
}

/// Lets an address ask at a rate for what is the same whoever asks.
pub(in crate::edge) async fn at_a_rate(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    match within_rate(&shared, &request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused_entry(&shared, refused, &request).into_response(),
    }
}

/// Counts a request for its address.
fn within_rate(shared: &Shared, request: &Request) -> Result<(), Refused> {
    let Some(remote) = request.extensions().get::<Remote>() else { return Ok(()) };
    let counted = shared.tenants.request(shared.tenants.at(*remote));
    counted.inspect_err(|spent| shared.metrics.refuse(spent.reason())).map_err(Refused::from)
}

/// Writes down that somebody was not let in.
fn refused_entry(shared: &Shared, refused: Refused, request: &Request) -> Refused {
    not_let_in(&shared.metrics.lines, refused, request);
    refused
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        // A route that forgot to ask lets nobody do anything.
        Ok(caller.unwrap_or_else(Self::anonymous))
    }
}
