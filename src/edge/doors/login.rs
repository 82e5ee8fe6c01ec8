//! `/auth`: a browser turns a token into a login and ends it; programs get tickets for sockets.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tracing::info;

use crate::auth::{Holder, Login, LoginId, TICKET_LIFETIME};
use crate::edge::Remote;
use crate::edge::api::spelled;
use crate::edge::doors::between;
use crate::edge::doors::cookies::{self, Cookies};
use crate::edge::doors::layer::judged;
use crate::edge::doors::{By, Caller, Doors, Guard, Holds, Refused};
use crate::edge::extract::Fresh;
use crate::edge::model::{SignedIn, Ticket};
use crate::edge::routes::Shared;
use crate::edge::trail::{Address, TARGET, not_signed_in};

/// Answers `POST /auth/session`: a token becomes a login. A newer token of somebody who is signed
/// in goes on under the same login, so that open pages keep their CSRF tokens.
#[utoipa::path(
    post, path = "/auth/session", tag = "doors",
    responses((status = 200, description = "Who is signed in, with the cookies of that",
        body = SignedIn))
)]
pub(in crate::edge) async fn sign_in(
    State(shared): State<Arc<Shared>>,
    remote: Option<Extension<Remote>>,
    address: Address,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let Doors::Guarded(guard) = &*shared.doors else { return Ok(open()) };
    let told = |refused: &Refused| not_signed_in(&shared.metrics.lines, *refused, address);
    if !headers.contains_key(axum::http::header::AUTHORIZATION) {
        return Err(guard.refuse(Refused::Nobody)).inspect_err(told);
    }
    let from = remote.map(|Extension(remote)| remote);
    let claims = judged(&shared, (from, true), guard.bearer(&headers)).await.inspect_err(told)?;
    let id = LoginId(rand::random());
    let login = match guard.opened(&headers).await {
        Some(before) => before.continued(claims, id),
        None => Login { id, claims },
    };
    let answer = guard.answer(&login).inspect_err(told)?;
    info!(target: TARGET, subject = %login.claims.subject, %address, "signed in");
    Ok(answer)
}

/// Answers `GET /auth/session`: who is signed in. Their cookies are made anew where it is time, and
/// no sooner: another tab may be about to send the CSRF token that the cookie holds now.
#[utoipa::path(
    get, path = "/auth/session", tag = "doors",
    responses((status = 200, description = "Who is signed in", body = SignedIn))
)]
pub(in crate::edge) async fn session(
    State(shared): State<Arc<Shared>>,
    remote: Option<Extension<Remote>>,
    address: Address,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let Doors::Guarded(guard) = &*shared.doors else { return Ok(open()) };
    let now = guard.verifier.clock.now();
    let opening = async {
        let cookies = Cookies::read(&headers).map_err(|bad| guard.refuse(bad))?;
        let Some(cookie) = cookies.login() else { return Ok(None) };
        let opened = guard.logins.open(cookie, now).map_err(|bad| guard.refuse(bad.into()))?;
        guard.check_login(&opened.login).await.map(|()| Some((opened, cookies)))
    };
    let from = remote.map(|Extension(remote)| remote);
    let told = |refused: &Refused| not_signed_in(&shared.metrics.lines, *refused, address);
    let opened = judged(&shared, (from, false), opening).await.inspect_err(told)?;
    // Who only asks is not refused.
    let Some((opened, cookies)) = opened else { return Err(Refused::Nobody) };
    let login = opened.login;
    let csrf = cookies.csrf().unwrap_or_default();
    if !opened.renew && guard.csrf.lasts(csrf, login.id, now) {
        return Ok(Fresh(guard.told(&login)).into_response());
    }
    guard.answer(&login).inspect_err(told)
}

/// Answers `DELETE /auth/session`: the browser forgets its login, and what that has opened
/// ends, at every node that is up.
#[utoipa::path(
    delete, path = "/auth/session", tag = "doors",
    responses((status = 204, description = "The cookies are removed"))
)]
pub(in crate::edge) async fn sign_out(
    State(shared): State<Arc<Shared>>,
    address: Address,
    caller: Caller,
) -> Response {
    if let Some(Holds { by: By::Login(login), .. }) = caller.holds {
        between::end(&shared, login).await;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookies::remove(response.headers_mut());
    if let Some(subject) = caller.subject() {
        info!(target: TARGET, %subject, %address, "signed out");
    }
    response
}

/// Answers `POST /auth/ticket`: what opens one socket within 30 s.
#[utoipa::path(
    post, path = "/auth/ticket", tag = "doors",
    responses((status = 200, description = "A ticket", body = Ticket))
)]
pub(in crate::edge) async fn ticket(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
) -> Result<Fresh<Ticket>, Refused> {
    let seconds = TICKET_LIFETIME.as_secs();
    let Doors::Guarded(guard) = &*shared.doors else {
        // Any is good where everybody is let in.
        return Ok(Fresh(Ticket { ticket: "open".to_owned(), expires_in: seconds }));
    };
    let holds = caller.holds.ok_or_else(|| guard.refuse(Refused::Nobody))?;
    let holder = Holder { claims: (*holds.claims).clone(), login: holds.by.login() };
    let issued = guard.tickets.lock().issue(holder, rand::random(), Instant::now());
    let ticket: SecretString = issued.map_err(|none| guard.refuse(none.into()))?;
    Ok(Fresh(Ticket { ticket: ticket.expose_secret().to_owned(), expires_in: seconds }))
}

impl Guard {
    /// Returns the login that a request has, where it is good.
    async fn opened(&self, headers: &HeaderMap) -> Option<Login> {
        let cookie = Cookies::read(headers).ok()?.login()?;
        let login = self.logins.open(cookie, self.verifier.clock.now()).ok()?.login;
        let holds = self.holds(&login.claims).await.is_ok();
        (holds && !self.endings.has(login.id)).then_some(login)
    }

    /// Tells a browser who it is signed in as, and gives it the cookies of that.
    fn answer(&self, login: &Login) -> Result<Response, Refused> {
        let now = self.verifier.clock.now();
        let sealed = self.logins.seal(login, rand::random(), now);
        let sealed = sealed.map_err(|large| self.refuse(large.into()))?;
        let csrf = self.csrf.issue(login.id, rand::random(), now);
        let left = Duration::from_millis(login.claims.expires.0.saturating_sub(now.0));
        let mut response = Fresh(self.told(login)).into_response();
        cookies::set(response.headers_mut(), &sealed, &csrf, left.min(self.logins.idle_max()));
        Ok(response)
    }

    fn told(&self, Login { claims, .. }: &Login) -> SignedIn {
        SignedIn {
            open: false,
            subject: Some(claims.subject.to_string()),
            name: Some(claims.name.to_string()),
            expires: Some(spelled(claims.expires)),
            idle_seconds: Some(self.logins.idle_max().as_secs()),
        }
    }
}

fn open() -> Response {
    let nobody =
        SignedIn { open: true, subject: None, name: None, expires: None, idle_seconds: None };
    Fresh(nobody).into_response()
}
