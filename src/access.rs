//! Who may do what with a document: rights, what the document grants by itself, and who asks.
//!
//! Rights come from two sides and are added up: what the issuer of a token grants for documents by
//! pattern ([`Asker::granted`]), and what the document grants to its owner, its members and, where
//! it is public, to all. Neither side takes away what the other gives: the issuer stands for the
//! operator, and an owner is who the issuer says. So a token with narrow grants is narrow only for
//! a subject that owns nothing and is no member: scripts get a subject of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::types::{AUTHOR_BYTES_MAX, Author};

/// The most members of one document.
pub const MEMBERS_MAX: usize = 1_000;

/// The longest subject, in bytes.
const SUBJECT_BYTES_MAX: usize = 255;

/// Names a person or program for ever: 1 to 255 visible ASCII characters, so that it can stand in a
/// log line, a header or a list without being spelled in another way. It is what rights and
/// revocations hang on; what others see is the author's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(Arc<str>);

/// Tells that a string is no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a subject is 1 to {SUBJECT_BYTES_MAX} visible ASCII characters")]
pub struct BadSubject;

impl Subject {
    /// Returns the subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns as much of it as an author's name has room for, for those who have no other name.
    pub fn beginning(&self) -> Author {
        let text = self.0.get(..AUTHOR_BYTES_MAX).unwrap_or(&self.0);
        text.parse().expect("visible ASCII of this length is an author's name")
    }
}

impl FromStr for Subject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        let fits = (1..=SUBJECT_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(Arc::from(text)));
        }
        Err(BadSubject)
    }
}

impl TryFrom<String> for Subject {
    type Error = BadSubject;

    fn try_from(text: String) -> Result<Self, BadSubject> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0.as_ref().to_owned()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Rights(u8);

/// Tells that a number is no set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a set of rights has the bits 1, 2, 4 and 8")]
pub struct BadBits;

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

impl TryFrom<u8> for Rights {
    type Error = BadBits;

    fn try_from(bits: u8) -> Result<Self, BadBits> {
        Self::from_bits(bits).ok_or(BadBits)
    }
}

impl From<Rights> for u8 {
    fn from(rights: Rights) -> Self {
        rights.bits()
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

impl From<Right> for Rights {
    fn from(right: Right) -> Self {
        Self(right.closure())
    }
}

/// Is somebody who asks a document for something, as far as the document has to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asker {
    /// Who, where that is known.
    pub subject: Option<Subject>,
    /// What was granted for this document, whatever it says itself.
    pub granted: Rights,
}

/// Tells that somebody may not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// Nobody knows who asks: a token may help.
    #[error("this needs the right {}: sign in", .0.name())]
    Unknown(Right),
    /// Who asks is known, and has not got the right.
    #[error("this needs the right {}: ask the document's owner for it", .0.name())]
    Forbidden(Right),
}

impl Asker {
    /// Returns somebody who may do everything: the server itself, or anybody where it is open.
    pub fn anything() -> Self {
        Self { subject: None, granted: Rights::ALL }
    }
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

/// Stands for all that a document grants by itself: who has seen one and sees it again, has seen
/// what is granted now. It goes by what is granted, not by when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub u128);

/// Is one change of what a document grants by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessChange {
    /// It has another owner, or none.
    Owner(Option<Subject>),
    /// All may read it, or no longer.
    Visibility(Visibility),
    /// A member has these rights in place of those that it had; no rights end the membership.
    Member(Subject, Rights),
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

    /// Returns what stands for it.
    pub fn fingerprint(&self) -> Fingerprint {
        // A subject has no space and no line end in it.
        let owner = self.owner.iter().map(|owner| format!("owner {owner}\n"));
        let public = self.visibility == Visibility::Public;
        let public = public.then(|| "public\n".to_owned()).into_iter();
        let members = self.members.iter();
        let members = members.map(|(name, rights)| format!("member {name} {}\n", rights.bits()));
        let all: String = owner.chain(public).chain(members).collect();
        Fingerprint(xxh3_128(all.as_bytes()))
    }

    /// Makes a change, or none at all where there is no room for it.
    ///
    /// # Errors
    /// [`TooManyMembers`].
    pub fn apply(&mut self, change: &AccessChange) -> Result<(), TooManyMembers> {
        match change {
            AccessChange::Owner(owner) => self.owner.clone_from(owner),
            AccessChange::Visibility(visibility) => self.visibility = *visibility,
            AccessChange::Member(member, rights) => return self.admit(member.clone(), *rights),
        }
        Ok(())
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

    /// Returns all that somebody may do with the document.
    pub fn rights(&self, asker: &Asker) -> Rights {
        let to_all = match self.visibility {
            Visibility::Private => Rights::NONE,
            Visibility::Public => Right::Read.into(),
        };
        let own = asker.subject.as_ref().map_or(Rights::NONE, |subject| {
            if self.owner.as_ref() == Some(subject) {
                return Rights::ALL;
            }
            self.members.get(subject).copied().unwrap_or_default()
        });
        to_all.and(asker.granted).and(own)
    }

    /// Asks whether somebody may use a right on the document.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(&self, asker: &Asker, right: Right) -> Result<(), Denied> {
        if self.rights(asker).has(right) {
            return Ok(());
        }
        Err(match asker.subject {
            None => Denied::Unknown(right),
            Some(_) => Denied::Forbidden(right),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asker(subject: &str, granted: &str) -> Asker {
        Asker { subject: subject.parse().ok(), granted: granted.parse().unwrap_or_default() }
    }

    #[track_caller]
    fn check(asker: &Asker, access: &Access, expected: &str) {
        assert_eq!(access.rights(asker).to_string(), expected);
        for right in Right::ALL {
            let judged = match (expected.split(',').any(|name| name == right.name()), asker) {
                (true, _) => Ok(()),
                (false, Asker { subject: None, .. }) => Err(Denied::Unknown(right)),
                (false, Asker { subject: Some(_), .. }) => Err(Denied::Forbidden(right)),
            };
            assert_eq!(access.check(asker, right), judged, "{right:?}");
        }
    }

    #[test]
    fn a_subject_keeps_to_its_alphabet() {
        let long = "x".repeat(256);
        for bad in ["", "a b", "a\n", "a\0", "ä", "\u{202e}a", "\u{7f}", &long] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
        }
        for good in ["a", "auth0|5f7c", "anna@example.org", "urn:x:/y?z#'", &long[..255]] {
            assert_eq!(good.parse::<Subject>().map(|s| s.to_string()), Ok(good.to_owned()));
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
    fn what_was_granted_and_what_the_document_grants_add_up() {
        let mut access = Access { owner: "olga".parse().ok(), ..Access::default() };
        access.admit("mia".parse().expect("a subject"), Right::Write.into()).expect("room");
        check(&Asker::default(), &access, "");
        check(&Asker::anything(), &access, "read,write,history,admin");
        check(&asker("eve", ""), &access, "");
        check(&asker("mia", ""), &access, "read,write");
        check(&asker("mia", "history"), &access, "read,write,history");
        check(&asker("olga", ""), &access, "read,write,history,admin");
        check(&asker("OLGA", ""), &access, "");
        check(&asker("eve", "write"), &access, "read,write");
        access.visibility = Visibility::Public;
        check(&Asker::default(), &access, "read");
        check(&asker("eve", ""), &access, "read");
        check(&asker("mia", ""), &access, "read,write");
    }

    #[test]
    fn a_fingerprint_tells_what_is_granted_from_everything_else() {
        let of = |owner: &str, public, members: &[(&str, &str)]| {
            let mut access = Access { owner: owner.parse().ok(), ..Access::default() };
            access.visibility = if public { Visibility::Public } else { Visibility::Private };
            for (member, rights) in members {
                let rights = rights.parse().expect("rights");
                access.admit(member.parse().expect("a subject"), rights).expect("room");
            }
            access
        };
        let all = [
            of("", false, &[]),
            of("", true, &[]),
            of("a", false, &[]),
            of("b", false, &[]),
            of("a", true, &[]),
            of("", false, &[("a", "read")]),
            of("", false, &[("a", "write")]),
            of("", false, &[("a", "read"), ("b", "read")]),
            of("", false, &[("a", "read"), ("b", "admin")]),
            of("a", false, &[("b", "read")]),
        ];
        for one in &all {
            let same = all.iter().filter(|other| other.fingerprint() == one.fingerprint());
            assert_eq!(same.collect::<Vec<_>>(), [one]);
        }
        let mut there_and_back = all[5].clone();
        let change = |rights| AccessChange::Member("b".parse().expect("a subject"), rights);
        for rights in [Rights::ALL, Rights::NONE] {
            there_and_back.apply(&change(rights)).expect("room");
        }
        assert_eq!(there_and_back.fingerprint(), all[5].fingerprint(), "it is the same again");
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
    }
}
