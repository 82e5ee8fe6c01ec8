//! Error codes and the WebSocket close codes that go with them.
//!
//! One enum for both: the name is `error.code`, the number is the close code. Codes of the
//! WebSocket standard itself (1000, 1001, 1009 ...) are the transport's business.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Says why a client's attempt or message was refused, or why its connection ends.
///
/// In the binary encoding the number of the variant is on the wire: only append.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The frame is no message of the protocol.
    BadFrame,
    /// The operation is invalid in itself or does not fit the text at its base.
    BadOp,
    /// The base is above the head or below what the history holds.
    BadBase,
    /// A batch was sent before the one in flight was acknowledged.
    Pipelined,
    /// There is no valid token, or it expired.
    Unauthenticated,
    /// The token gives no right to this document, or none to write.
    Forbidden,
    /// The document is unknown or deleted.
    NoDocument,
    /// No `hello` came in time.
    HelloTimeout,
    /// A `seq` was skipped.
    Gap,
    /// Another connection presented the same session.
    Replaced,
    /// The frame, operation or document is over a limit.
    TooLarge,
    /// The version of the protocol is not supported.
    Version,
    /// The server met a fault of its own.
    Internal,
    /// The document is changing its node.
    Moved,
    /// The document cannot be served now.
    Unavailable,
    /// The client is over a rate.
    Rate,
    /// The socket did not take its data.
    SlowConsumer,
}

impl ErrorCode {
    /// Lists every code, in the order of their numbers in the binary encoding.
    pub const ALL: [Self; 17] = [
        Self::BadFrame,
        Self::BadOp,
        Self::BadBase,
        Self::Pipelined,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NoDocument,
        Self::HelloTimeout,
        Self::Gap,
        Self::Replaced,
        Self::TooLarge,
        Self::Version,
        Self::Internal,
        Self::Moved,
        Self::Unavailable,
        Self::Rate,
        Self::SlowConsumer,
    ];

    /// Returns the WebSocket close code.
    pub fn close_code(self) -> u16 {
        match self {
            Self::BadFrame | Self::BadOp | Self::BadBase | Self::Pipelined => 4400,
            Self::Unauthenticated => 4401,
            Self::Forbidden => 4403,
            Self::NoDocument => 4404,
            Self::HelloTimeout => 4408,
            Self::Gap => 4409,
            Self::Replaced => 4410,
            Self::TooLarge => 4413,
            Self::Version => 4426,
            Self::Internal => 4500,
            Self::Moved | Self::Unavailable => 4503,
            Self::Rate | Self::SlowConsumer => 4529,
        }
    }

    /// Returns the name that stands in `error.code`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadFrame => "bad-frame",
            Self::BadOp => "bad-op",
            Self::BadBase => "bad-base",
            Self::Pipelined => "pipelined",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NoDocument => "no-document",
            Self::HelloTimeout => "hello-timeout",
            Self::Gap => "gap",
            Self::Replaced => "replaced",
            Self::TooLarge => "too-large",
            Self::Version => "version",
            Self::Internal => "internal",
            Self::Moved => "moved",
            Self::Unavailable => "unavailable",
            Self::Rate => "rate",
            Self::SlowConsumer => "slow-consumer",
        }
    }

    /// Tells whether the client stops and tells its user, rather than trying again.
    pub fn is_permanent(self) -> bool {
        close_is_permanent(self.close_code())
    }
}

/// Tells whether a connection that was closed with `close_code` is not to be tried again.
pub fn close_is_permanent(close_code: u16) -> bool {
    (4400..4500).contains(&close_code)
}

/// Tells that a name is none of this version's error codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an error code of protocol version 1")]
pub struct UnknownCode;

impl FromStr for ErrorCode {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::ALL.into_iter().find(|code| code.name() == name).ok_or(UnknownCode)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_permanence_are_those_of_the_protocol() {
        let table = [
            (4400, true, "bad-frame bad-op bad-base pipelined"),
            (4401, true, "unauthenticated"),
            (4403, true, "forbidden"),
            (4404, true, "no-document"),
            (4408, true, "hello-timeout"),
            (4409, true, "gap"),
            (4410, true, "replaced"),
            (4413, true, "too-large"),
            (4426, true, "version"),
            (4500, false, "internal"),
            (4503, false, "moved unavailable"),
            (4529, false, "rate slow-consumer"),
        ];
        let mut seen = Vec::new();
        for (number, permanent, names) in table {
            for name in names.split(' ') {
                let code: ErrorCode = name.parse().unwrap();
                assert_eq!((code.close_code(), code.is_permanent()), (number, permanent), "{name}");
                assert_eq!(code.to_string(), name);
                seen.push(code);
            }
        }
        assert_eq!(seen, ErrorCode::ALL);
        assert_eq!("bad".parse::<ErrorCode>(), Err(UnknownCode));
    }

    #[test]
    fn close_codes_of_the_transport_are_retried() {
        for code in [1000, 1001, 1006, 1011, 4399, 4500, 4999] {
            assert!(!close_is_permanent(code), "{code}");
        }
    }
}
