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
    /// There is no token to show.
    #[error("{detail}")]
    Token {
        /// Why, and what to do.
        detail: String,
    },
    /// The server is not the one that is meant, as far as its certificate tells.
    #[error("{detail}")]
    Certificate {
        /// Why, and what to do.
        detail: String,
    },
}

/// Tells why a server did not answer over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nothing was asked.
    #[error(transparent)]
    Client(#[from] Error),
    /// There is no connection; nothing was asked.
    #[error("not connected: {0}")]
    Unreached(String),
    /// It may have been asked; what came of it is not known.
    #[error("no answer came: {0}")]
    Unanswered(String),
    /// The answer cannot be read to its end.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

impl Error {
    pub(crate) fn lost(reason: impl ToString) -> Self {
        Self::Lost { reason: reason.to_string(), retry: None }
    }

    pub(crate) fn refused(code: ErrorCode, reason: String) -> Self {
        Self::Refused { close_code: code.close_code(), reason }
    }

    /// Turns a fatal error message into what it means.
    pub(crate) fn told(code: ErrorCode, reason: String, retry: Option<Duration>) -> Self {
        if code.is_permanent() { Self::refused(code, reason) } else { Self::Lost { reason, retry } }
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
