//! How a document's refusal is told to a client.

use std::time::Duration;

use crate::access::Denied;
use crate::doc::Refusal;
use crate::types::Seq;
use crate::wire::{ErrorCode, Millis, ServerMessage};

/// When a client may come back to a document that is quarantined.
const QUARANTINE_RETRY: Duration = Duration::from_secs(30);

/// When a client may come back to a document that its node could not follow.
const MOVED_RETRY: Duration = Duration::from_millis(200);

/// Returns the code of a refusal.
pub(crate) fn code(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::BadOp { .. } => ErrorCode::BadOp,
        Refusal::BadBase { .. } => ErrorCode::BadBase,
        Refusal::Pipelined { .. } => ErrorCode::Pipelined,
        Refusal::Gap { .. } => ErrorCode::Gap,
        Refusal::TooLarge { .. }
        | Refusal::TooLong { .. }
        | Refusal::TooManyVersions { .. }
        | Refusal::TooManyMembers(_) => ErrorCode::TooLarge,
        Refusal::Internal { .. } => ErrorCode::Internal,
        Refusal::Full { .. } => ErrorCode::Rate,
        Refusal::Denied(Denied::Unknown(_)) => ErrorCode::Unauthenticated,
        Refusal::ReadOnly | Refusal::Denied(Denied::Forbidden(_)) => ErrorCode::Forbidden,
        Refusal::NoDocument => ErrorCode::NoDocument,
        Refusal::Replaced => ErrorCode::Replaced,
        Refusal::Moved => ErrorCode::Moved,
        // Clients of sockets do not create documents by name.
        Refusal::Exists => ErrorCode::BadBase,
        Refusal::Quarantined { .. } | Refusal::Unavailable { .. } | Refusal::Occupied { .. } => {
            ErrorCode::Unavailable
        }
    }
}

/// Returns when the same may be asked again.
pub(crate) fn retry(refusal: &Refusal) -> Option<Duration> {
    match refusal {
        Refusal::Full { retry } | Refusal::Unavailable { retry, .. } => Some(*retry),
        Refusal::Moved | Refusal::Occupied { .. } => Some(MOVED_RETRY),
        Refusal::Quarantined { .. } => Some(QUARANTINE_RETRY),
        _ => None,
    }
}

/// Returns the message that tells it; `seq` is the batch refused, if it was one.
pub(crate) fn message(refusal: &Refusal, seq: Option<Seq>) -> ServerMessage {
    let seq = match refusal {
        Refusal::Gap { expected } => Some(*expected),
        _ => seq,
    };
    let retry = retry(refusal).map(Millis::from);
    let fatal = !matches!(refusal, Refusal::Full { .. });
    ServerMessage::Error { code: code(refusal), fatal, msg: refusal.to_string(), seq, retry }
}
