//! Validators of answers (`ETag`), and whether a client has what they stand for.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

/// A strong validator: answers that have the same one are the same, byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validator(HeaderValue);

impl Validator {
    /// Returns the validator of what a hash stands for.
    pub(crate) fn of_hash(hash: u128) -> Self {
        let value = HeaderValue::from_str(&format!("\"{hash:032x}\""));
        Self(value.expect("hexadecimal digits are a header's value"))
    }

    /// Returns the hash that a validator was made of.
    pub(crate) fn hash_in(tag: &[u8]) -> Option<u128> {
        let digits = std::str::from_utf8(tag).ok()?.strip_prefix('"')?.strip_suffix('"')?;
        let hash = u128::from_str_radix(digits, 16).ok()?;
        (Self::of_hash(hash).0.as_bytes() == tag).then_some(hash)
    }

    /// Returns its header's value.
    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Tells whether a client says that it has the answer.
    pub(crate) fn is_had(&self, headers: &HeaderMap) -> bool {
        is_had(self.0.as_bytes(), headers)
    }

    /// Returns the answer to a client that has it.
    pub(crate) fn not_modified(&self) -> Response {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer.headers_mut().insert(header::ETAG, self.value());
        answer
    }
}

/// Says what has to be there for a request to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected<T> {
    /// Nothing.
    Anything,
    /// Whatever the request is about.
    Existing,
    /// What one of these stands for.
    OneOf(Vec<T>),
}

impl<T> Expected<T> {
    /// Reads `If-Match`; what is no validator of this kind, or a weak one, matches nothing.
    pub(crate) fn read(headers: &HeaderMap, of: impl Fn(&[u8]) -> Option<T>) -> Self {
        if !headers.contains_key(header::IF_MATCH) {
            return Self::Anything;
        }
        if listed(headers, header::IF_MATCH).any(|tag| tag == b"*") {
            return Self::Existing;
        }
        Self::OneOf(listed(headers, header::IF_MATCH).filter_map(of).collect())
    }
}

/// Tells whether a client says that it has what a strong validator stands for.
pub(crate) fn is_had(validator: &[u8], headers: &HeaderMap) -> bool {
    any_had(headers, |tag| tag == validator)
}

/// Tells whether one that a client says it has is what is looked for; a weak one counts as well.
pub(crate) fn any_had(headers: &HeaderMap, is: impl Fn(&[u8]) -> bool) -> bool {
    listed(headers, header::IF_NONE_MATCH)
        .any(|tag| tag == b"*" || is(tag.strip_prefix(b"W/").unwrap_or(tag)))
}

/// Returns the validators of a header's lists; none of ours has a comma in it.
fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lists = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    lists.flat_map(|list| list.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_what_one_of_its_tags_stands_for() {
        let own = "\"000000000000000000000000000000ff\"";
        for (lists, had) in [
            (vec![], false),
            (vec![own.to_owned()], true),
            (vec![format!("W/{own}")], true),
            (vec!["*".to_owned()], true),
            (vec![format!("\"a\" ,  {own}")], true),
            (vec!["\"a\"".to_owned(), own.to_owned()], true),
            (vec!["\"a\", W/\"b\"".to_owned()], false),
            (vec![own.trim_matches('"').to_owned()], false),
            (vec![own.to_uppercase()], false),
        ] {
            let mut headers = HeaderMap::new();
            for list in &lists {
                headers.append(header::IF_NONE_MATCH, list.parse().unwrap());
            }
            assert_eq!(Validator::of_hash(255).is_had(&headers), had, "{lists:?}");
        }
    }

    #[test]
    fn a_validator_leads_back_to_its_hash_and_nothing_else_does() {
        for hash in [0, 255, u128::MAX] {
            assert_eq!(Validator::hash_in(Validator::of_hash(hash).value().as_bytes()), Some(hash));
        }
        let own = "\"000000000000000000000000000000ff\"";
        let weak = format!("W/{own}");
        let sign = own.replacen('0', "+", 1);
        for other in ["", "\"", "\"\"", "\"ff\"", &own[1..], &own.to_uppercase(), &weak, &sign, "*"]
        {
            assert_eq!(Validator::hash_in(other.as_bytes()), None, "{other}");
        }
    }
}
