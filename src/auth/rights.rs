//! What somebody may do with a document: rights, grants of a token, and the access that a document
//! gives by itself. Pure: who somebody is has been found out before.
//!
//! Rights come from two sides and are added up: what the token's issuer grants for documents by
//! pattern, and what the document grants to its owner, its members and, where it is public, to all.
//! Neither side takes away what the other gives: the issuer stands for the operator, and an owner
//! is who the issuer says. So a token with narrow grants is narrow only for a subject that owns
//! nothing and is no member: scripts get a subject of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::auth::names::Subject;
use crate::auth::pattern::Pattern;
use crate::types::DocId;

/// The most grants of one token.
pub const GRANTS_MAX: usize = 64;

/// The most members of one document.
pub const MEMBERS_MAX: usize = 1_000;

/// Is one thing that may be done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// See the newest text, and who is there.
    Read,
    /// Change the text. Contains `read`: an edit applies to a text that was seen.
    Write,
    /// See all earlier texts and who wrote what. Contains `read`.
    History,
    /// Change who may do what, delete, cut history. Contains all others.
    Admin,
}

impl Right {
    /// Every right, the smallest first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::History, Self::Admin];

    /// Returns its name in tokens and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::History => "history",
            Self::Admin => "admin",
        }
    }

    /// Returns the right with what it contains.
    fn closure(self) -> u8 {
        match self {
            Self::Read => 0b0001,
            Self::Write => 0b0011,
            Self::History => 0b0101,
            Self::Admin => 0b1111,
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Read => 0b0001,
            Self::Write => 0b0010,
            Self::History => 0b0100,
            Self::Admin => 0b1000,
        }
    }
}

/// Tells that a string names no right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a right is one of read, write, history, admin")]
pub struct BadRight;

impl FromStr for Right {
    type Err = BadRight;

    fn from_str(text: &str) -> Result<Self, BadRight> {
        Self::ALL.into_iter().find(|right| right.name() == text).ok_or(BadRight)
    }
}

/// Is a set of rights that has, with each right, what that contains.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rights(u8);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);

    /// Every right.
    pub const ALL: Self = Self(0b1111);

    /// Tells whether the right is in the set.
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Returns the rights of both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Tells whether the set is empty.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Returns the set as bits, for an encoding: `read` is 1, `write` 2, `history` 4, `admin` 8.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns the set of these bits, or nothing if one of them is no right.
    pub fn from_bits(bits: u8) -> Option<Self> {
        let known = bits & !Self::ALL.0 == 0;
        let rights: Self = Right::ALL.into_iter().filter(|right| bits & right.bit() != 0).collect();
        known.then_some(rights)
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |bits, right| bits | right.closure()))
    }
}

/// Reads names with `,` between them.
impl FromStr for Rights {
    type Err = BadRight;

    fn from_str(text: &str) -> Result<Self, BadRight> {
        text.split(',').map(Right::from_str).collect()
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Right::ALL.into_iter().filter(|right| self.has(*right)).map(Right::name);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// Is what a token's issuer gives: rights on the documents of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Which documents.
    pub pattern: Pattern,
    /// What may be done with them.
    pub rights: Rights,
}

/// Is who asks: nobody in particular, or a subject whose token was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Somebody without a token.
    Anonymous,
    /// A subject, and what its token grants.
    Known {
        /// Who.
        subject: Subject,
        /// At most [`GRANTS_MAX`].
        grants: Vec<Grant>,
    },
}

/// Says whether those who are not named may read a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// They may not.
    #[default]
    Private,
    /// All may read the newest text, without a token.
    Public,
}

/// Is what a document grants by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Who may do everything.
    pub owner: Option<Subject>,
    /// Whether all may read.
    pub visibility: Visibility,
    members: BTreeMap<Subject, Rights>,
}

/// Tells that a document has no room for another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a document has at most {MEMBERS_MAX} members: remove some, or grant by a token's pattern")]
pub struct TooManyMembers;

impl Access {
    /// Returns the members and their rights.
    pub fn members(&self) -> &BTreeMap<Subject, Rights> {
        &self.members
    }

    /// Gives a member these rights in place of those that it had; no rights end the membership.
    ///
    /// # Errors
    /// [`TooManyMembers`].
    pub fn admit(&mut self, member: Subject, rights: Rights) -> Result<(), TooManyMembers> {
        if rights.is_none() {
            self.members.remove(&member);
            return Ok(());
        }
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(&member) {
            return Err(TooManyMembers);
        }
        self.members.insert(member, rights);
        Ok(())
    }

    /// Returns what the document grants to a subject.
    fn rights(&self, subject: &Subject) -> Rights {
        if self.owner.as_ref() == Some(subject) {
            return Rights::ALL;
        }
        self.members.get(subject).copied().unwrap_or_default()
    }
}

/// Is the answer to whether somebody may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is allowed.
    Allowed,
    /// It is not, and a token would help.
    Unknown,
    /// It is not, whoever asks being known.
    Forbidden,
}

/// Returns all that a principal may do with a document.
pub fn rights(principal: &Principal, doc: &DocId, access: &Access) -> Rights {
    let to_all = match access.visibility {
        Visibility::Private => Rights::NONE,
        Visibility::Public => Right::Read.into(),
    };
    let Principal::Known { subject, grants } = principal else {
        return to_all;
    };
    let granted = grants.iter().filter(|grant| grant.pattern.matches(doc));
    let granted = granted.fold(Rights::NONE, |sum, grant| sum.and(grant.rights));
    to_all.and(granted).and(access.rights(subject))
}

/// Decides whether a principal may use a right on a document.
pub fn decide(principal: &Principal, doc: &DocId, access: &Access, right: Right) -> Decision {
    if rights(principal, doc, access).has(right) {
        return Decision::Allowed;
    }
    match principal {
        Principal::Anonymous => Decision::Unknown,
        Principal::Known { .. } => Decision::Forbidden,
    }
}

impl From<Right> for Rights {
    fn from(right: Right) -> Self {
        Self(right.closure())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(subject: &str, grants: &[(&str, &str)]) -> Principal {
        let grant = |(pattern, rights): &(&str, &str)| Grant {
            pattern: pattern.parse().expect("a pattern"),
            rights: rights.parse().expect("rights"),
        };
        let grants = grants.iter().map(grant).collect();
        Principal::Known { subject: subject.parse().expect("a subject"), grants }
    }

    #[track_caller]
    fn check(principal: &Principal, access: &Access, expected: &str) {
        let doc = "acme.notes".parse().expect("an id");
        assert_eq!(rights(principal, &doc, access).to_string(), expected);
        for right in Right::ALL {
            let decision = match (expected.split(',').any(|name| name == right.name()), principal) {
                (true, _) => Decision::Allowed,
                (false, Principal::Anonymous) => Decision::Unknown,
                (false, Principal::Known { .. }) => Decision::Forbidden,
            };
            assert_eq!(decide(principal, &doc, access, right), decision, "{right:?}");
        }
    }

    #[test]
    fn a_right_brings_what_it_contains() {
        let of = |text: &str| text.parse::<Rights>().map(|rights| rights.to_string());
        assert_eq!(of("read"), Ok("read".to_owned()));
        assert_eq!(of("write"), Ok("read,write".to_owned()));
        assert_eq!(of("history"), Ok("read,history".to_owned()));
        assert_eq!(of("admin"), Ok("read,write,history,admin".to_owned()));
        assert_eq!(of("write,write"), Ok("read,write".to_owned()));
        for bad in ["", "Read", "read,", "read, write", "all", "*"] {
            assert_eq!(of(bad), Err(BadRight), "{bad:?}");
        }
    }

    #[test]
    fn tokens_and_documents_add_up() {
        let mut access = Access { owner: "olga".parse().ok(), ..Access::default() };
        access.admit("mia".parse().expect("a subject"), Right::Write.into()).expect("room");
        check(&Principal::Anonymous, &access, "");
        check(&known("eve", &[]), &access, "");
        check(&known("mia", &[]), &access, "read,write");
        check(&known("mia", &[("acme.*", "history")]), &access, "read,write,history");
        check(&known("mia", &[("other", "admin")]), &access, "read,write");
        check(&known("olga", &[]), &access, "read,write,history,admin");
        check(&known("OLGA", &[]), &access, "");
        check(&known("eve", &[("**", "read"), ("acme.notes", "write")]), &access, "read,write");
        access.visibility = Visibility::Public;
        check(&Principal::Anonymous, &access, "read");
        check(&known("eve", &[]), &access, "read");
        check(&known("mia", &[]), &access, "read,write");
    }

    #[test]
    fn members_are_bounded_and_can_be_sent_away() {
        let mut access = Access::default();
        let member = |n: usize| format!("m{n}").parse::<Subject>().expect("a subject");
        for n in 0..MEMBERS_MAX {
            assert_eq!(access.admit(member(n), Right::Read.into()), Ok(()));
        }
        assert_eq!(access.admit(member(MEMBERS_MAX), Right::Read.into()), Err(TooManyMembers));
        assert_eq!(access.admit(member(0), Rights::ALL), Ok(()), "one who is there changes");
        assert_eq!(access.admit(member(1), Rights::NONE), Ok(()));
        assert_eq!(access.admit(member(MEMBERS_MAX), Right::Read.into()), Ok(()));
        assert_eq!(access.members().len(), MEMBERS_MAX);
        assert!(!access.members().contains_key(&member(1)));
    }

    proptest! {
        #[test]
        fn bits_are_a_set_with_all_that_it_contains_or_nothing(bits: u8) {
            match Rights::from_bits(bits) {
                None => prop_assert!(bits >= 16),
                Some(rights) => {
                    prop_assert_eq!(Rights::from_bits(rights.bits()), Some(rights));
                    prop_assert!(!rights.has(Right::Admin) || rights == Rights::ALL);
                    prop_assert!(rights.is_none() || rights.has(Right::Read));
                    let spelled = rights.to_string();
                    prop_assert!(rights.is_none() || spelled.parse() == Ok(rights));
                }
            }
        }

        /// More grants never take a right away.
        #[test]
        fn grants_only_add(cut in 0_usize..4) {
            let all =
                [("acme.*", "read"), ("acme.notes", "history"), ("x", "admin"), ("**", "write")];
            let doc = "acme.notes".parse().expect("an id");
            let access = Access::default();
            let (few, many) = (known("a", &all[..cut]), known("a", &all));
            let (few, many) = (rights(&few, &doc, &access), rights(&many, &doc, &access));
            prop_assert_eq!(few.and(many), many);
        }
    }
}
