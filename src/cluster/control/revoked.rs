//! What is revoked: a bounded list that commands fill. Pure, and the same wherever the same
//! commands were given.
//!
//! An entry is dropped where room is short and nothing that it stops can be good any more, and
//! never otherwise: no entry is pushed out by another one, and a wrong clock of one operator does
//! not bring tokens back as long as there is room.

use std::collections::BTreeMap;

use crate::cluster::error::Void;
use crate::cluster::record::{Text, Token};
use crate::cluster::snapshot;
use crate::types::Timestamp;

/// How much room the list may take in a snapshot, in bytes, so that the snapshot fits a record.
pub const REVOKED_BYTES_MAX: usize = 512 * 1024;

/// The length of a text, and a time, as they are at most in a snapshot, in bytes.
const LENGTH_BYTES: usize = 2;
const TIME_BYTES: usize = 10;

/// Lists what is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revoked {
    /// Until when each is kept.
    tokens: BTreeMap<Text<128>, Timestamp>,
    subjects: BTreeMap<Text<255>, Before>,
    /// How much room they take, at most.
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Before {
    /// Up to when the tokens were issued.
    issued: Timestamp,
    /// Until when it is kept.
    until: Timestamp,
}

impl Revoked {
    /// Adds an entry, or prolongs it; `now` is when that was ordered.
    ///
    /// # Errors
    /// [`Void::TooManyRevoked`]: nothing has changed.
    pub fn revoke(&mut self, token: &Token, until: Timestamp, now: Timestamp) -> Result<(), Void> {
        let known = match token {
            Token::Id(id) => self.tokens.contains_key(id),
            Token::Subject { subject, .. } => self.subjects.contains_key(subject),
        };
        if !known {
            let more = match token {
                Token::Id(id) => token_bytes(id),
                Token::Subject { subject, .. } => subject_bytes(subject),
            };
            self.make_room(more, now)?;
        }
        match token {
            Token::Id(id) => {
                let held = self.tokens.entry(id.clone()).or_insert(until);
                *held = until.max(*held);
            }
            Token::Subject { subject, issued } => {
                let new = Before { issued: *issued, until };
                let held = self.subjects.entry(subject.clone()).or_insert(new);
                held.issued = held.issued.max(*issued);
                held.until = held.until.max(until);
            }
        }
        Ok(())
    }

    /// Tells whether an entry would add nothing.
    pub fn has(&self, token: &Token, until: Timestamp) -> bool {
        match token {
            Token::Id(id) => self.tokens.get(id).is_some_and(|held| *held >= until),
            Token::Subject { subject, issued } => {
                let held = self.subjects.get(subject);
                held.is_some_and(|held| held.issued >= *issued && held.until >= until)
            }
        }
    }

    /// Returns the ids of tokens, in order, and until when each is kept.
    pub fn tokens(&self) -> impl Iterator<Item = (&Text<128>, Timestamp)> {
        self.tokens.iter().map(|(id, until)| (id, *until))
    }

    /// Returns the subjects, in order, up to when their tokens were issued, and until when each is
    /// kept.
    pub fn subjects(&self) -> impl Iterator<Item = (&Text<255>, Timestamp, Timestamp)> {
        self.subjects.iter().map(|(subject, before)| (subject, before.issued, before.until))
    }

    /// Returns the list's bytes, for a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        snapshot::encode_revoked(self)
    }

    /// Reads a list back from a file; none if it was damaged, or is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        snapshot::decode_revoked(bytes)
    }

    /// Returns how many entries there are.
    pub fn count(&self) -> usize {
        self.tokens.len() + self.subjects.len()
    }

    /// Returns how much room they take, of [`REVOKED_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes room for `more` bytes, which are taken then.
    fn make_room(&mut self, more: usize, now: Timestamp) -> Result<(), Void> {
        if self.bytes + more > REVOKED_BYTES_MAX {
            let tokens = self.tokens().filter(|(_, until)| *until <= now);
            let subjects = self.subjects().filter(|(_, _, until)| *until <= now);
            let over = tokens.map(|(id, _)| token_bytes(id)).sum::<usize>()
                + subjects.map(|(subject, ..)| subject_bytes(subject)).sum::<usize>();
            let left = self.bytes - over;
            if left + more > REVOKED_BYTES_MAX {
                return Err(Void::TooManyRevoked { count: self.count() });
            }
            self.tokens.retain(|_, until| *until > now);
            self.subjects.retain(|_, before| before.until > now);
            self.bytes = left;
        }
        self.bytes += more;
        Ok(())
    }
}

/// Returns how much room a token takes at most.
fn token_bytes(id: &Text<128>) -> usize {
    LENGTH_BYTES + id.as_str().len() + TIME_BYTES
}

/// Returns how much room a subject takes at most.
fn subject_bytes(subject: &Text<255>) -> usize {
    LENGTH_BYTES + subject.as_str().len() + 2 * TIME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::text;

    const LATER: Timestamp = Timestamp(99);

    fn id(name: &str) -> Token {
        Token::Id(text(name))
    }

    fn of(subject: &str, issued: u64) -> Token {
        Token::Subject { subject: text(subject), issued: Timestamp(issued) }
    }

    fn revoke(revoked: &mut Revoked, token: &Token, until: u64) -> Result<(), Void> {
        revoked.revoke(token, Timestamp(until), Timestamp(50))
    }

    fn list(revoked: &Revoked) -> Vec<(Token, u64)> {
        let tokens = revoked.tokens().map(|(name, until)| (id(name.as_str()), until.0));
        let subjects = revoked
            .subjects()
            .map(|(subject, issued, until)| (of(subject.as_str(), issued.0), until.0));
        tokens.chain(subjects).collect()
    }

    #[test]
    fn an_entry_grows_and_never_shrinks() {
        let mut revoked = Revoked::default();
        for (token, until) in [
            (id("j"), 90),
            (id("j"), 80),
            (of("s", 40), 60),
            (of("s", 30), 70),
            // The same name, and another kind.
            (of("j", 10), 65),
        ] {
            assert_eq!(revoke(&mut revoked, &token, until), Ok(()));
        }
        let expected = [(id("j"), 90), (of("j", 10), 65), (of("s", 40), 70)];
        assert_eq!(list(&revoked), expected);
        assert_eq!(revoked.bytes(), 13 + 23 + 23);
        for (token, until, has) in [
            (id("j"), 90, true),
            (id("j"), 91, false),
            (id("s"), 1, false),
            (of("s", 40), 70, true),
            (of("s", 41), 70, false),
            (of("s", 40), 71, false),
        ] {
            assert_eq!(revoked.has(&token, Timestamp(until)), has, "{token:?} {until}");
        }
    }

    #[test]
    fn a_full_list_takes_nothing_and_loses_nothing() {
        let mut revoked = Revoked::default();
        let name = |at: usize| format!("{at:0255}");
        let fit = REVOKED_BYTES_MAX / (255 + 22);
        for at in 0..fit {
            // Ten of them are expired.
            let until = if at < 10 { 50 } else { LATER.0 };
            revoke(&mut revoked, &of(&name(at), 1), until).unwrap();
        }
        let more = of(&name(fit), 1);
        let early = revoked.revoke(&more, LATER, Timestamp(49));
        assert_eq!(early, Err(Void::TooManyRevoked { count: fit }));
        assert_eq!(revoked.count(), fit, "nothing was dropped");
        assert!(revoked.bytes() <= REVOKED_BYTES_MAX);

        assert_eq!(revoke(&mut revoked, &more, 99), Ok(()));
        assert_eq!(revoked.count(), fit - 9, "the expired ones have made room");
        for at in 1..10 {
            revoke(&mut revoked, &of(&name(fit + at), 1), 99).unwrap();
        }
        let full = Err(Void::TooManyRevoked { count: fit });
        assert_eq!(revoke(&mut revoked, &of(&name(fit + 10), 1), 99), full);
        assert_eq!(revoke(&mut revoked, &of(&name(11), 2), 120), Ok(()), "a known one grows");
        assert_eq!(revoked.bytes(), fit * (255 + 22));
    }
}
