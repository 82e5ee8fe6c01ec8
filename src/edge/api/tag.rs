//! Which revision an answer has, as an entity tag (RFC 9110), and what a request asks of it.
//!
//! ```text
//! "rev-7"        JSON of revision 7, the newest
//! "rev-7.9"      JSON of revision 7, while 9 is the newest, which it tells
//! "rev-7.text"   the bare text of revision 7
//! ```
//! All of them name revision 7 where a request says what it is to be applied to.

use std::fmt;

use axum::http::{HeaderMap, HeaderValue};

use crate::edge::validator::{Expected, any_had, is_had};
use crate::types::Revision;

/// Names an answer: equal tags of a document stand for equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) rev: Revision,
    pub(crate) form: Form,
}

/// In which form a text is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As JSON, which tells the newest revision, too.
    Json { head: Revision },
    /// By itself.
    Bare,
}

impl Tag {
    /// Returns what the answer to a change has: the newest revision as JSON.
    pub(crate) fn newest(rev: Revision) -> Self {
        Self { rev, form: Form::Json { head: rev } }
    }

    /// Returns the tag as a header's value.
    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("digits and letters")
    }

    /// Tells whether a client has the answer already.
    pub(crate) fn is_had(self, headers: &HeaderMap) -> bool {
        is_had(self.to_string().as_bytes(), headers)
    }

    /// Reads which revisions a request expects as the newest.
    pub(crate) fn expected(headers: &HeaderMap) -> Expected<Revision> {
        Expected::read(headers, revision)
    }

    /// Tells whether a request is made only if this revision is not what there is.
    pub(crate) fn unwanted(headers: &HeaderMap, rev: Revision) -> bool {
        any_had(headers, |tag| revision(tag) == Some(rev))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form {
            Form::Json { head } if head == self.rev => write!(f, "\"rev-{}\"", self.rev),
            Form::Json { head } => write!(f, "\"rev-{}.{head}\"", self.rev),
            Form::Bare => write!(f, "\"rev-{}.text\"", self.rev),
        }
    }
}

fn revision(tag: &[u8]) -> Option<Revision> {
    let inner = std::str::from_utf8(tag).ok()?.strip_prefix("\"rev-")?.strip_suffix('"')?;
    let number = inner.split_once('.').map_or(inner, |(number, _)| number);
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| plain).map(Revision)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, header};

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_tag_is_had_where_one_of_the_list_is_the_same() {
        let tag = Tag { rev: Revision(7), form: Form::Json { head: Revision(9) } };
        for (value, had) in [
            ("\"rev-7.9\"", true),
            ("W/\"rev-7.9\"", true),
            ("\"x\", \"rev-7.9\"", true),
            ("*", true),
            ("\"rev-7\"", false),
            ("\"rev-7.text\"", false),
            ("rev-7.9", false),
            ("", false),
        ] {
            assert_eq!(tag.is_had(&headers(header::IF_NONE_MATCH, value)), had, "{value}");
        }
        assert!(!tag.is_had(&HeaderMap::new()));
    }

    #[test]
    fn what_is_expected_are_revisions_whatever_their_form() {
        let of = |value| Tag::expected(&headers(header::IF_MATCH, value));
        let one_of = |revs: &[u64]| Expected::OneOf(revs.iter().copied().map(Revision).collect());
        assert_eq!(Tag::expected(&HeaderMap::new()), Expected::Anything);
        assert_eq!(of("*"), Expected::Existing);
        assert_eq!(of("\"rev-7\", \"rev-8.text\",\"rev-9.12\""), one_of(&[7, 8, 9]));
        for none in ["\"7\"", "7", "W/\"rev-7\"", "\"rev-\"", "\"rev-+7\"", "\"rev-7", "", "\"\""] {
            assert_eq!(of(none), one_of(&[]), "{none}");
        }
        assert_eq!(Tag::newest(Revision(7)).to_string(), "\"rev-7\"");
        let bare = Tag { rev: Revision(7), form: Form::Bare };
        assert_eq!(bare.to_string(), "\"rev-7.text\"");
    }
}
