//! The errors of the protocol: what a frame or a handshake is refused with.

use std::borrow::Cow;

use crate::wire::ErrorCode;

/// Says why a frame was refused: a code for the peer's program and a message for its author.
///
/// The message names the field and what it must be. It never repeats what was sent, so it can be
/// logged and sent back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// What `error.code` and the close code are.
    pub code: ErrorCode,
    /// What `error.msg` is.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// Refuses with `code`, saying `message`.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Says why an upgrade to a WebSocket was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejected {
    /// Subprotocols were offered and none of them is known.
    #[error("none of the offered subprotocols is known: offer quire.v1 or quire.v1.bin")]
    Subprotocol,
    /// The `Sec-WebSocket-Protocol` header is no list, or too long a one.
    #[error("the subprotocol header is not a list of at most 16 names")]
    Header,
    /// The `csrf.` entry is empty, too long, or stands twice.
    #[error("the subprotocol entry csrf.<token> is empty, too long or there twice")]
    CsrfToken,
    /// The path does not name a document.
    #[error(
        "the path is not /ws/ and a document id: 1 to 128 of A-Z a-z 0-9 . _ ~ - and not . or .."
    )]
    Path,
}

impl Rejected {
    /// Returns the HTTP status that answers the upgrade.
    pub fn status(self) -> u16 {
        match self {
            Self::Subprotocol | Self::Header | Self::CsrfToken => 400,
            Self::Path => 404,
        }
    }
}
