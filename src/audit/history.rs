//! Histories of clients: lines of JSON, written while clients run and read for an audit.
//!
//! ```text
//! {"format":"quire-history","version":1}
//! {"client":"w3","doc":"d1","session":"9f04c2aa","at":1790000000000,"ev":"ack","seq":1,"rev":7}
//! ```
//! A name that ends in `.gz` is compressed. Files may be put one behind the other. The last line
//! of a client that was killed may be torn: it is left out and counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use parking_lot::Mutex;

use crate::audit::Error;
use crate::audit::model::{Event, Header, Line};
use crate::types::{DocId, ParticipantId, Timestamp};

const FORMAT: &str = "quire-history";
const VERSION: u32 = 1;

/// The longest line.
const LINE_BYTES_MAX: u64 = 4096;

/// Reads one file, line by line.
pub struct History {
    path: PathBuf,
    from: Box<dyn BufRead + Send>,
    line: u64,
    text: String,
    torn: bool,
}

impl History {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read or does not begin as a history of this version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let cannot = |source| Error::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(cannot)?;
        if is_compressed(path) {
            Self::new(path, Box::new(BufReader::new(MultiGzDecoder::new(file))))
        } else {
            Self::new(path, Box::new(BufReader::new(file)))
        }
    }

    /// Reads from anything; `path` names it in errors.
    ///
    /// # Errors
    /// If it does not begin as a history of this version.
    pub fn new(path: &Path, from: Box<dyn BufRead + Send>) -> Result<Self, Error> {
        let (path, text) = (path.to_owned(), String::new());
        let mut history = Self { path, from, line: 0, text, torn: false };
        if !history.advance()? {
            return Err(history.wrong("it is empty: a history begins with its format"));
        }
        match history.header() {
            Some(header) if header.version == VERSION => Ok(history),
            Some(header) => {
                let what = format!("version {} is not known, only {VERSION}", header.version);
                Err(history.wrong(&what))
            }
            None => Err(history.wrong("this is no history: it has to begin with its format")),
        }
    }

    /// Returns the next event and the line it is on; none at the end.
    ///
    /// # Errors
    /// If the file cannot be read or the line is none of a history.
    pub fn read(&mut self) -> Result<Option<(u64, Line)>, Error> {
        while self.advance()? {
            match serde_json::from_str(&self.text) {
                Ok(line) => return Ok(Some((self.line, line))),
                Err(_) if self.header().is_some_and(|header| header.version == VERSION) => {}
                Err(_) if !self.text.ends_with('\n') => {
                    self.torn = true;
                    return Ok(None);
                }
                Err(error) => return Err(self.wrong(&error.to_string())),
            }
        }
        Ok(None)
    }

    /// Tells whether the last line was torn, once the end is reached.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Returns the file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn header(&self) -> Option<Header> {
        let header: Header = serde_json::from_str(&self.text).ok()?;
        (header.format == FORMAT).then_some(header)
    }

    fn advance(&mut self) -> Result<bool, Error> {
        self.text.clear();
        self.line += 1;
        let mut limited = io::Read::take(&mut self.from, LINE_BYTES_MAX);
        match limited.read_line(&mut self.text) {
            Ok(0) => Ok(false),
            Ok(_) if self.text.len() as u64 == LINE_BYTES_MAX && !self.text.ends_with('\n') => {
                Err(self.wrong("the line is too long"))
            }
            Ok(_) => Ok(true),
            // The compressed file of a client that was killed has no end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.line > 1 => {
                self.torn = true;
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.wrong(&error.to_string()))
            }
            Err(source) => Err(Error::File { path: self.path.clone(), source }),
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Line { path: self.path.clone(), line: self.line, what: what.to_owned() }
    }
}

/// Writes a history that many clients share; a clone writes to the same file.
#[derive(Debug, Clone)]
pub struct Recorder {
    path: Arc<Path>,
    out: Arc<Mutex<Out>>,
}

/// Writes down what one client sees of one document.
#[derive(Clone)]
pub struct Tape {
    out: Arc<Mutex<Out>>,
    client: Arc<str>,
    doc: DocId,
    session: ParticipantId,
}

#[derive(Debug)]
struct Out {
    to: Option<To>,
    /// The first failure: nothing is written after it.
    failed: Option<io::Error>,
}

#[derive(Debug)]
enum To {
    Plain(BufWriter<File>),
    Compressed(GzEncoder<BufWriter<File>>),
}

impl Recorder {
    /// Begins a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let cannot = |source| Error::File { path: path.to_owned(), source };
        let file = BufWriter::with_capacity(1 << 16, File::create(path).map_err(cannot)?);
        let mut to = if is_compressed(path) {
            To::Compressed(GzEncoder::new(file, Compression::fast()))
        } else {
            To::Plain(file)
        };
        let header = Header { format: FORMAT.to_owned(), version: VERSION };
        to.write(serde_json::to_vec(&header)).map_err(cannot)?;
        let out = Arc::new(Mutex::new(Out { to: Some(to), failed: None }));
        Ok(Self { path: path.into(), out })
    }

    /// Returns what one client writes with; its session is told by the public id.
    pub fn tape(&self, client: &str, doc: &DocId, session: ParticipantId) -> Tape {
        Tape { out: self.out.clone(), client: client.into(), doc: doc.clone(), session }
    }

    /// Writes everything out; what comes later is left out.
    ///
    /// # Errors
    /// If anything so far could not be written.
    pub fn close(&self) -> Result<(), Error> {
        let mut out = self.out.lock();
        let failed = out.failed.take();
        let done = match (out.to.take(), failed) {
            (_, Some(error)) => Err(error),
            (Some(to), None) => to.finish(),
            (None, None) => Ok(()),
        };
        done.map_err(|source| Error::File { path: self.path.to_path_buf(), source })
    }
}

impl Tape {
    /// Writes an event down; one that fails is told of by [`Recorder::close`].
    pub fn note(&self, at: Timestamp, event: Event) {
        let (client, doc) = (self.client.to_string(), self.doc.clone());
        let line = Line { client, doc, session: self.session, at, event };
        // Not under the lock, which all clients share.
        let text = serde_json::to_vec(&line);
        let mut out = self.out.lock();
        if out.failed.is_some() {
            return;
        }
        let Some(to) = &mut out.to else { return };
        if let Err(error) = to.write(text) {
            out.failed = Some(error);
        }
    }
}

impl To {
    fn write(&mut self, line: serde_json::Result<Vec<u8>>) -> io::Result<()> {
        let mut text = line?;
        text.push(b'\n');
        match self {
            Self::Plain(file) => file.write_all(&text),
            Self::Compressed(file) => file.write_all(&text),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut file) => file.flush(),
            Self::Compressed(file) => file.finish()?.flush(),
        }
    }
}

/// What was not closed is written out as far as it goes.
impl Drop for Out {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            // Nobody is left to be told.
            let _ = to.finish();
        }
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "gz")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Revision, Seq};

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/history-v1.jsonl");

    fn events() -> Vec<Event> {
        let (rev, first) = (Revision(4), Revision(3));
        vec![
            Event::Welcome { rev: Revision(0), head: Revision(2), seq: Seq(0) },
            Event::Op { rev, first },
            Event::Sent { seq: Seq(1), base: rev },
            Event::Ack { seq: Seq(1), rev: Revision(5) },
            Event::Text { rev: Revision(5), hash: 0x00c0_ffee_00c0_ffee },
            Event::End,
        ]
    }

    fn write(path: &Path) {
        let recorder = Recorder::create(path).unwrap();
        let tape = recorder.tape("w3 é", &"d1".parse().unwrap(), ParticipantId(0x9f0_4c2a));
        for (at, event) in (1_790_000_000_000..).zip(events()) {
            tape.note(Timestamp(at), event);
        }
        recorder.close().unwrap();
        tape.note(Timestamp(0), Event::End);
    }

    fn read(path: &Path) -> Result<(Vec<(u64, Event)>, bool), Error> {
        let mut history = History::open(path)?;
        let mut all = Vec::new();
        while let Some((number, line)) = history.read()? {
            assert_eq!((line.client.as_str(), line.session.0), ("w3 é", 0x9f0_4c2a));
            all.push((number, line.event));
        }
        Ok((all, history.is_torn()))
    }

    #[test]
    fn what_version_1_wrote_is_still_read_and_written() {
        let folder = tempfile::tempdir().unwrap();
        let written = folder.path().join("new");
        write(&written);
        let fixture = Path::new(FIXTURE);
        if std::env::var_os("QUIRE_BLESS").is_some() && !fixture.exists() {
            std::fs::copy(&written, fixture).unwrap();
        }
        assert_eq!(std::fs::read(&written).unwrap(), std::fs::read(fixture).unwrap());
        let wanted: Vec<_> = (2..).zip(events()).collect();
        assert_eq!(read(fixture).unwrap(), (wanted, false));
    }

    #[test]
    fn a_compressed_history_is_read_back_also_torn_or_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h.gz");
        write(&path);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(read(&path).unwrap().0.len(), 6);
        std::fs::write(&path, [&*whole, &*whole].concat()).unwrap();
        assert_eq!(read(&path).unwrap().0.len(), 12);
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        assert!(read(&path).unwrap().1, "it is torn");
    }

    #[test]
    fn a_torn_last_line_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h");
        write(&path);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let (all, torn) = read(&path).unwrap();
        assert_eq!((all.len(), torn), (5, true));
    }

    #[test]
    fn what_is_no_history_is_refused_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h");
        let head = r#"{"format":"quire-history","version":1}"#;
        let event = r#"{"client":"a","doc":"d","session":"00000001","at":1,"ev":"#;
        for (text, wanted) in [
            (String::new(), "line 1: it is empty"),
            ("{}\n".to_owned(), "line 1: this is no history"),
            (head.replace('1', "2"), "line 1: version 2 is not known"),
            (format!("{head}\nx\n"), "line 2: expected value"),
            (format!("{head}\n{event}\"seen\"}}\n"), "line 2: unknown variant `seen`"),
            (format!("{head}\n{event}\"ack\",\"seq\":1}}\n"), "line 2: missing field `rev`"),
            (format!("{head}\n{}", "x".repeat(5000)), "line 2: the line is too long"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let gone = History::open(&folder.path().join("gone")).err().unwrap();
        assert!(matches!(gone, Error::File { .. }));
    }

    #[test]
    fn a_failed_write_is_told_at_the_end() {
        let full = Path::new("/dev/full");
        let recorder = Recorder::create(full).unwrap();
        let tape = recorder.tape("a", &"d".parse().unwrap(), ParticipantId(1));
        for _ in 0..2_000 {
            tape.note(Timestamp(1), Event::End);
        }
        assert!(matches!(recorder.close(), Err(Error::File { .. })));
    }
}
