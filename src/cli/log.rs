//! `quire log`: reads a log as every reader must, and shows what does not count and why.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::access::{AccessChange, Subject, Visibility};
use crate::cli::config::Output;
use crate::cli::exit::Exit;
use crate::cli::settings::Settings;
use crate::cli::table::{Align, Table, one_line};
use crate::log::{Entry, Event, EventKind, Frame, Judged, Log, Reader, Record, Release};
use crate::node::open_log_to_read;
use crate::text::{Component, Operation};
use crate::types::{DocId, Offset, ShardId, Timestamp};

/// Holds the arguments of `quire log`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print records
    Cat {
        #[command(flatten)]
        which: Which,
        /// Also what does not count, and why
        #[arg(long)]
        raw: bool,
    },
    /// Count records, edits and bytes
    Stats {
        #[command(flatten)]
        which: Which,
    },
    /// Name everything that does not count; fails where a record cannot be read or is missing
    Verify {
        #[command(flatten)]
        which: Which,
    },
}

/// Chooses records.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    #[command(flatten)]
    settings: Settings,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Only this shard, which is a partition in Kafka
    #[arg(long, visible_alias = "partition", value_name = "N")]
    shard: Option<u32>,
    /// Only this document
    #[arg(long)]
    doc: Option<DocId>,
    /// Only from this offset on
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,
    /// Only up to this offset
    #[arg(long, value_name = "OFFSET")]
    to: Option<u64>,
    /// Only what was written at or after this time, like 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// Only what was written before this time
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
}

/// Runs a verb.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("threads could not be started")?.block_on(async {
        let mut out = std::io::stdout().lock();
        match &args.verb {
            Verb::Cat { which, raw } => cat(which, *raw, &mut out).await,
            Verb::Stats { which } => stats(which, &mut out).await,
            Verb::Verify { which } => verify(which, &mut out).await,
        }
    })
}

impl Which {
    pub(crate) async fn open(&self) -> anyhow::Result<Arc<dyn Log>> {
        let log = open_log_to_read(&self.settings.load()?.config).await?;
        if let Some(shard) = self.shard.filter(|shard| *shard >= log.shards()) {
            anyhow::bail!("there is no shard {shard}: the log has 0 to {}", log.shards() - 1);
        }
        Ok(log)
    }

    fn shards(&self, log: &dyn Log) -> impl Iterator<Item = ShardId> + use<> {
        let all = 0..log.shards();
        let chosen = match (self.shard, &self.doc) {
            (Some(shard), _) => shard..shard + 1,
            (None, Some(doc)) => {
                let shard = doc.shard(log.shards());
                shard.0..shard.0 + 1
            }
            (None, None) => all,
        };
        chosen.map(ShardId)
    }

    /// Hands every chosen record over, shard by shard.
    pub(crate) async fn each(
        &self,
        log: &dyn Log,
        mut take: impl FnMut(ShardId, Judged) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for shard in self.shards(log) {
            let mut reader = Reader::begin(log, shard).await?;
            loop {
                let (from, batch) = reader.next_left().await?;
                if let Some(from) = from {
                    eprintln!("shard {shard}: trimmed meanwhile, going on at offset {from}");
                }
                let Some(batch) = batch else { break };
                for judged in batch.into_iter().filter(|judged| self.chooses(judged)) {
                    take(shard, judged)?;
                }
            }
        }
        Ok(())
    }

    fn chooses(&self, judged: &Judged) -> bool {
        let offset = judged.stored.offset.0;
        let inside =
            self.from.is_none_or(|from| from <= offset) && self.to.is_none_or(|to| offset <= to);
        let record = judged.record.as_ref().ok();
        let named = self.doc.is_none() || record.and_then(Record::doc) == self.doc.as_ref();
        let at = record.and_then(time).and_then(|at| i64::try_from(at.0).ok());
        let timed = |limit: jiff::Timestamp, keep: fn(i64, i64) -> bool| {
            at.is_some_and(|at| keep(at, limit.as_millisecond()))
        };
        let since = self.since.is_none_or(|limit| timed(limit, |at, limit| at >= limit));
        let until = self.until.is_none_or(|limit| timed(limit, |at, limit| at < limit));
        inside && named && since && until
    }
}

async fn cat(which: &Which, raw: bool, out: &mut impl Write) -> anyhow::Result<Exit> {
    let log = which.open().await?;
    let columns = [
        ("SHARD", Align::Right),
        ("OFFSET", Align::Right),
        ("KIND", Align::Left),
        ("DOC", Align::Left),
        ("REV", Align::Right),
        ("EDITS", Align::Right),
        ("BYTES", Align::Right),
        ("AT", Align::Left),
        ("VOID", Align::Left),
    ];
    let mut table = Table::new(columns, 12);
    which
        .each(&*log, |shard, judged| {
            if !raw && (judged.verdict.is_err() || judged.record.is_err()) {
                return Ok(());
            }
            let line = match which.output {
                Output::Json => format!("{}\n", to_json(shard, &judged)),
                Output::Table => table.rows(&[row(shard, &judged)]),
            };
            Ok(out.write_all(line.as_bytes())?)
        })
        .await?;
    Ok(Exit::Success)
}

/// What is counted of records.
#[derive(Debug, Default)]
struct Stats {
    records: u64,
    bytes: u64,
    frames: u64,
    frame_bytes: u64,
    edits: u64,
    inserted_bytes: u64,
    payload_bytes: u64,
    claims: u64,
    events: u64,
    unreadable: u64,
    void: BTreeMap<String, u64>,
}

impl Stats {
    fn take(&mut self, judged: &Judged) {
        let bytes = judged.stored.bytes.len() as u64;
        self.records += 1;
        self.bytes += bytes;
        match &judged.record {
            Err(_) => self.unreadable += 1,
            Ok(Record::Frame(frame)) => {
                self.frames += 1;
                self.frame_bytes += bytes;
                self.edits += frame.entries.len() as u64;
                let inserted = |entry: &Entry| inserted_bytes(&entry.op);
                self.inserted_bytes += frame.entries.iter().map(inserted).sum::<u64>();
                let payload = frame.entries.iter().map(Entry::payload_bytes).sum::<usize>();
                self.payload_bytes += payload as u64;
            }
            Ok(Record::Event(_)) => self.events += 1,
            Ok(Record::Claim(_) | Record::Release(_)) => self.claims += 1,
        }
        if let Err(void) = &judged.verdict {
            *self.void.entry(void.to_string()).or_default() += 1;
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "records": self.records, "bytes": self.bytes, "frames": self.frames,
            "edits": self.edits, "events": self.events, "claims": self.claims,
            "unreadable": self.unreadable, "void": self.void,
            "bytes_a_record": ratio(self.bytes, self.records),
            "bytes_an_edit": ratio(self.frame_bytes, self.edits),
            "payload_bytes_an_edit": ratio(self.payload_bytes, self.edits),
            "edits_a_frame": ratio(self.edits, self.frames),
            "inserted_bytes": self.inserted_bytes,
        })
    }
}

fn inserted_bytes(op: &Operation) -> u64 {
    let bytes = |component: &Component| match component {
        Component::Insert(text) => text.len() as u64,
        Component::Retain(_) | Component::Delete(_) => 0,
    };
    op.components().iter().map(bytes).sum()
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 100.0).round() / 100.0 }
}

async fn stats(which: &Which, out: &mut impl Write) -> anyhow::Result<Exit> {
    let log = which.open().await?;
    let mut all = Stats::default();
    which
        .each(&*log, |_, judged| {
            all.take(&judged);
            Ok(())
        })
        .await?;
    let told = all.to_json();
    match which.output {
        Output::Json => writeln!(out, "{told:#}")?,
        Output::Table => {
            for (name, value) in told.as_object().into_iter().flatten() {
                writeln!(out, "{:<22} {value}", name.replace('_', " "))?;
            }
        }
    }
    Ok(Exit::Success)
}

async fn verify(which: &Which, out: &mut impl Write) -> anyhow::Result<Exit> {
    let log = which.open().await?;
    let mut all = Stats::default();
    let mut next: BTreeMap<ShardId, Offset> = BTreeMap::new();
    let mut missing = 0_u64;
    let whole = which.from.is_none() && which.doc.is_none() && which.since.is_none();
    which
        .each(&*log, |shard, judged| {
            all.take(&judged);
            let offset = judged.stored.offset;
            let expected = next.insert(shard, offset.next()).unwrap_or(offset);
            if whole && which.until.is_none() && offset != expected {
                missing += offset.0 - expected.0;
                writeln!(out, "shard {shard}: records {expected} to {offset} are missing")?;
            }
            let why = match (&judged.record, &judged.verdict) {
                (Err(error), _) => format!("cannot be read: {error}"),
                (_, Err(void)) => format!("void: {void}"),
                _ => return Ok(()),
            };
            let doc = judged.record.as_ref().ok().and_then(Record::doc);
            let doc = doc.map(|doc| format!(" of {doc}")).unwrap_or_default();
            Ok(writeln!(out, "shard {shard} offset {offset}{doc}: {why}")?)
        })
        .await?;
    let void: u64 = all.void.values().sum();
    writeln!(
        out,
        "{} records, {} edits accepted or void, {void} void, {} cannot be read, {missing} missing",
        all.records, all.edits, all.unreadable
    )?;
    Ok(if all.unreadable + missing == 0 { Exit::Success } else { Exit::Failure })
}

fn time(record: &Record) -> Option<Timestamp> {
    match record {
        Record::Frame(Frame { at, .. }) | Record::Event(Event { at, .. }) => Some(*at),
        Record::Claim(_) | Record::Release(_) => None,
    }
}

fn spelled(at: Option<Timestamp>) -> Option<String> {
    let millis = i64::try_from(at?.0).ok()?;
    Some(jiff::Timestamp::from_millisecond(millis).ok()?.to_string())
}

fn kind(judged: &Judged) -> &'static str {
    match &judged.record {
        Ok(Record::Frame(_)) => "frame",
        Ok(Record::Claim(_)) => "claim",
        Ok(Record::Release(_)) => "release",
        Ok(Record::Event(Event { kind, .. })) => match kind {
            EventKind::Created => "created",
            EventKind::Deleted => "deleted",
            EventKind::Undeleted => "undeleted",
            EventKind::Quarantined { .. } => "quarantined",
            EventKind::SessionsExpired { .. } => "sessions-expired",
            EventKind::SessionReturned { .. } => "session-returned",
            EventKind::HistoryCut { .. } => "history-cut",
            EventKind::VersionNamed { .. } => "version-named",
            EventKind::AccessChanged(_) => "access-changed",
            EventKind::Restored { .. } => "restored",
            EventKind::Exported { .. } => "exported",
        },
        Err(_) => "unreadable",
    }
}

fn why(judged: &Judged) -> String {
    match (&judged.record, &judged.verdict) {
        (Err(error), _) => error.to_string(),
        (_, Err(void)) => void.to_string(),
        _ => String::new(),
    }
}

fn row(shard: ShardId, judged: &Judged) -> [String; 9] {
    let record = judged.record.as_ref().ok();
    let (rev, edits) = match record {
        Some(Record::Frame(frame)) => {
            let head = frame.head().map(|head| head.to_string()).unwrap_or_default();
            (head, frame.entries.len().to_string())
        }
        Some(Record::Event(event)) => (event.base_rev.to_string(), String::new()),
        _ => (String::new(), String::new()),
    };
    [
        shard.to_string(),
        judged.stored.offset.to_string(),
        kind(judged).to_owned(),
        record.and_then(Record::doc).map(ToString::to_string).unwrap_or_default(),
        rev,
        edits,
        judged.stored.bytes.len().to_string(),
        spelled(record.and_then(time)).unwrap_or_default(),
        one_line(&why(judged)),
    ]
}

fn to_json(shard: ShardId, judged: &Judged) -> Value {
    let mut told = json!({
        "shard": shard.0, "offset": judged.stored.offset.0, "kind": kind(judged),
        "bytes": judged.stored.bytes.len(),
    });
    let why = why(judged);
    if !why.is_empty() {
        told["void"] = why.into();
    }
    match &judged.record {
        Ok(record @ Record::Frame(frame)) => {
            told["doc"] = frame.doc.to_string().into();
            told["epoch"] = frame.epoch.0.into();
            told["base_rev"] = frame.base_rev.0.into();
            told["at"] = spelled(time(record)).into();
            told["entries"] = frame.entries.iter().map(entry_json).collect();
        }
        Ok(record @ Record::Event(event)) => {
            told["doc"] = event.doc.to_string().into();
            told["epoch"] = event.epoch.0.into();
            told["base_rev"] = event.base_rev.0.into();
            told["at"] = spelled(time(record)).into();
            told["author"] = event.author.to_string().into();
            if let Some(by) = &event.by {
                told["by"] = by.as_str().into();
            }
            if let EventKind::AccessChanged(change) = &event.kind {
                told["change"] = change_json(change);
            }
        }
        Ok(Record::Claim(claim)) => {
            told["node"] = claim.node.0.to_string().into();
            told["boot"] = claim.boot.into();
            told["prev"] = claim.prev.map(|epoch| epoch.0).into();
        }
        Ok(Record::Release(Release { epoch, to })) => {
            told["epoch"] = epoch.0.into();
            told["to"] = to.as_ref().map(|node| node.0.to_string()).into();
        }
        Err(_) => {}
    }
    told
}

fn change_json(change: &AccessChange) -> Value {
    match change {
        AccessChange::Owner(owner) => json!({ "owner": owner.as_ref().map(Subject::as_str) }),
        AccessChange::Visibility(visibility) => {
            json!({ "public": *visibility == Visibility::Public })
        }
        AccessChange::Member(member, rights) => {
            json!({ "member": member.as_str(), "rights": rights.to_string() })
        }
    }
}

/// A session is a secret: what is shown of it is its participant.
fn entry_json(entry: &Entry) -> Value {
    json!({
        "a": entry.session.participant().0, "seq": entry.seq.0, "author": entry.author.as_str(),
        "base": entry.base.0, "op": op_json(&entry.op),
    })
}

/// Spells an operation as the protocol's JSON does.
fn op_json(op: &Operation) -> Value {
    let component = |component: &Component| match component {
        Component::Retain(chars) => json!(chars),
        Component::Insert(text) => json!(text.as_str()),
        Component::Delete(chars) => json!({ "d": chars }),
    };
    op.components().iter().map(component).collect()
}
