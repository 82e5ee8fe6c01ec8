//! A document as a pure state machine: commands and time in, effects out.
//!
//! Not here: sockets, encodings, the log, the clock. `order.rs` gives batches their place,
//! `settle.rs` makes them durable, `save.rs` turns the state into a checkpoint and back. All that
//! these know of threads is that work may be [at length](crate::task::Tasks::at_length), which
//! changes nothing of what they do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::access::{Access, Asker, Right, Subject};
use crate::checkpoint::{Life, NamedVersion, SealedSegment};
use crate::crdt::Segment;
use crate::doc::handle::{Content, Join, Welcome};
use crate::doc::pending::{Item, Making, Pending, What};
use crate::doc::presence::Placed;
use crate::doc::sessions::{Connected, Sessions};
use crate::doc::window::Window;
use crate::doc::write::Done;
use crate::doc::{Batch, Change, Config, ConnId, Event, Failure, Mode, Refusal, Socket, Update};
use crate::log::{ENTRIES_MAX, EventKind, Position};
use crate::types::{Author, DocId, Epoch, Offset, Revision, Seq, SessionId, Timestamp};

/// When a client may come back whose session is just being forgotten, or brought back.
const IN_DOUBT_RETRY: Duration = Duration::from_millis(200);

/// What is to be done after a command, in order.
#[derive(Debug)]
pub enum Effect {
    /// Hand a record, made under this ownership, to the writer.
    Append(Epoch, Bytes),
    /// Tell one connection.
    Tell(ConnId, Event),
    /// Tell every connection of durable revisions.
    Broadcast(Arc<Update>),
    /// Tell a connection that it is over, and forget it.
    Close(ConnId, Refusal),
    /// Answer whoever waits for a write.
    Done(Done, Result<Revision, Failure>),
    /// Merge a batch whose base the window does not reach, away from the actor.
    Fork(Fork),
    /// Take a checkpoint now: the older ones hold history that was cut.
    Save,
    /// Send the copies on other nodes away, which hold it, too: they begin again without.
    PartFromCopies,
    /// The state no longer follows from the log: stop and rebuild it.
    Rebuild,
}

/// A batch whose base is older than the window: to be merged by diamond-types.
#[derive(Debug)]
pub struct Fork {
    /// Whose batch it is.
    pub session: SessionId,
    /// Who sent it.
    pub conn: ConnId,
    /// What is known of who that is.
    pub asker: Asker,
    /// In whose name.
    pub author: Author,
    /// The batch.
    pub batch: Batch,
}

/// The whole state of one document.
pub struct State {
    pub(in crate::doc) config: Arc<Config>,
    pub(in crate::doc) doc: DocId,
    /// The ownership under which records are made; none is made before it is known.
    pub(in crate::doc) epoch: Option<Epoch>,
    /// The ownership under which the last record applied was made.
    pub(in crate::doc) epoch_at_rest: Option<Epoch>,
    pub(in crate::doc) life: Life,
    /// Whether it was created, even if nothing was written.
    pub(in crate::doc) created: bool,
    /// The text and its history since the last seal, at the durable revision.
    pub(in crate::doc) live: Arc<Segment>,
    /// A segment that was sealed and is not stored yet.
    pub(in crate::doc) unsaved: Option<Arc<Segment>>,
    pub(in crate::doc) sealed: Vec<SealedSegment>,
    pub(in crate::doc) versions: Vec<NamedVersion>,
    /// History before this revision is gone.
    pub(in crate::doc) cut: Revision,
    /// What the document grants by itself.
    pub(in crate::doc) access: Access,
    /// The same once all that is open is durable.
    pub(in crate::doc) access_ordered: Access,
    pub(in crate::doc) window: Window,
    pub(in crate::doc) sessions: Sessions,
    pub(in crate::doc) pending: Pending,
    /// The offset after the last record applied.
    pub(in crate::doc) offset: Offset,
    /// Log bytes applied since the last checkpoint.
    pub(in crate::doc) unsaved_bytes: u64,
    /// The live segment's size in the last checkpoint, in bytes.
    pub(in crate::doc) live_bytes: u64,
    /// Whether the live segment had grown long enough to be sealed by then.
    pub(in crate::doc) due_to_seal: bool,
    /// Whether the shard takes writes.
    pub(in crate::doc) intake: Intake,
}

/// Whether new writes are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::doc) enum Intake {
    /// They are.
    #[default]
    Open,
    /// Not for the time being: too much is not covered by checkpoints.
    Full,
    /// Not at all: the log has lost records, and what is left can only be read.
    ReadOnly,
}

impl Position for State {
    fn revision(&self) -> Revision {
        self.live.head()
    }

    fn last_seq(&self, session: &SessionId) -> Seq {
        self.sessions.get(session).map_or(Seq(0), |row| row.durable)
    }
}

impl State {
    /// Returns a document that was never written.
    pub fn new(doc: DocId, config: Arc<Config>) -> Self {
        Self {
            config,
            doc,
            epoch: None,
            epoch_at_rest: None,
            life: Life::Live,
            created: false,
            live: Arc::new(Segment::new(Revision(0), "")),
            unsaved: None,
            sealed: Vec::new(),
            versions: Vec::new(),
            cut: Revision(0),
            access: Access::default(),
            access_ordered: Access::default(),
            window: Window::new(Revision(0), 0),
            sessions: Sessions::default(),
            pending: Pending::default(),
            offset: Offset(0),
            unsaved_bytes: 0,
            live_bytes: 0,
            due_to_seal: false,
            intake: Intake::Open,
        }
    }

    /// Returns the document's id.
    pub fn doc(&self) -> &DocId {
        &self.doc
    }

    /// Returns the newest durable revision.
    pub fn head(&self) -> Revision {
        self.live.head()
    }

    /// Returns the text at the newest durable revision.
    pub fn text(&self) -> String {
        self.live.text()
    }

    /// Tells whether the document exists: it was created or written, and is not deleted.
    pub fn exists(&self) -> bool {
        matches!(self.life, Life::Live) && (self.created || self.head() > Revision(0))
    }

    /// Tells whether there was never anything written of it.
    pub(in crate::doc) fn is_nothing(&self) -> bool {
        matches!(self.life, Life::Live)
            && !self.created
            && self.head() == Revision(0)
            && !self.is_unsaved()
    }

    /// Tells whether nobody is connected and nothing is open.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_unattended() && self.pending.is_empty()
    }

    /// Returns the offset after the last record applied.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Takes the state as older than every record: its offset is another log's.
    pub fn forget_offset(&mut self) {
        self.offset = Offset(0);
        self.epoch_at_rest = None;
    }

    /// Takes nothing new: the log has lost records.
    pub fn only_read(&mut self) {
        self.intake = Intake::ReadOnly;
    }

    /// Tells whether it takes nothing.
    pub fn is_only_read(&self) -> bool {
        self.intake == Intake::ReadOnly
    }

    /// Returns the ownership that a reader has to begin with at [`State::offset`].
    pub fn epoch_at_rest(&self) -> Option<Epoch> {
        self.epoch_at_rest
    }

    /// Returns what the document grants by itself.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Connects a session; the connection of the same session that it replaces is closed.
    ///
    /// # Errors
    /// [`Refusal::Occupied`] where the session has a connection that is not to be replaced, and as
    /// where one is not let in.
    pub fn join(
        &mut self,
        conn: ConnId,
        join: &Join,
        out: &mut Vec<Effect>,
    ) -> Result<Welcome, Refusal> {
        let mode = self.let_in(&join.asker, join.mode)?;
        if self.sessions.get(&join.session).is_some_and(|row| row.in_doubt) {
            let reason = "what the session wrote is being looked up".to_owned();
            return Err(Refusal::Unavailable { reason, retry: IN_DOUBT_RETRY });
        }
        let Socket { id: socket, replaces } = join.socket;
        let before = self.sessions.get(&join.session).and_then(|row| row.conn.as_ref());
        if let Some(&Connected { socket: by, .. }) = before
            && by != socket
            && Some(by) != replaces
        {
            return Err(Refusal::Occupied { by });
        }
        let connected = Connected { id: conn, socket, mode, ordered: join.ordered };
        if let Some(old) = self.sessions.connect(join.session, connected, &join.asker) {
            out.push(Effect::Close(old, Refusal::Replaced));
        }
        let head = self.head();
        let (rev, content) = if join.without_content {
            (head, Content::Changes(Vec::new()))
        } else {
            let rights = self.access.rights(&join.asker);
            self.content(join.rev.filter(|_| join.sees_past(rights)))
        };
        let seq = self.last_seq(&join.session);
        Ok(Welcome { conn, rev, head, seq, content, mode, you: join.session.participant() })
    }

    /// Tells what somebody who wants to come may do here.
    ///
    /// # Errors
    /// [`Refusal::Denied`] where they may not read, whatever the document is; others where it is
    /// deleted, quarantined, or absent and they may not write.
    pub(in crate::doc) fn let_in(&self, asker: &Asker, mode: Mode) -> Result<Mode, Refusal> {
        self.may(asker, Right::Read).map_err(Refusal::Denied)?;
        self.check_life()?;
        let read_only = self.intake == Intake::ReadOnly;
        if !self.exists() && read_only {
            return Err(Refusal::only_read());
        }
        let writes = !read_only && self.may(asker, Right::Write).is_ok();
        let mode = if writes { mode } else { Mode::View };
        if mode == Mode::View && !self.exists() {
            return Err(Refusal::NoDocument);
        }
        Ok(mode)
    }

    /// Returns what brings whoever stands at `rev` to the newest durable revision, and the revision
    /// that it begins at.
    pub(in crate::doc) fn content(&self, rev: Option<Revision>) -> (Revision, Content) {
        match rev.and_then(|rev| Some((rev, self.missed(rev)?))) {
            Some((rev, changes)) => (rev, Content::Changes(changes)),
            None => (self.head(), Content::Text(self.live.text())),
        }
    }

    /// Ends a connection.
    pub fn leave(&mut self, conn: ConnId) {
        self.sessions.disconnect(conn);
    }

    /// Returns what a connection that stands at `from` has missed, if the window reaches it.
    pub fn missed(&self, from: Revision) -> Option<Vec<Arc<Change>>> {
        self.window.between(from, self.head())
    }

    /// Maps a selection to the durable revision; nothing where that is no longer possible.
    pub(in crate::doc) fn mapped(&self, placed: Placed) -> Option<(u64, u64)> {
        self.window.mapped(placed.rev, placed.sel, self.head())
    }

    /// Queues a record that forgets sessions silent since `before`, or above the limit; tells
    /// whether there are any.
    pub(in crate::doc) fn expire(&mut self, before: Timestamp) -> bool {
        debug_assert_ne!(self.intake, Intake::ReadOnly, "nothing is written");
        let mut sessions = self.sessions.expired(before, self.config.sessions_max);
        sessions.truncate(ENTRIES_MAX);
        if sessions.is_empty() {
            return false;
        }
        for session in &sessions {
            self.sessions.entry(*session).in_doubt = true;
        }
        let kind = EventKind::SessionsExpired { sessions };
        self.note_event(Author::anonymous(), None, kind);
        true
    }

    /// Queues an event that nobody waits for.
    pub(in crate::doc) fn note_event(
        &mut self,
        author: Author,
        by: Option<Subject>,
        kind: EventKind,
    ) {
        let what = What::Event { author, by, kind };
        self.pending.push(Item { what, received: Instant::now(), permit: None, done: None });
    }

    /// Refuses where the document cannot be edited at all.
    pub(in crate::doc) fn check_life(&self) -> Result<(), Refusal> {
        match &self.life {
            Life::Live => Ok(()),
            Life::Deleted => Err(Refusal::NoDocument),
            Life::Quarantined { reason } => Err(Refusal::Quarantined { reason: reason.clone() }),
        }
    }

    /// Lets go of everything that is open, none of which was written, and returns who waits for it.
    /// What has its place behind it has lost it, too: the state has to be rebuilt.
    pub(in crate::doc) fn give_up(&mut self) -> impl Iterator<Item = Done> + use<> {
        std::mem::take(&mut self.pending).into_waiting()
    }

    /// Hands as many records to the writer as may be on their way.
    pub fn flush(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(epoch) = self.epoch else { return };
        let durable = self.head();
        while self.pending.flights() < self.config.frames_in_flight {
            let made = Making {
                doc: &self.doc,
                epoch,
                at: now,
                durable,
                bytes_max: self.config.frame_bytes_max.as_u64() as usize,
            };
            let Some(record) = self.pending.take_off(&made) else { return };
            let bytes = record.encode();
            self.pending.note_bytes(bytes.len());
            out.push(Effect::Append(epoch, bytes));
        }
    }
}
