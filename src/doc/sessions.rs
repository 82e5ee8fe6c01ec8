//! The session table: what makes a batch that comes twice count once, and the run rule's memory.
//!
//! The durable columns (last batch, its revision) live in checkpoints and are rebuilt from the
//! log; the rest is about connections and lasts as long as the document is open.

use rustc_hash::FxHashMap;

use crate::access::Asker;
use crate::doc::{ConnId, Mode};
use crate::text::{Operation, Run};
use crate::types::{Revision, Seq, SessionId, Timestamp};

/// What is known of one session.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The last durable batch.
    pub(crate) durable: Seq,
    /// The revision that it became.
    pub(crate) rev: Revision,
    /// When that was.
    pub(crate) at: Timestamp,
    /// The last batch that has its place in the order.
    pub(crate) ordered: Seq,
    /// A batch that is being merged elsewhere, on its way to its place.
    pub(crate) merging: Option<Seq>,
    /// Whether a record that forgets it, or brings it back, is on its way to the log.
    pub(crate) in_doubt: bool,
    /// The end of its last run of text.
    pub(crate) run: RunEnd,
    /// Its current connection.
    pub(crate) conn: Option<Connected>,
}

/// The place right after a session's last insert, if it is known.
#[derive(Debug, Default)]
pub(crate) enum RunEnd {
    /// The session has not inserted anything yet.
    #[default]
    None,
    /// It has, but where is no longer known.
    Lost,
    /// The place, mapped through the revisions up to and with `as_of`.
    At { run: Run, as_of: Revision },
}

/// A session's current connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connected {
    pub(crate) id: ConnId,
    /// Tells the client's socket from others of its session.
    pub(crate) socket: u64,
    pub(crate) mode: Mode,
    /// Whether it wants to know when a batch is ordered.
    pub(crate) ordered: bool,
}

/// All sessions of a document.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    rows: FxHashMap<SessionId, Session>,
    by_conn: FxHashMap<ConnId, (SessionId, Asker)>,
}

impl Sessions {
    /// Returns a session, if anything is known of it.
    pub(crate) fn get(&self, id: &SessionId) -> Option<&Session> {
        self.rows.get(id)
    }

    /// Returns a session, a new one if nothing is known of it.
    pub(crate) fn entry(&mut self, id: SessionId) -> &mut Session {
        self.rows.entry(id).or_default()
    }

    /// Returns the session of a current connection.
    pub(crate) fn of_conn(&self, conn: ConnId) -> Option<SessionId> {
        self.by_conn.get(&conn).map(|(session, _)| *session)
    }

    /// Returns who asks over a current connection.
    pub(crate) fn asker(&self, conn: ConnId) -> Option<&Asker> {
        self.by_conn.get(&conn).map(|(_, asker)| asker)
    }

    /// Makes `conn` the session's connection and returns the one it replaces.
    pub(crate) fn connect(
        &mut self,
        id: SessionId,
        conn: Connected,
        asker: &Asker,
    ) -> Option<ConnId> {
        let replaced = self.entry(id).conn.replace(conn).map(|old| old.id);
        if let Some(old) = replaced {
            self.by_conn.remove(&old);
        }
        self.by_conn.insert(conn.id, (id, asker.clone()));
        replaced
    }

    /// Ends a connection; a session that never wrote is forgotten with it.
    pub(crate) fn disconnect(&mut self, conn: ConnId) -> Option<SessionId> {
        let (id, _) = self.by_conn.remove(&conn)?;
        let row = self.rows.get_mut(&id)?;
        row.conn = None;
        if row.is_unknown() {
            self.rows.remove(&id);
        }
        Some(id)
    }

    /// Forgets a session that is not connected and never wrote.
    pub(crate) fn forget_unknown(&mut self, id: SessionId) {
        if self.rows.get(&id).is_some_and(|row| row.conn.is_none() && row.is_unknown()) {
            self.rows.remove(&id);
        }
    }

    /// Returns the connections, in no order.
    pub(crate) fn conns(&self) -> impl Iterator<Item = ConnId> {
        self.by_conn.keys().copied()
    }

    /// Returns who asks over each connection, in no order.
    pub(crate) fn askers(&self) -> impl Iterator<Item = (ConnId, &Asker)> {
        self.by_conn.iter().map(|(conn, (_, asker))| (*conn, asker))
    }

    /// Tells whether nobody is connected.
    pub(crate) fn is_unattended(&self) -> bool {
        self.by_conn.is_empty()
    }

    /// Returns the sessions that have durable batches, by id.
    pub(crate) fn durable(&self) -> Vec<(SessionId, &Session)> {
        let written = self.rows.iter().filter(|(_, row)| row.durable > Seq(0));
        let mut rows: Vec<_> = written.map(|(id, row)| (*id, row)).collect();
        rows.sort_unstable_by_key(|(id, _)| *id);
        rows
    }

    /// Tells whether sessions have been forgotten that wrote some of the `head` revisions: each one
    /// is a batch of one session, and a session's batches are counted from 1.
    pub(crate) fn are_incomplete(&self, head: Revision) -> bool {
        self.rows.values().map(|row| row.durable.0).sum::<u64>() < head.0
    }

    /// Forgets the durable columns of sessions that have expired.
    pub(crate) fn expire(&mut self, ids: &[SessionId]) {
        for id in ids {
            if let Some(row) = self.rows.remove(id).and_then(|row| row.conn) {
                self.by_conn.remove(&row.id);
            }
        }
    }

    /// Knows a session again that had expired.
    pub(crate) fn bring_back(&mut self, id: SessionId, seq: Seq, rev: Revision, at: Timestamp) {
        let row = self.entry(id);
        row.in_doubt = false;
        if row.durable < seq {
            row.note_durable(seq, rev, at);
        }
    }

    /// Chooses unconnected sessions to expire: those last heard of before `before`, and the
    /// longest silent ones above `rows_max`.
    pub(crate) fn expired(&self, before: Timestamp, rows_max: usize) -> Vec<SessionId> {
        let mut silent: Vec<_> = self
            .durable()
            .into_iter()
            .filter(|(_, row)| row.is_at_rest())
            .map(|(id, row)| (row.rev, row.at, id))
            .collect();
        silent.sort_unstable();
        let over = self.rows.len().saturating_sub(rows_max);
        let old = |(index, (_, at, _)): &(usize, &(Revision, Timestamp, SessionId))| {
            *index < over || *at < before
        };
        silent.iter().enumerate().filter(old).map(|(_, (_, _, id))| *id).collect()
    }
}

impl Session {
    /// Remembers where the session's run ends, if its revision `made` inserts.
    pub(crate) fn note_insert(&mut self, op: &Operation, made: Revision) {
        if let Some(run) = Run::begin(op, made) {
            self.run = RunEnd::At { run, as_of: made };
        }
    }

    /// Tells whether nobody is connected and nothing of it is on its way.
    fn is_at_rest(&self) -> bool {
        let nothing_open = self.ordered == self.durable && self.merging.is_none();
        self.conn.is_none() && nothing_open && !self.in_doubt
    }

    /// Tells whether nothing is known that it wrote.
    pub(crate) fn is_unknown(&self) -> bool {
        let silent = self.ordered == Seq(0) && self.durable == Seq(0) && self.merging.is_none();
        silent && !self.in_doubt
    }

    /// Notes a durable batch.
    pub(crate) fn note_durable(&mut self, seq: Seq, rev: Revision, at: Timestamp) {
        self.durable = seq;
        self.ordered = self.ordered.max(seq);
        self.rev = rev;
        self.at = at;
    }
}
