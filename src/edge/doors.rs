//! Who is let in: finds out who asks, from a token, a login or a ticket, and ends what they were
//! let in for once that is over.
//!
//! ```text
//! Authorization: Bearer ─► Verifier ─┐
//! cookie (login) ─► Logins, Csrf ────┼─► revoked? ─► Caller ─► Asker ─► the document decides
//! ?ticket= ─► Tickets, here or there ┘
//! ```
//! What is presented is read here and goes no further: neither a log line nor an answer has any of
//! it. A caller holds claims; which of its rights count is decided by the document's owner.

pub(in crate::edge) mod between;
mod cookies;
mod endings;
pub(in crate::edge) mod layer;
pub(in crate::edge) mod login;
pub(in crate::edge) mod origin;
mod refused;
pub(in crate::edge) mod stay;

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::access::{Asker, Subject};
use crate::auth::{
    Claims, Csrf, Holder, Login, LoginId, Logins, NoLogin, Principal, Refusal, Repeats,
    Revocations, Tickets, Verifier,
};
use crate::edge::doors::cookies::Cookies;
use crate::edge::doors::stay::Stay;
use crate::relay::Who;
use crate::router::Router;
use crate::types::{Author, DocId, SessionId, Timestamp};

pub use between::{behind, catch_up, tell_all};
pub use endings::Endings;
pub use origin::{BadOrigin, Origins};
pub(in crate::edge) use refused::Refused;

/// Says whom a node lets in.
pub enum Doors {
    /// Everybody, to do everything.
    Open(Origins),
    /// Who has a token, and whom documents let in.
    Guarded(Box<Guard>),
}

/// Judges who asks.
pub struct Guard {
    /// Judges tokens.
    pub verifier: Verifier,
    /// Seals and opens logins.
    pub logins: Logins,
    /// Makes and checks CSRF tokens.
    pub csrf: Csrf,
    /// Tickets that were issued here.
    pub tickets: Mutex<Tickets>,
    /// Knows requests that come twice.
    pub repeats: Repeats,
    /// What was withdrawn.
    pub revoked: watch::Receiver<Arc<Revocations>>,
    /// Which logins were ended.
    pub endings: Endings,
    /// Whose pages may ask.
    pub origins: Origins,
}

/// Is who asks.
#[derive(Debug, Clone)]
pub(in crate::edge) struct Caller {
    principal: Principal,
    /// What others see, where the token says it.
    name: Option<Author>,
    holds: Option<Holds>,
    /// What another node has found out, at which the request came in.
    carried: Option<Asker>,
}

/// Is what a caller was let in by.
#[derive(Debug, Clone)]
pub(in crate::edge) struct Holds {
    claims: Arc<Claims>,
    until: Timestamp,
    by: By,
}

/// Is by what a caller has shown who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// A token, or a ticket that was given for one.
    Token,
    /// A login, whose cookie a browser sends with whatever a page asks for.
    Login(LoginId),
    /// A ticket that was given to a login.
    TicketOf(LoginId),
}

impl By {
    /// Returns the login with which it ends.
    fn login(self) -> Option<LoginId> {
        match self {
            Self::Token => None,
            Self::Login(login) | Self::TicketOf(login) => Some(login),
        }
    }
}

impl Caller {
    /// Returns somebody who has shown nothing.
    pub(in crate::edge) fn anonymous() -> Self {
        Self { principal: Principal::Anonymous, name: None, holds: None, carried: None }
    }

    /// Returns anybody, on a node that is open.
    pub(in crate::edge) fn anybody() -> Self {
        Self { principal: Principal::Anybody, name: None, holds: None, carried: None }
    }

    fn known(claims: Claims, until: Timestamp, by: By) -> Self {
        let (principal, name) = (claims.principal(), Some(claims.name.clone()));
        let holds = Some(Holds { claims: Arc::new(claims), until, by });
        Self { principal, name, holds, carried: None }
    }

    /// Returns who asked at another node about one document, and may ask about no other.
    pub(in crate::edge) fn carried(who: Who) -> Self {
        let name = (who.name != Author::anonymous()).then(|| who.name.clone());
        Self { name, carried: Some(who.into()), ..Self::anonymous() }
    }

    /// Returns what the owner of a document is told of who asks.
    pub(in crate::edge) fn who(&self, doc: &DocId) -> Who {
        let Asker { subject, granted } = self.asks(doc);
        Who { subject, granted, name: self.name.clone().unwrap_or_else(Author::anonymous) }
    }

    /// Returns what a document has to know of who asks.
    pub(in crate::edge) fn asks(&self, doc: &DocId) -> Asker {
        self.carried.clone().unwrap_or_else(|| self.principal.asks(doc))
    }

    /// Returns the name that others see, where it is known: it is not for the client to choose.
    pub(in crate::edge) fn name(&self) -> Option<&Author> {
        self.name.as_ref()
    }

    /// Returns who asks, where that is known.
    pub(in crate::edge) fn subject(&self) -> Option<&Subject> {
        let carried = self.carried.as_ref().and_then(|asker| asker.subject.as_ref());
        self.holds.as_ref().map(|holds| &holds.claims.subject).or(carried)
    }
}

impl Doors {
    /// Returns whose pages may ask.
    pub(in crate::edge) fn origins(&self) -> &Origins {
        match self {
            Self::Open(origins) => origins,
            Self::Guarded(guard) => &guard.origins,
        }
    }

    /// Returns the session of requests that somebody makes with an idempotency key.
    pub(in crate::edge) fn repeated(
        &self,
        subject: Option<&Subject>,
        doc: &DocId,
        key: &str,
    ) -> SessionId {
        match self {
            Self::Open(_) => Repeats::open().session(subject, doc, key),
            Self::Guarded(guard) => guard.repeats.session(subject, doc, key),
        }
    }

    /// Finds out who asks.
    ///
    /// # Errors
    /// [`Refused`] for credentials that are not good; without any, it is somebody unknown.
    pub(in crate::edge) async fn caller(
        &self,
        headers: &HeaderMap,
        wish: Wish,
    ) -> Result<Caller, Refused> {
        match self {
            Self::Open(_) => Ok(Caller::anybody()),
            Self::Guarded(guard) => guard.caller(headers, wish).await,
        }
    }

    /// Finds out who asks for a socket: by a ticket in its address, which another node may have
    /// issued, or as for any other request, and then a page's login needs the CSRF token that was
    /// `sent` in the handshake.
    ///
    /// # Errors
    /// [`Refused`].
    pub(in crate::edge) async fn socket_caller(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        sent: Option<&str>,
        router: &Router,
    ) -> Result<Caller, Refused> {
        let Self::Guarded(guard) = self else { return Ok(Caller::anybody()) };
        let caller = match ticket_in(query) {
            Some(ticket) => guard.ticket_caller(ticket, router).await?,
            None => guard.caller(headers, Wish::In).await?,
        };
        guard.check_csrf(&caller, headers, sent)?;
        Ok(caller)
    }

    /// Checks that a request that changes something was meant by whoever has the login.
    ///
    /// # Errors
    /// [`Refused::Forged`].
    pub(in crate::edge) fn check_csrf(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
    ) -> Result<(), Refused> {
        let Self::Guarded(guard) = self else { return Ok(()) };
        let sent = headers.get(CSRF_HEADER).and_then(|sent| sent.to_str().ok());
        guard.check_csrf(caller, headers, sent)
    }

    /// Refuses somebody who has shown nothing what changes something: a document lets all read it
    /// at most.
    ///
    /// # Errors
    /// [`Refused::Nobody`].
    pub(in crate::edge) fn check_known(&self, caller: Option<&Caller>) -> Result<(), Refused> {
        match (self, caller.map(|caller| &caller.principal)) {
            (Self::Guarded(guard), Some(Principal::Anonymous) | None) => {
                Err(guard.refuse(Refused::Nobody))
            }
            (Self::Guarded(_), Some(Principal::Known { .. } | Principal::Anybody))
            | (Self::Open(_), _) => Ok(()),
        }
    }

    /// Waits for the rest of a request, for no longer than its caller may stay, which is judged
    /// when it has come, too.
    ///
    /// # Errors
    /// [`Refused`], where what they were let in by is over.
    pub(in crate::edge) async fn as_long_as_let_in<T>(
        &self,
        mut stay: Stay,
        rest: impl Future<Output = T>,
    ) -> Result<T, Refused> {
        let over = tokio::select! {
            biased;
            // No timer tells of a clock that was put right, or of a machine that has slept.
            rest = rest => match stay.ended().now_or_never() {
                None => return Ok(rest),
                Some(over) => over,
            },
            over = stay.ended() => over,
        };
        Err(match self {
            Self::Open(_) => over,
            Self::Guarded(guard) => guard.refuse(over),
        })
    }

    /// Returns what tells when a caller has to go.
    pub(in crate::edge) fn stay(&self, caller: Option<&Caller>) -> Stay {
        match (self, caller.and_then(|caller| caller.holds.as_ref())) {
            (Self::Guarded(guard), Some(holds)) => Stay::until(
                (holds.claims.clone(), holds.until),
                holds.by.login().map(|login| guard.endings.bind(login)),
                guard.revoked.clone(),
                (guard.verifier.keys.clone(), guard.verifier.clock.clone()),
            ),
            (Self::Open(_), _) | (_, None) => Stay::for_ever(),
        }
    }
}

/// Where a page's CSRF token is sent beside its cookie.
const CSRF_HEADER: &str = "x-csrf-token";

/// What somebody wants of the doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) enum Wish {
    /// To be let in.
    In,
    /// To be signed out, and nothing else: what their login is good for need not be known.
    Out,
}

impl Guard {
    async fn caller(&self, headers: &HeaderMap, wish: Wish) -> Result<Caller, Refused> {
        if headers.contains_key(header::AUTHORIZATION) {
            let claims = self.bearer(headers).await?;
            let until = self.verifier.policy.ends(&claims);
            return Ok(Caller::known(claims, until, By::Token));
        }
        let cookies = Cookies::read(headers).map_err(|bad| self.refuse(bad))?;
        let Some(login) = cookies.login() else { return Ok(Caller::anonymous()) };
        let opened = self.logins.open(login, self.verifier.clock.now());
        let login = opened.map_err(|bad| self.refuse(bad.into()))?.login;
        match wish {
            Wish::In => self.check_login(&login).await?,
            Wish::Out => {
                let over = self.check_over(&login.claims, Some(login.id));
                over.map_err(|over| self.refuse(over))?;
            }
        }
        let until = login.claims.expires;
        Ok(Caller::known(login.claims, until, By::Login(login.id)))
    }

    /// Judges the token that a program sends.
    pub(in crate::edge) async fn bearer(&self, headers: &HeaderMap) -> Result<Claims, Refused> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let token = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(bearer),
            (_, _) => None,
        };
        let token = token.ok_or_else(|| self.refuse(Refused::Credentials))?;
        // What is refused there is counted there.
        let claims = self.verifier.verify(token).await.map_err(Refused::Token)?;
        self.check_holds(&claims).await?;
        Ok(claims)
    }

    async fn ticket_caller(&self, ticket: &str, router: &Router) -> Result<Caller, Refused> {
        let taken = self.taken(ticket, router).await;
        let Holder { claims, login } = taken.map_err(|refused| self.refuse(refused))?;
        self.check_holds(&claims).await?;
        let until = self.verifier.policy.ends(&claims);
        Ok(Caller::known(claims, until, login.map_or(By::Token, By::TicketOf)))
    }

    /// Refuses a login that was ended, or whose token holds no more.
    async fn check_login(&self, login: &Login) -> Result<(), Refused> {
        self.check_holds(&login.claims).await?;
        if self.endings.has(login.id) {
            return Err(self.refuse(NoLogin::Ended.into()));
        }
        Ok(())
    }

    /// Refuses what is known now to hold no more, and waits for nothing: what is in doubt passes.
    fn check_over(&self, claims: &Claims, login: Option<LoginId>) -> Result<(), Refused> {
        let judged = [self.verifier.keys.check(claims), self.revoked.borrow().check(claims)];
        let mut known = judged.into_iter().filter_map(Result::err).filter(|bad| !bad.is_doubt());
        if let Some(over) = known.next() {
            return Err(Refused::Token(over));
        }
        match login.is_some_and(|login| self.endings.has(login)) {
            true => Err(NoLogin::Ended.into()),
            false => Ok(()),
        }
    }

    /// Refuses what was good once and is not any more, because it was revoked or its key is gone.
    async fn check_holds(&self, claims: &Claims) -> Result<(), Refused> {
        self.holds(claims).await.map_err(|over| self.refuse(Refused::Token(over)))
    }

    async fn holds(&self, claims: &Claims) -> Result<(), Refusal> {
        self.verifier.check(claims).await?;
        // What is revoked while keys are waited for counts, too.
        self.revoked.borrow().check(claims)
    }

    fn check_csrf(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
        sent: Option<&str>,
    ) -> Result<(), Refused> {
        // What is no cookie comes with no request that a page of another site makes.
        let Some(Holds { by: By::Login(login), .. }) = caller.holds else { return Ok(()) };
        let cookies = Cookies::read(headers)?;
        let (cookie, sent) = (cookies.csrf().unwrap_or_default(), sent.unwrap_or_default());
        let checked = self.csrf.check(cookie, sent, login, self.verifier.clock.now());
        checked.map(drop).map_err(|forged| self.refuse(forged.into()))
    }

    /// Counts what is refused, and passes it on.
    fn refuse(&self, refused: Refused) -> Refused {
        self.verifier.metrics.refuse(refused.reason());
        refused
    }
}

/// Returns the token of an `Authorization` header (RFC 6750).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// Returns the ticket of a query.
fn ticket_in(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("ticket="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_one_word_behind_its_scheme() {
        assert_eq!(bearer("Bearer a.b.c"), Some("a.b.c"));
        assert_eq!(bearer("bearer  a.b.c"), Some("a.b.c"));
        for other in ["Basic YTpi", "Bearer", "a.b.c", ""] {
            assert_eq!(bearer(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_ticket_is_found_wherever_it_stands() {
        assert_eq!(ticket_in(Some("ticket=abc")), Some("abc"));
        assert_eq!(ticket_in(Some("a=b&ticket=abc&c")), Some("abc"));
        for none in [None, Some(""), Some("tickets=abc"), Some("a=ticket=abc")] {
            assert_eq!(ticket_in(none), None, "{none:?}");
        }
    }
}
