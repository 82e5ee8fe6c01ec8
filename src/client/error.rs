//! Why a client is not connected.

use std::time::Duration;

use crate::wire::{ErrorCode, close_is_permanent};

/// Tells what happened to a connection, and so what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connection could not be made or is gone; trying again is right.
    #[error("not connected: {reason}")]
    Lost {
        /// What happened.
        reason: String,
        /// When the server wants the next try.
        retry: Option<Duration>,
    },
    /// The server does not take this client; trying again does not help.
    #[error("refused ({close_code}): {reason}")]
    Refused {
        /// The close code of PROTOCOL.md section 6.
        close_code: u16,
        /// What the server said.
        reason: String,
    },
    /// The server's address cannot be used.
    #[error("{detail}")]
    Url {
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    pub(crate) fn lost(reason: impl ToString) -> Self {
        Self::Lost { reason: reason.to_string(), retry: None }
    }

    /// Turns a fatal error message into what it means.
    pub(crate) fn told(code: ErrorCode, reason: String, retry: Option<Duration>) -> Self {
        if code.is_permanent() {
            Self::Refused { close_code: code.close_code(), reason }
        } else {
            Self::Lost { reason, retry }
        }
    }

    pub(crate) fn closed(close: Option<(u16, String)>) -> Self {
        match close {
            Some((close_code, reason)) if close_is_permanent(close_code) => {
                Self::Refused { close_code, reason }
            }
            Some((code, reason)) => Self::lost(format!("the server closed with {code} {reason}")),
            None => Self::lost("the server closed the connection"),
        }
    }
}
