//! What was withdrawn before its time: tokens by their `jti`, and all tokens of a subject that were
//! issued up to a moment. It answers for each token that is presented, and is made anew from the
//! bounded list that the node keeps, or its cluster: when an entry goes is decided there.

use std::collections::{HashMap, HashSet};

use crate::access::Subject;
use crate::auth::error::Refusal;
use crate::auth::names::TokenId;
use crate::auth::token::Claims;
use crate::types::Timestamp;

/// Holds what was revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    tokens: HashSet<TokenId>,
    /// Up to when their tokens were issued.
    subjects: HashMap<Subject, Timestamp>,
    /// Whether more may be revoked that is not heard of here.
    cut_off: bool,
}

impl Revocations {
    /// Revokes one token.
    pub fn revoke_token(&mut self, id: TokenId) {
        self.tokens.insert(id);
    }

    /// Revokes all tokens of a subject that were issued up to a moment; what is issued afterwards
    /// is good.
    pub fn revoke_subject(&mut self, subject: Subject, issued: Timestamp) {
        let held = self.subjects.entry(subject).or_insert(issued);
        *held = issued.max(*held);
    }

    /// Returns the same where what is revoked from now on is not heard of: nothing is known to hold
    /// any more.
    pub fn cut_off(self) -> Self {
        Self { cut_off: true, ..self }
    }

    /// Asks whether what a token says still holds. One that does not say since when it is there
    /// counts as issued before everything.
    ///
    /// # Errors
    /// [`Refusal::Revoked`], or [`Refusal::CutOff`] where that is not known.
    pub fn check(&self, claims: &Claims) -> Result<(), Refusal> {
        let token = claims.id.as_ref().is_some_and(|id| self.tokens.contains(id));
        let before = self.subjects.get(&claims.subject);
        let subject =
            before.is_some_and(|before| claims.issued.is_none_or(|issued| issued <= *before));
        match (token || subject, self.cut_off) {
            (true, _) => Err(Refusal::Revoked),
            (false, true) => Err(Refusal::CutOff),
            (false, false) => Ok(()),
        }
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
            key: None,
        }
    }

    #[test]
    fn a_token_is_revoked_alone() {
        let mut revoked = Revocations::default();
        revoked.revoke_token("t1".parse().expect("an id"));
        assert_eq!(revoked.check(&claims("a", Some("t1"), None)), Err(Refusal::Revoked));
        assert_eq!(revoked.check(&claims("a", Some("t2"), None)), Ok(()));
        assert_eq!(revoked.check(&claims("t1", None, None)), Ok(()));
    }

    #[test]
    fn nothing_is_known_to_hold_where_revocations_are_not_heard_of() {
        let mut revoked = Revocations::default();
        revoked.revoke_token("t1".parse().expect("an id"));
        let revoked = revoked.cut_off();
        assert_eq!(revoked.check(&claims("a", Some("t1"), None)), Err(Refusal::Revoked));
        assert_eq!(revoked.check(&claims("a", Some("t2"), None)), Err(Refusal::CutOff));
    }

    #[test]
    fn a_subject_is_revoked_up_to_a_moment() {
        let long = "s".repeat(255);
        let mut revoked = Revocations::default();
        // An older one that comes late takes nothing back.
        for issued in [5_000, 4_000] {
            revoked.revoke_subject(long.parse().expect("a subject"), Timestamp(issued));
        }
        for (issued, expected) in [
            (None, Err(Refusal::Revoked)),
            (Some(4_000), Err(Refusal::Revoked)),
            (Some(5_000), Err(Refusal::Revoked)),
            (Some(5_001), Ok(())),
        ] {
            assert_eq!(revoked.check(&claims(&long, Some("t"), issued)), expected, "{issued:?}");
        }
        assert_eq!(revoked.check(&claims(&long[1..], None, None)), Ok(()));
    }
}
