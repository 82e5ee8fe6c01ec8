//! What must hold after a run, asked of the server itself.

use std::time::Duration;

use anyhow::{Context, ensure};
use axum::http::Method;

use crate::client::{Answer, Bounds, Http};
use crate::load::Target;
use crate::load::model::Told;
use crate::types::DocId;

/// Large documents take their time.
const BOUNDS: Bounds = Bounds { silence_max: Duration::from_secs(60), answer_bytes_max: 1 << 29 };

/// Asks a server for a document.
pub(crate) async fn ask(target: &Target, doc: &DocId) -> anyhow::Result<Told> {
    let url = url(target, doc);
    let read = question(target, Method::GET, &url, None).await;
    let answer = read.with_context(|| format!("cannot read {url}"))?;
    let told = serde_json::from_slice(&answer.body);
    told.with_context(|| format!("{url} does not answer with a document"))
}

/// Makes a text a document's, as one revision; for what is too long for a batch of a client.
pub(crate) async fn import(target: &Target, doc: &DocId, text: &str) -> anyhow::Result<()> {
    let url = url(target, doc);
    let body = serde_json::to_vec(&serde_json::json!({ "text": text }))?;
    let written = question(target, Method::PUT, &url, Some(body)).await;
    written.with_context(|| format!("cannot write {url}")).map(drop)
}

fn url(target: &Target, doc: &DocId) -> String {
    format!("{}/v1/docs/{doc}", target.url(0).trim_end_matches('/'))
}

async fn question(
    target: &Target,
    method: Method,
    url: &str,
    body: Option<Vec<u8>>,
) -> anyhow::Result<Answer> {
    let http = Http::open(target.url(0), &target.credentials, BOUNDS).await?;
    let answer = http.ask(method, url, body).await?;
    ensure!(answer.status.is_success(), "the server answers {}", answer.status);
    Ok(answer)
}

/// Compares a document with what it must be; `batches` are those acknowledged.
pub(crate) fn check(doc: &DocId, told: &Told, text: &str, batches: u64) -> Vec<String> {
    let mut faults = Vec::new();
    if told.text != text {
        let (got, wanted) = (told.text.chars().count(), text.chars().count());
        faults.push(format!("{doc}: the text differs ({got} characters, {wanted} expected)"));
    }
    if told.head != batches {
        let head = told.head;
        faults.push(format!("{doc}: {head} revisions for {batches} acknowledged batches"));
    }
    faults
}
