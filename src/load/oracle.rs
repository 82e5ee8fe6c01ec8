//! What must hold after a run, asked of the server itself.

use anyhow::Context;

use crate::load::Target;
use crate::load::model::Told;
use crate::types::DocId;

/// Asks a server for a document.
pub(crate) async fn ask(target: &Target, doc: &DocId) -> anyhow::Result<Told> {
    let url = format!("{}/v1/docs/{doc}", target.url(0).trim_end_matches('/'));
    let answer = reqwest::get(&url).await.and_then(reqwest::Response::error_for_status);
    let answer = answer.with_context(|| format!("cannot read {url}"))?;
    answer.json().await.with_context(|| format!("{url} does not answer with a document"))
}

/// Makes a text a document's, as one revision; for what is too long for a batch of a client.
pub(crate) async fn import(target: &Target, doc: &DocId, text: &str) -> anyhow::Result<()> {
    let url = format!("{}/v1/docs/{doc}", target.url(0).trim_end_matches('/'));
    let body = serde_json::json!({ "text": text });
    let answer = reqwest::Client::new().put(&url).json(&body).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    answer.with_context(|| format!("cannot write {url}")).map(drop)
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
