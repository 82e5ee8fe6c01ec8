//! Why somebody is not let in, for HTTP and for sockets; nothing of what was presented is told.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::auth::{BadTicket, Forged, NoLogin, NoTicket, Refusal, TICKET_LIFETIME, TooLarge};
use crate::edge::port::gate::Crowded;
use crate::edge::problem::Problem;
use crate::edge::tenants::Spent;
use crate::wire::ErrorCode;

/// When to come again with another ticket.
const SOON: Duration = Duration::from_secs(1);
/// When to come again, to another node if there is one, where this one does not hear of what is
/// revoked, in milliseconds.
const CUT_OFF_RETRY: RangeInclusive<u64> = 200..=2_000;
/// When to come again where the issuer's keys are not known, in milliseconds: they are asked for
/// every 30 s.
const KEYS_RETRY: RangeInclusive<u64> = 2_000..=10_000;

/// Tells why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::edge) enum Refused {
    /// The header does not hold one token.
    #[error("the Authorization header is not one \"Bearer\" and a token: send just that")]
    Credentials,
    /// The cookies do not hold one login.
    #[error("the login's cookie is there twice or cannot be read: remove this site's cookies")]
    Cookies,
    /// The token is not good.
    #[error(transparent)]
    Token(Refusal),
    /// The login is not good.
    #[error(transparent)]
    Login(#[from] NoLogin),
    /// The request was not meant by whoever has the login, as far as can be told.
    #[error(transparent)]
    Forged(#[from] Forged),
    /// The ticket is not good.
    #[error(transparent)]
    Ticket(BadTicket),
    /// The ticket is not taken by the node that issued it.
    #[error(
        "the node that issued the ticket does not answer: ask for a new one, and connect with that"
    )]
    Away,
    /// Nobody has shown who they are.
    #[error("nobody is signed in: send a token as Authorization: Bearer")]
    Nobody,
    /// The token does not fit into a cookie.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// There is no room for another ticket.
    #[error(transparent)]
    NoTicket(#[from] NoTicket),
    /// There is no room for its address.
    #[error(transparent)]
    Crowded(#[from] Crowded),
    /// They have taken what they may.
    #[error(transparent)]
    Spent(#[from] Spent),
    /// The page is one of another site.
    #[error(
        "a page of another origin may not use this server: open the one it serves, or have \
             its operator list the page's origin in auth.origins"
    )]
    Origin,
    /// The server is open to this machine, and asked by another name.
    #[error("this server is open to its own machine: ask it as localhost, or set it up with keys")]
    Host,
}

impl Refused {
    /// Returns the name that it is counted under.
    pub(in crate::edge) fn reason(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Cookies => "cookies",
            Self::Token(refusal) => refusal.reason(),
            Self::Login(none) => none.reason(),
            Self::Forged(forged) => forged.reason(),
            Self::Ticket(_) => "ticket",
            Self::Away => "ticket-away",
            Self::Nobody => "nobody",
            Self::TooLarge(_) => "login-too-large",
            Self::NoTicket(_) => "no-ticket",
            Self::Crowded(Crowded::Many) => "address",
            Self::Crowded(Crowded::Fast(_)) => "rate",
            Self::Spent(Spent::Sockets) => "sockets",
            Self::Spent(Spent::Documents) => "documents",
            Self::Spent(Spent::Bodies) => "bodies",
            Self::Spent(Spent::Answers) => "answers",
            Self::Spent(Spent::Requests(_)) => "requests",
            Self::Spent(Spent::Address(_)) => "address-requests",
            Self::Spent(Spent::Guesses(_)) => "guesses",
            Self::Origin => "origin",
            Self::Host => "host",
        }
    }

    /// Tells whether something was presented that is not good: whoever guesses is refused so.
    pub(in crate::edge) fn is_guess(self) -> bool {
        match self {
            Self::Token(bad) if bad.is_doubt() => false,
            Self::Credentials
            | Self::Cookies
            | Self::Token(_)
            | Self::Login(_)
            | Self::Forged(_)
            | Self::Ticket(_) => true,
            Self::Away
            | Self::Nobody
            | Self::TooLarge(_)
            | Self::NoTicket(_)
            | Self::Crowded(_)
            | Self::Spent(_)
            | Self::Origin
            | Self::Host => false,
        }
    }

    /// Returns the code that a socket is closed with.
    pub(in crate::edge) fn code(self) -> ErrorCode {
        match self {
            Self::Forged(_) | Self::Origin | Self::Host => ErrorCode::Forbidden,
            Self::Token(bad) if bad.is_doubt() => ErrorCode::Unavailable,
            Self::Credentials
            | Self::Cookies
            | Self::Token(_)
            | Self::Login(_)
            | Self::Ticket(_)
            | Self::Nobody => ErrorCode::Unauthenticated,
            Self::TooLarge(_) => ErrorCode::TooLarge,
            Self::NoTicket(_) | Self::Crowded(_) | Self::Spent(_) => ErrorCode::Rate,
            Self::Away => ErrorCode::Unavailable,
        }
    }

    /// Returns when to come again, where that is known.
    pub(in crate::edge) fn retry(self) -> Option<Duration> {
        match self {
            Self::Crowded(crowded) => Some(crowded.retry()),
            Self::Spent(spent) => Some(spent.retry()),
            Self::NoTicket(_) => Some(TICKET_LIFETIME),
            Self::Away => Some(SOON),
            // Not all of them at once: they come to the nodes that are left.
            Self::Token(Refusal::CutOff) => {
                Some(Duration::from_millis(rand::random_range(CUT_OFF_RETRY)))
            }
            Self::Token(Refusal::KeysStale) => {
                Some(Duration::from_millis(rand::random_range(KEYS_RETRY)))
            }
            _ => None,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Forged(_) | Self::Origin | Self::Host => StatusCode::FORBIDDEN,
            Self::Token(bad) if bad.is_doubt() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Credentials
            | Self::Cookies
            | Self::Token(_)
            | Self::Login(_)
            | Self::Ticket(_)
            | Self::Nobody => StatusCode::UNAUTHORIZED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoTicket(_) | Self::Crowded(_) | Self::Spent(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Away => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let problem = Self::new(refused.status(), &refused.to_string());
        let problem = problem.code(refused.code().name());
        match refused.retry() {
            Some(retry) => problem.retry(retry),
            None => problem,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
