//! What was withdrawn before its time: tokens by their `jti`, and all tokens of a subject that were
//! issued up to a moment. Pure; every node folds the same records into the same lists.
//!
//! An entry is kept as long as a token that it stops could be good, and no longer. There is no room
//! without end: where the lists are full, a revocation fails, loudly, instead of pushing out
//! another one.

use std::collections::HashMap;

use crate::access::Subject;
use crate::auth::error::Refusal;
use crate::auth::names::TokenId;
use crate::auth::token::Claims;
use crate::types::Timestamp;

/// The most entries of each list.
pub const REVOCATIONS_MAX: usize = 100_000;

/// Holds what was revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    tokens: HashMap<TokenId, Timestamp>,
    subjects: HashMap<Subject, Before>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Before {
    issued: Timestamp,
    until: Timestamp,
}

/// Tells that nothing more can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{REVOCATIONS_MAX} revocations are in force: replace the signing key instead")]
pub struct TooManyRevocations;

impl Revocations {
    /// Revokes one token, which expires at `until`.
    ///
    /// # Errors
    /// [`TooManyRevocations`].
    pub fn revoke_token(
        &mut self,
        id: TokenId,
        until: Timestamp,
    ) -> Result<(), TooManyRevocations> {
        if self.tokens.len() >= REVOCATIONS_MAX && !self.tokens.contains_key(&id) {
            return Err(TooManyRevocations);
        }
        let held = self.tokens.entry(id).or_insert(until);
        *held = until.max(*held);
        Ok(())
    }

    /// Revokes all tokens of a subject that were issued up to a moment, the last of which expires
    /// at `until`; what is issued afterwards is good.
    ///
    /// # Errors
    /// [`TooManyRevocations`].
    pub fn revoke_subject(
        &mut self,
        subject: Subject,
        issued: Timestamp,
        until: Timestamp,
    ) -> Result<(), TooManyRevocations> {
        if self.subjects.len() >= REVOCATIONS_MAX && !self.subjects.contains_key(&subject) {
            return Err(TooManyRevocations);
        }
        let held = self.subjects.entry(subject).or_insert(Before { issued, until });
        *held = Before { issued: issued.max(held.issued), until: until.max(held.until) };
        Ok(())
    }

    /// Asks whether what a token says still holds. One that does not say since when it is there
    /// counts as issued before everything.
    ///
    /// # Errors
    /// [`Refusal::Revoked`].
    pub fn check(&self, claims: &Claims) -> Result<(), Refusal> {
        let token = claims.id.as_ref().is_some_and(|id| self.tokens.contains_key(id));
        let before = self.subjects.get(&claims.subject);
        let subject =
            before.is_some_and(|before| claims.issued.is_none_or(|issued| issued <= before.issued));
        if token || subject { Err(Refusal::Revoked) } else { Ok(()) }
    }

    /// Drops what stops nothing any more, because all that it could stop has expired.
    pub fn forget(&mut self, now: Timestamp) {
        self.tokens.retain(|_, until| *until > now);
        self.subjects.retain(|_, before| before.until > now);
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.subjects.len()
    }

    /// Tells whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Author;

    fn claims(subject: &str, id: Option<&str>, issued: Option<u64>) -> Claims {
        Claims {
            subject: subject.parse().expect("a subject"),
            name: Author::anonymous(),
            expires: Timestamp(100_000),
            issued: issued.map(Timestamp),
            id: id.map(|id| id.parse().expect("an id")),
            grants: Vec::new(),
        }
    }

    #[test]
    fn a_token_is_revoked_alone() {
        let mut revoked = Revocations::default();
        let id = "t1".parse().expect("an id");
        assert_eq!(revoked.revoke_token(id, Timestamp(100_000)), Ok(()));
        assert_eq!(revoked.check(&claims("a", Some("t1"), None)), Err(Refusal::Revoked));
        assert_eq!(revoked.check(&claims("a", Some("t2"), None)), Ok(()));
        assert_eq!(revoked.check(&claims("t1", None, None)), Ok(()));
        revoked.forget(Timestamp(99_999));
        assert_eq!(revoked.len(), 1);
        revoked.forget(Timestamp(100_000));
        assert!(revoked.is_empty());
    }

    #[test]
    fn a_subject_is_revoked_up_to_a_moment() {
        let mut revoked = Revocations::default();
        let revoke = |revoked: &mut Revocations, issued, until| {
            let subject = "a".parse().expect("a subject");
            revoked.revoke_subject(subject, Timestamp(issued), Timestamp(until)).expect("room");
        };
        revoke(&mut revoked, 5_000, 90_000);
        // An older one that comes late takes nothing back.
        revoke(&mut revoked, 4_000, 80_000);
        for (issued, expected) in [
            (None, Err(Refusal::Revoked)),
            (Some(4_000), Err(Refusal::Revoked)),
            (Some(5_000), Err(Refusal::Revoked)),
            (Some(6_000), Ok(())),
        ] {
            assert_eq!(revoked.check(&claims("a", Some("t"), issued)), expected, "{issued:?}");
        }
        assert_eq!(revoked.check(&claims("b", None, None)), Ok(()));
        revoked.forget(Timestamp(89_999));
        assert_eq!(revoked.len(), 1);
        revoked.forget(Timestamp(90_000));
        assert!(revoked.is_empty());
    }

    #[test]
    fn lists_are_bounded_and_nothing_is_pushed_out() {
        let mut revoked = Revocations::default();
        for n in 0..REVOCATIONS_MAX {
            let id = format!("t{n}").parse().expect("an id");
            revoked.revoke_token(id, Timestamp(1)).expect("room");
        }
        let revoke = |revoked: &mut Revocations, id: &str| {
            revoked.revoke_token(id.parse().expect("an id"), Timestamp(1))
        };
        assert_eq!(revoke(&mut revoked, "more"), Err(TooManyRevocations));
        assert_eq!(revoke(&mut revoked, "t0"), Ok(()));
        assert_eq!(revoked.check(&claims("a", Some("t0"), None)), Err(Refusal::Revoked));
    }
}
