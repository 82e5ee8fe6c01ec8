//! Patterns over document ids, as tokens name documents.
//!
//! An id is flat: `A-Z a-z 0-9 . _ ~ -`. By convention `.` parts it into segments, as in
//! `acme.notes.2026`. A pattern is an id, or a beginning and one wildcard behind it:
//!
//! ```text
//! pattern   = id / wildcard / beginning wildcard
//! beginning = *id-char separator            ; its last character is a separator
//! separator = "." / "_" / "~" / "-"
//! wildcard  = "*"                           ; one or more id characters, none of them "."
//!           / "**"                          ; one or more id characters
//! ```
//!
//! | pattern | matches | does not match |
//! |---|---|---|
//! | `notes` | `notes` | `notes2`, `Notes` |
//! | `acme.*` | `acme.a`, `acme.a-b` | `acme`, `acme.`, `acme.a.b`, `acme2.a` |
//! | `acme.**` | `acme.a`, `acme.a.b` | `acme`, `acme.`, `acme2.a` |
//! | `*` | `notes` | `acme.a` |
//! | `**` | every id | |
//!
//! A wildcard that follows a letter or a digit is refused: who writes `acme*` would have let in
//! `acme2` as well. There are no other wildcards, so a match is one comparison of the beginning
//! and one look at the rest.

use std::fmt;
use std::str::FromStr;

use crate::types::{DOC_ID_BYTES_MAX, DocId};

/// Says which documents: one id, or all ids with a beginning.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    /// The id, or its beginning.
    literal: String,
    rest: Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Rest {
    Nothing,
    Segment,
    Anything,
}

/// Tells why a string is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It is neither an id nor a beginning with a wildcard.
    #[error(
        "a pattern is a document id, or a beginning of ids with * (one segment) or ** (anything) \
         as its end"
    )]
    Shape,
    /// The wildcard follows a letter or a digit.
    #[error("put one of . _ ~ - before *: a beginning without it also matches longer names")]
    Unseparated,
}

impl Pattern {
    /// Tells whether the document is meant.
    pub fn matches(&self, doc: &DocId) -> bool {
        let Some(rest) = doc.as_str().strip_prefix(self.literal.as_str()) else {
            return false;
        };
        match self.rest {
            Rest::Nothing => rest.is_empty(),
            Rest::Segment => !rest.is_empty() && !rest.contains('.'),
            Rest::Anything => !rest.is_empty(),
        }
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let (literal, rest) = match (text.strip_suffix("**"), text.strip_suffix('*')) {
            (Some(literal), _) => (literal, Rest::Anything),
            (None, Some(literal)) => (literal, Rest::Segment),
            (None, None) => {
                let id: DocId = text.parse().map_err(|_| BadPattern::Shape)?;
                return Ok(Self { literal: id.as_str().to_owned(), rest: Rest::Nothing });
            }
        };
        let allowed = |b: u8| b.is_ascii_alphanumeric() || is_separator(b);
        // The wildcard stands for one character at least, which has to fit.
        if literal.len() >= DOC_ID_BYTES_MAX || !literal.bytes().all(allowed) {
            return Err(BadPattern::Shape);
        }
        if literal.bytes().last().is_some_and(|last| !is_separator(last)) {
            return Err(BadPattern::Unseparated);
        }
        Ok(Self { literal: literal.to_owned(), rest })
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'.' | b'_' | b'~' | b'-')
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wildcard = match self.rest {
            Rest::Nothing => "",
            Rest::Segment => "*",
            Rest::Anything => "**",
        };
        write!(f, "{}{wildcard}", self.literal)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let pattern: Pattern = pattern.parse().expect("it is one");
        for doc in yes {
            assert!(pattern.matches(&doc.parse().expect("an id")), "{pattern} has {doc}");
        }
        for doc in no {
            assert!(!pattern.matches(&doc.parse().expect("an id")), "{pattern} has not {doc}");
        }
    }

    #[test]
    fn a_pattern_means_what_the_table_says() {
        check("notes", &["notes"], &["notes2", "Notes", "note", "notes."]);
        check("acme.*", &["acme.a", "acme.a-b"], &["acme", "acme.", "acme.a.b", "acme2.a"]);
        check("acme.**", &["acme.a", "acme.a.b", "acme.."], &["acme", "acme.", "acme2.a"]);
        check("team-*", &["team-a", "team-a-b"], &["team", "team-", "team-a.b"]);
        check("*", &["notes", "-", "~"], &["acme.a", "..."]);
        check("**", &["notes", "acme.a", "..."], &[]);
        check(".*", &[".a"], &["a", "..a"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let (long, longest) = (format!("{}.*", "x".repeat(127)), format!("{}.*", "x".repeat(126)));
        let shapes = ["", ".", "..", "a/b", "a/**", "***", "*a", "a.*.b", "a.***", "*.b", "é.*"];
        for bad in shapes.into_iter().chain([" a", "a ", "[ab]", "a?", "(a)+$", "a.*\0", &long]) {
            assert_eq!(bad.parse::<Pattern>(), Err(BadPattern::Shape), "{bad:?}");
        }
        for bad in ["acme*", "acme**", "a.b1*"] {
            assert_eq!(bad.parse::<Pattern>(), Err(BadPattern::Unseparated), "{bad:?}");
        }
        assert!(longest.parse::<Pattern>().is_ok());
    }

    /// Says what a pattern means in another way: as a set of strings, grown character by character.
    fn naive(pattern: &str, doc: &str) -> bool {
        match pattern.chars().next() {
            None => doc.is_empty(),
            Some('*') if pattern == "**" => !doc.is_empty(),
            Some('*') => !doc.is_empty() && doc.chars().all(|c| c != '.'),
            Some(c) => doc.starts_with(c) && naive(&pattern[1..], &doc[1..]),
        }
    }

    proptest! {
        #[test]
        fn any_string_is_refused_or_spelled_again_as_it_was(text in "[ab.*~/é-]{0,12}|\\PC{0,20}") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }

        #[test]
        fn a_match_is_what_the_grammar_says(
            pattern in "[ab.-]{0,4}\\*{0,2}",
            doc in "[ab.-]{1,7}",
        ) {
            if let (Ok(parsed), Ok(id)) = (pattern.parse::<Pattern>(), doc.parse::<DocId>()) {
                prop_assert_eq!(parsed.matches(&id), naive(&pattern, &doc));
            }
        }

        #[test]
        fn an_id_is_a_pattern_that_matches_it_alone(one in "[ab.-]{1,4}", other in "[ab.-]{1,4}") {
            if let (Ok(doc), Ok(pattern)) = (one.parse::<DocId>(), one.parse::<Pattern>()) {
                prop_assert!(pattern.matches(&doc));
                if let Ok(another) = other.parse::<DocId>() {
                    prop_assert_eq!(pattern.matches(&another), one == other);
                }
            }
        }
    }
}
