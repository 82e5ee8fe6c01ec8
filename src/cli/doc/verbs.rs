//! What each verb asks and prints.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde::Serialize;
use tokio::time::sleep;

use crate::cli::config::Output;
use crate::cli::doc::args::{Args, By, Verb};
use crate::cli::doc::client::Client;
use crate::cli::doc::model::{
    Blame, Changed, Cut, Diff, Erasure, Exported, History, Import, Name, Restore, Text, Verified,
    WasCut,
};
use crate::cli::doc::print::{self, HistoryTable};
use crate::cli::exit::Exit;
use crate::cli::table::many_lines;
use crate::types::{DocId, Revision};

const PAGE_ROWS: u64 = 1_000;
const PIECES: Option<u64> = Some(10_000);
const NOTHING: Option<&()> = None;

/// How long is waited before a node is asked again that is still erasing.
const ERASE_PAUSE: Duration = Duration::from_secs(1);

/// Runs a verb.
pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let credentials = args.credentials.open([args.url.as_str()])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no thread could be started")?;
    let out = Out { output: args.output };
    runtime.block_on(async {
        let client = Client::open(args.url, &credentials, document(&args.verb)).await?;
        dispatch(&client, &out, args.verb).await
    })
}

fn document(verb: &Verb) -> &DocId {
    match verb {
        Verb::Cat { doc, .. }
        | Verb::Import { doc, .. }
        | Verb::Export { doc, .. }
        | Verb::History { doc, .. }
        | Verb::Blame { doc, .. }
        | Verb::Diff { doc, .. }
        | Verb::Restore { doc, .. }
        | Verb::Delete { doc }
        | Verb::Undelete { doc }
        | Verb::Name { doc, .. }
        | Verb::Cut { doc, .. }
        | Verb::Erase { doc, .. }
        | Verb::Verify { doc } => doc,
    }
}

async fn dispatch(client: &Client, out: &Out, verb: Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Cat { rev, .. } => cat(client, out, rev).await?,
        Verb::Export { file, rev, .. } => export(client, out, file, rev).await?,
        Verb::Import { file, by, .. } => {
            let text = input(file)?;
            let body = Import { text: &text, author: &by.author };
            changed(client, out, Method::PUT, "", Some(&body)).await?;
        }
        Verb::History { from, to, .. } => history(client, out, from, to).await?,
        Verb::Blame { rev, .. } => {
            out.print(&blame(client, rev).await?, print::blame)?;
        }
        Verb::Diff { from, to, .. } => diff(client, out, from, to).await?,
        Verb::Restore { rev, by, .. } => {
            let body = Restore { rev, author: &by.author };
            changed(client, out, Method::POST, "restore", Some(&body)).await?;
        }
        Verb::Delete { .. } => changed(client, out, Method::DELETE, "", NOTHING).await?,
        Verb::Undelete { .. } => changed(client, out, Method::POST, "undelete", NOTHING).await?,
        Verb::Name { name, rev, by, .. } => {
            let body = Name { name: &name, rev, author: &by.author };
            changed(client, out, Method::POST, "versions", Some(&body)).await?;
        }
        Verb::Cut { before, by, .. } => {
            let body = Cut { before, author: &by.author };
            let cut: WasCut = client.change(Method::POST, "cut", Some(&body)).await?;
            out.print(&cut, |cut| format!("history begins at revision {}\n", cut.base))?;
        }
        Verb::Erase { before, wait_max, by, .. } => {
            return erase(client, out, (before, wait_max), &by).await;
        }
        Verb::Verify { .. } => return verify(client, out).await,
    }
    Ok(Exit::Success)
}

async fn cat(client: &Client, out: &Out, rev: Option<Revision>) -> anyhow::Result<()> {
    let text: Text = client.get("", &[("rev", number(rev))]).await?;
    let terminal = io::stdout().is_terminal();
    out.print(&text, |text| shown(&text.text, terminal))
}

async fn export(
    client: &Client,
    out: &Out,
    file: Option<PathBuf>,
    rev: Option<Revision>,
) -> anyhow::Result<()> {
    let (rev, text) = client.text("export", &[("rev", number(rev))]).await?;
    let Some(file) = file.filter(|file| file != Path::new("-")) else {
        let terminal = io::stdout().is_terminal();
        let exported = Exported { rev, text };
        return out.print(&exported, |exported| shown(&exported.text, terminal));
    };
    let name = file.display();
    fs::write(&file, &text).with_context(|| format!("{name} could not be written"))?;
    out.print(&Changed { rev }, |changed| format!("revision {} written to {name}\n", changed.rev))
}

/// Spells a text, on a terminal without what could control it.
fn shown(text: &str, terminal: bool) -> String {
    if terminal { many_lines(text) } else { text.to_owned() }
}

/// Lists every page; a table is printed as the pages come.
async fn history(
    client: &Client,
    out: &Out,
    from: Option<Revision>,
    to: Option<Revision>,
) -> anyhow::Result<()> {
    let mut table = HistoryTable::new();
    let mut whole: Option<History> = None;
    let mut from = from;
    loop {
        let query = [("from", number(from)), ("limit", Some(PAGE_ROWS))];
        let mut page: History = client.get("history", &query).await?;
        page.revisions.retain(|row| to.is_none_or(|to| row.rev <= to));
        if out.output == Output::Table {
            out.write(&table.page(&page.revisions))?;
            page.revisions.clear();
        }
        let next = page.next.take().filter(|next| to.is_none_or(|to| *next <= to));
        match &mut whole {
            Some(whole) => {
                whole.revisions.append(&mut page.revisions);
                page.versions.retain(|version| !whole.versions.contains(version));
                whole.versions.append(&mut page.versions);
            }
            None => whole = Some(page),
        }
        let Some(next) = next else { break };
        ensure!(from.is_none_or(|from| next > from), "the node's pages of history do not go on");
        from = Some(next);
    }
    match whole {
        Some(whole) => out.print(&whole, |whole| print::versions(&whole.versions)),
        None => Ok(()),
    }
}

async fn diff(
    client: &Client,
    out: &Out,
    from: Option<Revision>,
    to: Option<Revision>,
) -> anyhow::Result<()> {
    let to = match to {
        Some(to) => to,
        None => client.get::<History>("history", &[("limit", Some(1))]).await?.head,
    };
    let from = from.unwrap_or(Revision(to.0.saturating_sub(1)));
    let (from, to) = (Some(from.0), Some(to.0));
    let query = |piece| [("from", from), ("to", to), ("piece", piece), ("limit", PIECES)];
    let mut whole: Diff = client.get("diff", &query(None)).await?;
    while let Some(next) = whole.next.take() {
        let mut page: Diff = client.get("diff", &query(Some(next))).await?;
        ensure!(page.next.is_none_or(|after| after > next), "the node's pages do not go on");
        whole.hunks.append(&mut page.hunks);
        whole.next = page.next;
    }
    out.print(&whole, print::diff)
}

/// Reads every page of who wrote what.
async fn blame(client: &Client, rev: Option<Revision>) -> anyhow::Result<Blame> {
    let query = |rev, from| [("rev", rev), ("from", from), ("limit", PIECES)];
    let mut whole: Blame = client.get("blame", &query(number(rev), None)).await?;
    while let Some(next) = whole.next.take() {
        let query = query(Some(whole.rev.0), Some(next));
        let mut page: Blame = client.get("blame", &query).await?;
        ensure!(page.next.is_none_or(|after| after > next), "the node's pages do not go on");
        whole.spans.append(&mut page.spans);
        whole.next = page.next;
    }
    Ok(whole)
}

fn number(rev: Option<Revision>) -> Option<u64> {
    rev.map(|rev| rev.0)
}

async fn changed(
    client: &Client,
    out: &Out,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> anyhow::Result<()> {
    let changed: Changed = client.change(method, path, body).await?;
    out.print(&changed, |changed| format!("revision {}\n", changed.rev))
}

/// Asks again until the history is erased: the node goes on each time.
async fn erase(
    client: &Client,
    out: &Out,
    (before, wait_max): (Revision, Duration),
    by: &By,
) -> anyhow::Result<Exit> {
    let body = Cut { before, author: &by.author };
    let began = Instant::now();
    let erasure = loop {
        let erasure: Erasure = client.change(Method::POST, "erase", Some(&body)).await?;
        if erasure.complete || began.elapsed() >= wait_max {
            break erasure;
        }
        sleep(ERASE_PAUSE).await;
    };
    out.print(&erasure, print::erasure)?;
    if erasure.complete {
        return Ok(Exit::Success);
    }
    eprintln!("quire: it is not erased yet: give the command again");
    Ok(Exit::Failure)
}

async fn verify(client: &Client, out: &Out) -> anyhow::Result<Exit> {
    let verified: Verified = client.get("verify", &[]).await?;
    out.print(&verified, print::verified)?;
    if verified.equal {
        return Ok(Exit::Success);
    }
    eprintln!("quire: the document differs from its records: keep the data folder and report it");
    Ok(Exit::Failure)
}

fn input(file: Option<PathBuf>) -> anyhow::Result<String> {
    let Some(file) = file.filter(|file| file != Path::new("-")) else {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("stdin could not be read as UTF-8 text")?;
        return Ok(text);
    };
    let name = file.display();
    fs::read_to_string(&file).with_context(|| format!("{name} could not be read as UTF-8 text"))
}

/// Prints answers as the user asked.
struct Out {
    output: Output,
}

impl Out {
    fn print<T: Serialize>(
        &self,
        answer: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Table => self.write(&table(answer)),
            Output::Json => self.write(&format!("{}\n", serde_json::to_string_pretty(answer)?)),
        }
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }
}
