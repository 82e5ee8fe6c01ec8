//! Who somebody is, and what they may do: pure but for the set of keys that is fetched.
//!
//! ```text
//! JWT ─► token (keys, strict claims) ─► Claims ─► Principal ─┐
//!          │ once                                            ├─► Asker ─► the document decides
//!          └─► login (sealed cookie) ─► Claims ─► Principal ┘
//! ```
//!
//! Nothing here knows HTTP, sockets or documents' texts. Time and entropy come in as arguments,
//! refusals go out as values ([`Refusal`]) that hold nothing of what was presented.

#[cfg(test)]
mod attacks;
mod config;
mod csrf;
mod error;
mod json;
pub mod jwks;
mod keys;
mod login;
mod metrics;
mod model;
mod names;
mod own_keys;
mod pattern;
mod provider;
mod published;
mod remote;
mod repeat;
mod revocation;
mod rights;
mod rotation;
mod secret;
mod ticket;
mod token;
mod verifier;

pub use config::{Config, listed};
pub use csrf::{Csrf, Forged};
pub use error::{BadJwks, BadKey, Claim, Refusal};
pub use keys::{Algorithm, KEYS_MAX, Key, KeySet, SECRET_BYTES_MIN, SigningKey, Thumbprint};
pub use login::{COOKIE_BYTES_MAX, Login, LoginId, Logins, NoLogin, Opened, TooLarge};
pub use metrics::Metrics;
pub use names::{BadName, KeyId, TokenId};
pub use own_keys::OwnKeys;
pub use pattern::{BadPattern, Pattern};
pub use remote::{Fetch, NotFetched, Remote};
pub use repeat::Repeats;
pub use revocation::Revocations;
pub use rights::{GRANTS_MAX, Grant, Principal};
pub use rotation::Pace;
pub use secret::{Age, Secret};
pub use ticket::{
    BadTicket, Holder, Issued, NoTicket, TICKET_LIFETIME, TICKETS_OF_SUBJECT_MAX, TicketHash,
    Tickets,
};
pub use token::{Claims, Draft, NotSigned, Policy, TOKEN_BYTES_MAX, Unverified, issue, verify};
pub use verifier::{Keys, Verifier};
