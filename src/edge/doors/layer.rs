//! What every request goes through before it is answered: whose page asks, who asks, and whether
//! that was meant.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::info;

use crate::edge::Remote;
use crate::edge::doors::{Caller, Refused};
use crate::edge::metrics::Reason;
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::edge::trail::{Address, TARGET};

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
        Err(refused) => refused_entry(refused, &request).into_response(),
    }
}

/// Finds out who asks; what changes something needs a CSRF token beside a login.
pub(in crate::edge) async fn admit(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match shared.doors.caller(request.headers()).await {
        Ok(caller) => caller,
        Err(refused) => return refused_entry(refused, &request).into_response(),
    };
    if !request.method().is_safe()
        && let Err(refused) = shared.doors.check_csrf(&caller, request.headers())
    {
        return refused_entry(refused, &request).into_response();
    }
    let remote = request.extensions().get::<Remote>().copied();
    let tenant = remote.map(|remote| shared.tenants.of(&caller, remote));
    if let Some(Err(spent)) = tenant.map(|tenant| shared.tenants.request(tenant)) {
        shared.metrics.refuse(Reason::User);
        return Refused::from(spent).into_response();
    }
    request.extensions_mut().insert(caller);
    if let Some(tenant) = tenant {
        request.extensions_mut().insert(tenant);
    }
    let answered = next.run(request);
    match tenant {
        Some(tenant) => shared.tenants.in_turn(tenant, answered).await,
        None => answered.await,
    }
}

/// Writes down that somebody was not let in.
fn refused_entry(refused: Refused, request: &Request) -> Refused {
    let (reason, method, path) = (refused.reason(), request.method(), request.uri().path());
    let address = Address::of(request.extensions());
    info!(target: TARGET, reason, %address, %method, path, "not let in");
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
