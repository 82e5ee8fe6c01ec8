//! Writers that go on while everything under them is killed, and what is checked in the end:
//! nothing acknowledged is lost, nothing is doubled, and every way to the text gives the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use quire::audit::Recorder;
use quire::client::{Credentials, Document, Options, Token, Watcher};
use quire::clock::Clock;
use quire::load::Scribe;
use quire::log::{Fence, Log, Marks, Record, check_frame};
use quire::task::Tasks;
use quire::text::{Operation, apply};
use quire::types::{DocId, Offset, Revision, Seq, SessionId, ShardId};
use quire::wire::Codec;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::audited::Left;
use crate::server::{Server, quire};

/// How many write into how many documents, and how long each rests between two batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) docs: usize,
    pub(crate) writers: usize,
    pub(crate) rest: Duration,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { docs: 4, writers: 8, rest: Duration::ZERO }
    }
}

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything small, so that checkpoints, seals and full windows happen all the time; the log is
/// kept whole, so that it can be replayed.
pub(crate) const SETTINGS: &[&str] = &[
    "document.checkpoint-log-bytes-min=4KiB",
    "document.checkpoint-log-factor=1",
    "document.segment-bytes-min=1KiB",
    "document.window-revisions=64",
    "shard.trim-margin=1000000000",
    "telemetry.log-level=warn",
];

/// After so many of its batches a writer tells the text that it has.
const WITNESS_EVERY: u64 = 20;

/// Numbers every insert of the whole test: each inserts a character of its own.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What one writer has been promised.
struct Promised {
    doc: usize,
    document: Document,
    durable: Vec<char>,
}

fn own_char() -> char {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    char::from_u32(0x1_0000 + n).expect("there are a million from here")
}

fn doc_id(doc: usize) -> DocId {
    format!("kill-{doc}").parse().expect("a valid id")
}

async fn write(
    (doc, seed, rest): (usize, u64, Duration),
    (urls, credentials): (Vec<String>, Credentials),
    recorder: Recorder,
    done: watch::Sender<u64>,
    stop: Arc<AtomicBool>,
) -> Promised {
    let codec = if seed.is_multiple_of(2) { Codec::Binary } else { Codec::Json };
    let client = format!("w{seed}");
    let watcher = Scribe { recorder, client, clock: Clock::wall() };
    let watcher = Some(Watcher(Arc::new(watcher)));
    let options = Options { codec, urls, watcher, credentials, ..Options::new("") };
    let document = Document::open(doc_id(doc), options);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut durable = Vec::new();
    let mut batches = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut typed = Vec::new();
        for _ in 0..rng.random_range(1..4) {
            let new = own_char();
            typed.push(new);
            let edited = document.change(|view| {
                let at = rng.random_range(0..=view.chars());
                let at = u32::try_from(at).expect("a short text");
                Operation::builder().retain(at).insert(new.encode_utf8(&mut [0; 4])).build()
            });
            edited.expect("nothing comes between the look and the edit");
        }
        document.wait_durable().await.expect("the server takes the client");
        batches += 1;
        if batches % WITNESS_EVERY == 0 {
            assert!(document.witness(), "everything is durable");
        }
        done.send_modify(|edits| *edits += typed.len() as u64);
        durable.append(&mut typed);
        tokio::time::sleep(rest).await;
    }
    Promised { doc, document, durable }
}

/// The writers of a storm.
pub(crate) struct Storm {
    crowd: Crowd,
    token_file: Option<PathBuf>,
    recorder: Recorder,
    folder: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    done: watch::Sender<u64>,
    writers: Vec<JoinHandle<Promised>>,
}

impl Storm {
    /// Begins to write, to whichever server takes a writer.
    pub(crate) fn begin(urls: &[String]) -> Self {
        Self::of(Crowd::default(), urls)
    }

    /// Begins to write as so many do, each to a node of its own choice first.
    pub(crate) fn of(crowd: Crowd, urls: &[String]) -> Self {
        Self::with(crowd, urls, None)
    }

    /// Begins to write with the token in a file, where there is one.
    pub(crate) fn with(crowd: Crowd, urls: &[String], token_file: Option<&Path>) -> Self {
        let token_file = token_file.map(Path::to_path_buf);
        let token = token_file.clone().map(Token::File);
        let credentials = Credentials { token, ..Credentials::default() };
        let (stop, done, tasks) = (Arc::default(), watch::Sender::new(0), Tasks::new());
        let folder = tempfile::tempdir().expect("a folder");
        let recorder = Recorder::create(&folder.path().join("h.gz")).expect("a file");
        let start = |writer: usize| {
            let (done, stop) = (done.clone(), Arc::clone(&stop));
            let mut urls = urls.to_vec();
            let first = writer % urls.len();
            urls.rotate_left(first);
            let who = (writer % crowd.docs, writer as u64, crowd.rest);
            let way = (urls, credentials.clone());
            tasks.spawn("writer", write(who, way, recorder.clone(), done, stop))
        };
        let writers = (0..crowd.writers).map(start).collect();
        Self { crowd, token_file, recorder, folder, stop, done, writers }
    }

    /// Waits until so many more edits are durable.
    pub(crate) async fn more(&self, edits: u64) {
        let mut progress = self.done.subscribe();
        let wanted = self.durable() + edits;
        let reached = progress.wait_for(|done| *done >= wanted);
        timeout(PATIENCE, reached).await.expect("writers go on").expect("it lives");
    }

    /// Counts the edits that are durable.
    pub(crate) fn durable(&self) -> u64 {
        *self.done.borrow()
    }

    /// Ends the writing and checks everything: what the server leaves is audited, then `log` is
    /// called, and replayed.
    pub(crate) async fn end<L: Log>(
        self,
        server: Server,
        left: Left<'_>,
        log: impl AsyncFnOnce() -> L,
    ) {
        self.stop.store(true, Ordering::Relaxed);
        let mut promised = Vec::new();
        for writer in self.writers {
            promised.push(timeout(PATIENCE, writer).await.expect("it settles").expect("it ends"));
        }
        let doc = |verb: &str, doc: usize, more: &[&str]| {
            let (id, file) = (doc_id(doc).to_string(), self.token_file.as_deref());
            let file = file.map(|file| file.to_str().expect("UTF-8"));
            let shown = file.map(|file| ["--token-file", file]).into_iter().flatten();
            let args = ["doc", verb, &id, "--url", &server.url].into_iter();
            quire(&args.chain(shown).chain(more.iter().copied()).collect::<Vec<_>>())
        };
        let texts: Vec<String> = (0..self.crowd.docs).map(|one| doc("cat", one, &[])).collect();
        check_replicas(&texts, &promised).await;
        check_promises(&texts, &promised);
        for (one, text) in texts.iter().enumerate() {
            assert_eq!(&doc("cat", one, &[]), text);
            let verified = doc("verify", one, &["--output", "json"]);
            assert!(verified.contains("\"equal\": true"), "{verified}");
        }
        server.stop();
        for one in promised {
            assert!(one.document.witness(), "everything is durable");
            one.document.close().await;
        }
        self.recorder.close().expect("the history is written");
        left.check(&self.folder.path().join("h.gz"));
        let log = log().await;
        let Some(replayed) = replay(&log).await else { return };
        for (doc, text) in texts.iter().enumerate() {
            assert_eq!(&replayed[&doc_id(doc)], text, "the log by itself gives the same text");
        }
    }
}

/// Waits until every replica shows its server's text.
async fn check_replicas(texts: &[String], promised: &[Promised]) {
    for Promised { doc, document, .. } in promised {
        let mut shown = document.subscribe();
        let equal = async {
            while document.text() != texts[*doc] {
                shown.recv().await.expect("the document is open");
            }
        };
        timeout(PATIENCE, equal).await.expect("every replica reaches its server's text");
    }
}

/// Every durable character is there exactly once, and nothing else is.
fn check_promises(texts: &[String], promised: &[Promised]) {
    for (doc, text) in texts.iter().enumerate() {
        let mut counts: HashMap<char, usize> = HashMap::new();
        for char in text.chars() {
            *counts.entry(char).or_default() += 1;
        }
        assert!(counts.values().all(|count| *count == 1), "nothing is doubled");
        let durable = promised.iter().filter(|one| one.doc == doc).flat_map(|one| &one.durable);
        let all = durable.clone().count();
        let lost = durable.filter(|char| counts.remove(char).is_none()).count();
        assert_eq!(lost, 0, "of {all} durable characters");
        assert!(counts.is_empty(), "nobody has written {:?}", counts.keys());
    }
}

/// One document as the log alone tells it.
#[derive(Default)]
struct Replayed {
    text: String,
    revision: Revision,
    last: BTreeMap<SessionId, Seq>,
}

impl quire::log::Position for Replayed {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn last_seq(&self, session: &SessionId) -> Seq {
        self.last.get(session).copied().unwrap_or_default()
    }
}

/// Replays the whole log from its first record, by the acceptance rule and on plain strings;
/// nothing where it was trimmed.
async fn replay(log: &impl Log) -> Option<HashMap<DocId, String>> {
    let mut docs: HashMap<DocId, Replayed> = HashMap::new();
    let mut accepted = HashSet::new();
    for shard in 0..log.shards() {
        let (shard, mut fence) = (ShardId(shard), Fence::default());
        let Marks { low, high } = log.marks(shard).await.expect("it can be read");
        if low > Offset(0) {
            return None;
        }
        let mut next = low;
        while next < high {
            let batch = log.read(shard, next, 1 << 20).await.expect("it is whole");
            for stored in batch.records {
                let record = Record::decode(&stored.bytes).expect("it is whole");
                let Ok(()) = fence.observe(stored.offset, &record) else { continue };
                let Record::Frame(frame) = record else { continue };
                let doc = docs.entry(frame.doc.clone()).or_default();
                if check_frame(doc, &frame).is_err() {
                    continue;
                }
                for entry in frame.entries {
                    assert!(
                        accepted.insert((frame.doc.clone(), entry.session, entry.seq)),
                        "accepted once"
                    );
                    doc.text = apply(&entry.op, &doc.text).expect("it fits");
                    doc.revision = doc.revision.next();
                    doc.last.insert(entry.session, entry.seq);
                }
            }
            next = batch.next;
        }
    }
    Some(docs.into_iter().map(|(id, doc)| (id, doc.text)).collect())
}
