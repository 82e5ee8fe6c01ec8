//! The choices of the upgrade request: subprotocol, CSRF token, document.
//!
//! It reads header values and paths that the listener has; it knows no HTTP and checks no token.

use crate::types::DocId;
use crate::wire::{Codec, Rejected};

/// The longest CSRF token that is looked at, in bytes.
pub const CSRF_TOKEN_BYTES_MAX: usize = 256;

/// The most entries that a client may offer.
const ENTRIES_MAX: usize = 16;

/// What every document's WebSocket path begins with.
const PATH: &str = "/ws/";

/// What a client offered in `Sec-WebSocket-Protocol`, and what is chosen from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer<'a> {
    /// The encoding of this connection.
    pub codec: Codec,
    /// What the response's `Sec-WebSocket-Protocol` says; `None`: the header is left out, since
    /// nothing was offered.
    pub echo: Option<&'static str>,
    /// The CSRF token, unchecked. It is a secret: never echoed, never logged.
    pub csrf: Option<&'a str>,
}

/// Chooses the subprotocol from the values of all `Sec-WebSocket-Protocol` headers.
///
/// The first known entry wins. Nothing offered means [`Codec::Json`].
///
/// # Errors
/// [`Rejected::Subprotocol`] if only unknown ones are offered, [`Rejected::Header`] if the list is
/// malformed or too long, [`Rejected::CsrfToken`] if its token is.
pub fn choose_subprotocol<'a>(
    values: impl IntoIterator<Item = &'a str>,
) -> Result<Offer<'a>, Rejected> {
    let (mut chosen, mut unknown, mut csrf) = (None, false, None);
    let entries = values.into_iter().flat_map(|value| value.split(','));
    for (index, entry) in entries.enumerate() {
        let entry = entry.trim_matches([' ', '\t']);
        if index >= ENTRIES_MAX || entry.is_empty() || !entry.bytes().all(is_token) {
            return Err(Rejected::Header);
        }
        if let Some(token) = entry.strip_prefix("csrf.") {
            let fits = !token.is_empty() && token.len() <= CSRF_TOKEN_BYTES_MAX;
            if !fits || csrf.replace(token).is_some() {
                return Err(Rejected::CsrfToken);
            }
        } else if let Some(codec) = Codec::from_subprotocol(entry) {
            chosen = chosen.or(Some(codec));
        } else {
            unknown = true;
        }
    }
    match chosen {
        Some(codec) => Ok(Offer { codec, echo: Some(codec.subprotocol()), csrf }),
        None if unknown => Err(Rejected::Subprotocol),
        None => Ok(Offer { codec: Codec::Json, echo: None, csrf }),
    }
}

/// Reads the document id from a request's path, which has no query.
///
/// # Errors
/// [`Rejected::Path`] if it is not `/ws/{doc}`. Percent-encoding is not undone: no character of an
/// id needs it.
pub fn doc_from_path(path: &str) -> Result<DocId, Rejected> {
    let id = path.strip_prefix(PATH).ok_or(Rejected::Path)?;
    id.parse().map_err(|_| Rejected::Path)
}

/// Tells the characters of an HTTP token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(codec: Codec, echo: bool, csrf: Option<&str>) -> Result<Offer<'_>, Rejected> {
        Ok(Offer { codec, echo: echo.then_some(codec.subprotocol()), csrf })
    }

    #[test]
    fn the_first_known_subprotocol_is_chosen_and_the_token_set_apart() {
        let long = "x".repeat(CSRF_TOKEN_BYTES_MAX + 1);
        let longest = format!("quire.v1,csrf.{}", &long[1..]);
        let (too_long, many) = (format!("quire.v1,csrf.{long}"), ["a"; 17].join(","));
        let cases: &[(&[&str], _)] = &[
            (&[], offer(Codec::Json, false, None)),
            (&["quire.v1"], offer(Codec::Json, true, None)),
            (&["quire.v1.bin, quire.v1"], offer(Codec::Binary, true, None)),
            (&["quire.v2,\tquire.v1", "quire.v1.bin"], offer(Codec::Json, true, None)),
            (&["quire.v1.bin", "csrf.t0k-en"], offer(Codec::Binary, true, Some("t0k-en"))),
            (&["csrf.a, quire.v1"], offer(Codec::Json, true, Some("a"))),
            (&["csrf.a"], offer(Codec::Json, false, Some("a"))),
            (&[&longest], offer(Codec::Json, true, Some(&long[1..]))),
            (&["quire.v2"], Err(Rejected::Subprotocol)),
            (&["Quire.v1, chat, csrf.a"], Err(Rejected::Subprotocol)),
            (&["quire.v1, csrf."], Err(Rejected::CsrfToken)),
            (&["quire.v1, csrf.a, csrf.a"], Err(Rejected::CsrfToken)),
            (&[&too_long], Err(Rejected::CsrfToken)),
            (&["quire.v1,"], Err(Rejected::Header)),
            (&[""], Err(Rejected::Header)),
            (&["quire.v1, a b"], Err(Rejected::Header)),
            (&["quire.v1, csrf.\u{e9}"], Err(Rejected::Header)),
            (&[&many], Err(Rejected::Header)),
        ];
        for (values, expected) in cases {
            assert_eq!(choose_subprotocol(values.iter().copied()), *expected, "{values:?}");
        }
    }

    #[test]
    fn a_refused_handshake_has_a_status() {
        assert_eq!(choose_subprotocol(["chat"]).map_err(Rejected::status), Err(400));
        assert_eq!(doc_from_path("/ws/").map_err(Rejected::status), Err(404));
    }

    #[test]
    fn documents_are_read_from_the_path() {
        assert_eq!(doc_from_path("/ws/a-b.c").map(String::from), Ok("a-b.c".to_owned()));
        for bad in ["", "/ws", "/ws/", "/ws/..", "/ws/a/b", "/ws/a%2fb", "/ws/%41", "/wsx", "ws/a"]
        {
            assert_eq!(doc_from_path(bad), Err(Rejected::Path), "{bad}");
        }
    }
}
