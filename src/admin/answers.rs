//! What other nodes ask this one on operators' behalf, beside what they ask on clients'.

use std::sync::Arc;

use async_trait::async_trait;

use crate::admin::Desk;
use crate::admin::desk::BURDENS;
use crate::relay::{Answers, Blob, Request, Response};

/// Answers what is for the desk, and hands on the rest.
pub struct Branched {
    desk: Arc<Desk>,
    rest: Arc<dyn Answers>,
}

impl Branched {
    /// Returns what answers before `rest` does.
    pub fn new(desk: Arc<Desk>, rest: Arc<dyn Answers>) -> Self {
        Self { desk, rest }
    }
}

#[async_trait]
impl Answers for Branched {
    async fn answer(&self, request: Request) -> Response {
        if request.target != BURDENS {
            return self.rest.answer(request).await;
        }
        let content_type = Some("application/json".to_owned());
        let headers = Vec::new();
        match serde_json::to_vec(&self.desk.burdens().await) {
            Ok(body) => Response { status: 200, content_type, headers, body: Blob(body.into()) },
            Err(_) => Response { status: 500, content_type: None, headers, body: Blob("".into()) },
        }
    }

    fn is_of_nodes(&self, request: &Request) -> bool {
        self.rest.is_of_nodes(request)
    }
}
