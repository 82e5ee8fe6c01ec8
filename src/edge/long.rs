//! Long work that a request asks for: reading a history, comparing texts. It is done where the
//! document is, at one of the node's places, of which one user cannot have all.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::edge::doors::Caller;
use crate::edge::metrics::Reason;
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::edge::tenants::Tenant;
use crate::edge::tenants::places::{NoPlace, Whose};

/// When a request may come again that finds no place.
const RETRY: Duration = Duration::from_secs(1);

/// Does the long work of whoever asks.
pub(crate) struct Long {
    shared: Arc<Shared>,
    whose: Whose,
}

impl Long {
    /// Does work at a place, once there is one; it is done to its end, also where nobody waits for
    /// the answer any more. What a request reads, it reads inside: who waits takes no memory.
    pub(crate) async fn work<T: Send + 'static>(
        self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let Self { shared, whose } = self;
        shared.tenants.places.work(whose, &shared.tasks, work).await?
    }
}

impl FromRequestParts<Arc<Shared>> for Long {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Infallible> {
        let tenant = parts.extensions.get::<Tenant>().copied();
        let whose = shared.tenants.whose(tenant, parts.extensions.get::<Caller>());
        Ok(Self { shared: shared.clone(), whose })
    }
}

impl From<NoPlace> for Problem {
    fn from(none: NoPlace) -> Self {
        let (status, detail, reason) = match none {
            NoPlace::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too much history is being read from this node: try again in a second",
                Reason::LongWork,
            ),
            NoPlace::OwnFull => (
                StatusCode::TOO_MANY_REQUESTS,
                "you have too much history read at once: wait for the answers, and try again",
                Reason::UserLongWork,
            ),
        };
        Self::new(status, detail).retry(RETRY).counted(reason)
    }
}
