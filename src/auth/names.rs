//! The names that tokens carry: which token, which key. Their alphabets are narrow, so that a
//! name can stand in a log line, a header or a list without being spelled in another way.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest id of a token or a key, in bytes.
const ID_BYTES_MAX: usize = 128;

/// Tells why a string is no name of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is 1 to {bytes_max} {alphabet}")]
pub struct BadName {
    what: &'static str,
    bytes_max: usize,
    alphabet: &'static str,
}

macro_rules! name {
    (
        $(#[$doc:meta])*
        $name:ident, $what:literal, $bytes_max:expr, $alphabet:literal, $allowed:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let allowed: fn(&str) -> bool = $allowed;
                if (1..=$bytes_max).contains(&text.len()) && allowed(text) {
                    return Ok(Self(Arc::from(text)));
                }
                Err(BadName { what: $what, bytes_max: $bytes_max, alphabet: $alphabet })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Names one token, so that it can be revoked alone: 1 to 128 visible ASCII characters.
    TokenId,
    "a token's id",
    ID_BYTES_MAX,
    "visible ASCII characters",
    is_visible
);
name!(
    /// Names a key: 1 to 128 characters of what key ids are made of in practice, without `..`. It
    /// is looked up in a list and is part of no path, query or command.
    KeyId,
    "a key's id",
    ID_BYTES_MAX,
    "of the characters A-Z a-z 0-9 . _ ~ + / = : - without \"..\"",
    is_key_id
);

fn is_visible(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_key_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~+/=:-".contains(&b);
    text.bytes().all(allowed) && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabets() {
        let long = "x".repeat(129);
        for bad in ["", "a b", "a\n", "a\0", "ä", "\u{202e}a", "\u{7f}", &long] {
            assert!(bad.parse::<TokenId>().is_err(), "{bad:?}");
            assert!(bad.parse::<KeyId>().is_err(), "{bad:?}");
        }
        for good in ["a", "5f7c|x", "urn:x:/y?z#'", &long[..128]] {
            assert_eq!(good.parse::<TokenId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn a_key_id_is_no_path_out_of_a_folder() {
        for bad in ["../x", "a/../b", "..", "a\\b", "a%2f", "'or'1", "a;b", "$(x)", "a\0"] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad:?}");
        }
        for good in ["2026-11", "nOo3ZDrODXEK1jKWhXslHR_KXEg", "a+b/c==", "/x", "k:1"] {
            assert!(good.parse::<KeyId>().is_ok(), "{good:?}");
        }
    }
}
