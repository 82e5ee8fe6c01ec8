//! The body of a checkpoint: what is stored in chunks.
//!
//! ```text
//! format 1 (byte) · the live segment
//! sessions: their ids (16 bytes each) · packed: seq · revision · time
//! window:   ids of sessions that are not among those (16 bytes each) · names of authors
//!           packed: session · seq · author · base · time, then shapes · lengths · text
//! ```
//! The rows lie column by column and each number is the difference to what the rows before make
//! one expect (the session's next batch, the newest base, the place where the session typed last),
//! so a column of someone typing is zeros. The window's columns are in `window.rs`.

use bytes::Bytes;

use crate::checkpoint::column::{Column, Cursor};
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::snapshot::{SessionRow, Snapshot};
use crate::checkpoint::window;
use crate::types::{Revision, Seq, SessionId, Timestamp};

const FORMAT: u8 = 1;

/// Encodes what of a snapshot is not in its manifest.
pub(crate) fn encode(snapshot: &Snapshot) -> Bytes {
    let mut sessions: Vec<&SessionRow> = snapshot.sessions.iter().collect();
    sessions.sort_unstable_by_key(|row| (row.rev, row.session));
    let mut out = Column::default();
    out.fixed(&[FORMAT]);
    out.bytes(&snapshot.live);
    write_sessions(&mut out, &sessions);
    let known = sessions.iter().map(|row| row.session);
    window::write(&mut out, known, &snapshot.window, snapshot.revision);
    out.into_vec().into()
}

/// Puts a snapshot together from a manifest and the bytes of its body.
pub(crate) fn decode(manifest: Manifest, body: &Bytes) -> Result<Snapshot, DecodeError> {
    let mut cursor = Cursor::new(body);
    match cursor.fixed()? {
        [FORMAT] => {}
        [0] => return Err(DecodeError::Invalid("format 0")),
        [found] => return Err(DecodeError::Newer { found }),
    }
    let live = body.slice_ref(cursor.bytes()?);
    let sessions = read_sessions(&mut cursor)?;
    let known = sessions.iter().map(|row| row.session);
    let window = window::read(&mut cursor, known, manifest.revision)?;
    cursor.end()?;
    Ok(Snapshot {
        doc: manifest.doc,
        revision: manifest.revision,
        log: manifest.log,
        offset: manifest.offset,
        epoch: manifest.epoch,
        text_hash: manifest.text_hash,
        life: manifest.life,
        created: manifest.created,
        live,
        sessions,
        window,
        sealed: manifest.sealed,
        versions: manifest.versions,
        cut: manifest.cut,
        access: manifest.access,
    })
}

/// Reads ids that lie one after another.
pub(crate) fn read_ids(cursor: &mut Cursor<'_>) -> Result<Vec<SessionId>, DecodeError> {
    let (ids, rest) = cursor.bytes()?.as_chunks();
    if rest.is_empty() {
        Ok(ids.iter().copied().map(SessionId).collect())
    } else {
        Err(DecodeError::Invalid("a session id that is cut off"))
    }
}

fn write_sessions(out: &mut Column, sessions: &[&SessionRow]) {
    let (mut ids, mut seqs, mut revs, mut times) =
        (Column::default(), Column::default(), Column::default(), Column::default());
    let (mut rev, mut at) = (0, 0);
    for row in sessions {
        ids.fixed(&row.session.0);
        seqs.number(row.seq.0);
        revs.difference(rev, row.rev.0);
        times.difference(at, row.at.0);
        (rev, at) = (row.rev.0, row.at.0);
    }
    out.bytes(ids.as_slice());
    [seqs, revs, times].iter().for_each(|column| out.packed(column));
}

fn read_sessions(cursor: &mut Cursor<'_>) -> Result<Vec<SessionRow>, DecodeError> {
    let ids = read_ids(cursor)?;
    let (seqs, revs, times) = (cursor.packed()?, cursor.packed()?, cursor.packed()?);
    let (mut seqs, mut revs, mut times) =
        (Cursor::new(&seqs), Cursor::new(&revs), Cursor::new(&times));
    let (mut rev, mut at) = (0, 0);
    let mut rows = Vec::with_capacity(ids.len());
    for session in ids {
        let seq = Seq(seqs.number()?);
        rev = revs.difference(rev)?;
        at = times.difference(at)?;
        rows.push(SessionRow { session, seq, rev: Revision(rev), at: Timestamp(at) });
    }
    [seqs, revs, times].iter().try_for_each(Cursor::end)?;
    Ok(rows)
}
