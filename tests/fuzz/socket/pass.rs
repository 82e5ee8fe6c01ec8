//! What the enemies of a guarded server show to be let in: nothing, what is good for something
//! else, what is not good any more or not yet, what was made up or taken from others; and one that
//! is good until it is revoked.

use std::time::Duration;

use quire::access::Subject;
use quire::auth::{Claims, Draft, Grant, SigningKey, issue};
use quire::clock::Clock;
use quire::types::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reqwest::header::SET_COOKIE;
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::mutation::mutate;
use crate::socket::grammar::{Case, case_in, late_case, own_docs};
use crate::socket::line::{Finding, PATIENCE};

/// What tokens are signed with that the server takes.
pub(crate) const SECRET: &str = "a secret of these tests, long enough";

/// Documents that nobody writes once they are there.
pub(crate) const VAULTS: u64 = 4;

const HOUR: Duration = Duration::from_hours(1);

/// How long a token lasts that is revoked, so that the list of those does not grow with the run.
const SHORT: Duration = Duration::from_mins(3);

/// What may come of what an enemy shows; each may have what those before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum May {
    /// It is refused for what it shows, and that is counted.
    Knock,
    /// It is refused by the document.
    Ask,
    Read,
    Write,
}

/// What there is to be shown.
pub(crate) struct Passes {
    key: SigningKey,
    other: SigningKey,
    /// Logins of somebody who may do everything, and of somebody who may do nothing.
    logins: [Login; 2],
    /// A ticket that has opened its socket.
    spent: String,
    withdrawn: String,
}

#[derive(Debug, Default)]
struct Login {
    login: String,
    csrf: String,
}

/// What one enemy shows: a line of its head, or an argument of its address.
struct Shown {
    head: Vec<u8>,
    query: String,
    may: May,
}

/// Whom a token is for, and what makes it a bad one.
struct Token<'a> {
    subject: String,
    id: String,
    rights: &'a [(&'a str, &'a str)],
    /// Since when and until when, in seconds from now.
    times: (i64, i64),
    audience: &'a str,
    not_before: Option<i64>,
}

impl Default for Token<'_> {
    fn default() -> Self {
        let (subject, id) = ("eve".to_owned(), "t".to_owned());
        let times = (-1, i64::try_from(HOUR.as_secs()).expect("an hour"));
        Self { subject, id, rights: &[], times, audience: "quire", not_before: None }
    }
}

impl Token<'_> {
    fn signed(&self, key: &SigningKey) -> String {
        let now = i64::try_from(Clock::wall().now().0 / 1_000).expect("a time");
        let at = |from: i64| Timestamp(u64::try_from(now + from).expect("a time") * 1_000);
        let grant = |(pattern, rights): &(&str, &str)| Grant {
            pattern: pattern.parse().expect("a pattern"),
            rights: rights.parse().expect("rights"),
        };
        let subject: Subject = self.subject.parse().expect("a subject");
        let claims = Claims {
            name: subject.beginning(),
            subject,
            issued: Some(at(self.times.0)),
            expires: at(self.times.1),
            id: self.id.parse().ok(),
            grants: self.rights.iter().map(grant).collect(),
            key: None,
        };
        let not_before = self.not_before.map(at);
        let draft = Draft { claims: &claims, audience: self.audience, issuer: None, not_before };
        issue(&draft, key).expect("it signs").expose_secret().to_owned()
    }
}

/// Issues what the honest show.
pub(crate) fn honest() -> String {
    let rights = &[("**", "admin")];
    let times = (-1, 30 * 24 * 3_600);
    Token { subject: "honest".to_owned(), rights, times, ..Token::default() }.signed(&key(SECRET))
}

fn key(secret: &str) -> SigningKey {
    SigningKey::read(None, secret.as_bytes()).expect("a key")
}

fn bearer(token: &str) -> Vec<u8> {
    format!("authorization: Bearer {token}\r\n").into_bytes()
}

impl Passes {
    /// Has everything made that a server has to make itself.
    pub(crate) async fn prepare(url: &str, desk: &Desk) -> Self {
        let (key, other) = (key(SECRET), key("a secret of somebody else, long enough"));
        let (subject, rights) = ("ann".to_owned(), &[("**", "admin")]);
        let ann = Token { subject, rights, ..Token::default() }.signed(&key);
        let logins = [sign_in(url, &ann).await, sign_in(url, &Token::default().signed(&key)).await];
        let spent = spent(url, &ann).await;
        let (subject, id) = ("mallory".to_owned(), "withdrawn".to_owned());
        let token = Token { subject, id, rights, ..Token::default() }.signed(&key);
        desk.revoke("withdrawn", &token).await.expect("it is revoked");
        Self { key, other, logins, spent, withdrawn: token }
    }

    /// Makes the case of a seed.
    pub(crate) fn case(&self, seed: u64) -> Case {
        // Not the stream that what it says is made from.
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        let own: Vec<String> = own_docs(seed..seed + 1).collect();
        let own = &own[rng.random_range(0..own.len())];
        let subject = format!("eve-{}", seed % 1_000);
        let rights = &[("siege-**", "write")];
        let (mut case, shown) = match rng.random_range(0..12) {
            0 | 1 => {
                let token = Token { subject, rights, ..Token::default() }.signed(&self.key);
                let shown = Shown::head(bearer(&token), May::Write);
                (case_in(seed, Some(own)), shown)
            }
            2 => {
                let id = format!("late-{seed}");
                let times = (-1, i64::try_from(SHORT.as_secs()).expect("minutes"));
                let token = Token { subject, id: id.clone(), rights, times, ..Token::default() };
                let token = token.signed(&self.key);
                let shown = Shown::head(bearer(&token), May::Write);
                (late_case(seed, own, (id, token)), shown)
            }
            _ => {
                let shown = self.shown(&mut rng, subject);
                let doc = match rng.random_range(0..3) {
                    0 => format!("kill-{}", rng.random_range(0..2)),
                    _ => format!("vault-{}", rng.random_range(0..VAULTS)),
                };
                (case_in(seed, Some(&doc)), shown)
            }
        };
        shown.put(&mut case);
        case
    }

    /// Chooses what lets nobody write.
    fn shown(&self, rng: &mut ChaCha8Rng, subject: String) -> Shown {
        let all = &[("**", "admin")];
        let good = Token { subject, rights: all, ..Token::default() };
        let knock = |token: Token| Shown::head(bearer(&token.signed(&self.key)), May::Knock);
        match rng.random_range(0..13) {
            0 => Shown::head(Vec::new(), May::Ask),
            1 => {
                // All but the documents that it goes to.
                let rights = &[
                    ("kill", "admin"),
                    ("vault", "admin"),
                    ("vault.*", "admin"),
                    ("k-*", "admin"),
                ];
                let token = Token { rights, ..good };
                Shown::head(bearer(&token.signed(&self.key)), May::Ask)
            }
            2 | 3 => {
                let rights = if rng.random() { "read" } else { "read,history" };
                let rights = &[("**", rights), ("siege-**", "write")];
                let token = Token { rights, ..good };
                Shown::head(bearer(&token.signed(&self.key)), May::Read)
            }
            4 => knock(Token { times: (-7_200, -3_600), ..good }),
            5 => knock(Token { not_before: Some(1_800), ..good }),
            6 => knock(Token { audience: "elsewhere", ..good }),
            7 => Shown::head(bearer(&good.signed(&self.other)), May::Knock),
            8 => Shown::head(bearer(&self.withdrawn), May::Knock),
            9 => Shown { query: self.spent.clone(), ..Shown::head(Vec::new(), May::Knock) },
            10 => {
                let good = good.signed(&self.key);
                Shown::head(bearer(&good).repeat(2), May::Knock)
            }
            11 => Shown::head(mangled(&good.signed(&self.key), rng), May::Knock),
            _ => self.cookies(rng),
        }
    }

    /// Chooses cookies of others.
    fn cookies(&self, rng: &mut ChaCha8Rng) -> Shown {
        let [ann, eve] = &self.logins;
        let (login, csrf) = ("__Host-quire-login", "__Host-quire-csrf");
        let both = |a: &str, c: &str| format!("cookie: {login}={a}; {csrf}={c}\r\n");
        let sent = |c: &str| format!("sec-websocket-protocol: csrf.{c}\r\n");
        let whole = both(&ann.login, &ann.csrf);
        let (head, may) = match rng.random_range(0..8) {
            0 => (whole, May::Knock),
            1 => (both(&ann.login, &eve.csrf) + &*sent(&eve.csrf), May::Knock),
            2 => (whole + &*sent(&eve.csrf), May::Knock),
            3 => (format!("{whole}cookie: {login}={}\r\n", eve.login), May::Knock),
            4 => (both(&ann.login[1..], &ann.csrf) + &*sent(&ann.csrf), May::Knock),
            5 => (both("x", "x") + &*sent("x"), May::Knock),
            6 => (whole.replace("__Host-", "") + &*sent(&ann.csrf), May::Ask),
            _ => ("cookie: session=abc; csrftoken=d; __Secure-id=e\r\n".to_owned(), May::Ask),
        };
        Shown::head(head.into_bytes(), may)
    }
}

impl Shown {
    fn head(head: Vec<u8>, may: May) -> Self {
        Self { head, query: String::new(), may }
    }

    /// Puts it into a handshake, where that still has a first line.
    fn put(self, case: &mut Case) {
        case.may = self.may;
        if !self.query.is_empty() {
            let ticket = format!("?ticket={} ", self.query);
            let text = &mut case.handshake;
            if let Some(at) = text.windows(6).position(|six| six == b" HTTP/") {
                drop(text.splice(at..=at, ticket.into_bytes()));
            }
        }
        if let Some(at) = case.handshake.windows(2).position(|two| two == b"\r\n") {
            drop(case.handshake.splice(at + 2..at + 2, self.head));
        }
    }
}

/// Spoils a good token, so that it is another one.
fn mangled(token: &str, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = token.as_bytes().to_vec();
    mutate(&mut bytes, token.as_bytes(), rng);
    // Whatever is around it is not looked at.
    if bytes.trim_ascii() == token.as_bytes() {
        bytes = format!("{token}x").into_bytes();
    }
    [b"authorization: Bearer ", &*bytes, b"\r\n"].concat()
}

async fn sign_in(url: &str, token: &str) -> Login {
    let asked = Client::new().post(format!("{url}/auth/session")).bearer_auth(token);
    let answer = asked.send().await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let mut login = Login::default();
    for cookie in answer.headers().get_all(SET_COOKIE) {
        let pair = cookie.to_str().expect("text").split(';').next().expect("a pair");
        match pair.split_once('=').expect("a pair") {
            ("__Host-quire-login", value) => login.login = value.to_owned(),
            (_, value) => login.csrf = value.to_owned(),
        }
    }
    login
}

/// Has a ticket issued, and opens a socket with it.
async fn spent(url: &str, token: &str) -> String {
    let asked = Client::new().post(format!("{url}/auth/ticket")).bearer_auth(token);
    let answer: Value = asked.send().await.expect("it answers").json().await.expect("JSON");
    let ticket = answer["ticket"].as_str().expect("text").to_owned();
    let opened = Client::new()
        .get(format!("{url}/ws/vault-0?ticket={ticket}"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let status = opened.send().await.expect("it answers").status();
    assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS);
    ticket
}

/// Takes tokens back, as an operator does.
pub(crate) struct Desk {
    http: Client,
    url: String,
    admin: String,
}

impl Desk {
    pub(crate) fn new(url: &str, admin: String) -> Self {
        Self { http: Client::new(), url: url.to_owned(), admin }
    }

    /// Revokes a token, and waits until it is not taken any more.
    pub(crate) async fn revoke(&self, id: &str, token: &str) -> Result<(), Finding> {
        let until = Timestamp(Clock::wall().now().0 + 2 * SHORT.as_millis() as u64);
        let until = jiff::Timestamp::from_millisecond(i64::try_from(until.0).expect("a time"));
        let until = until.expect("a time").to_string();
        let ask = json!({ "order": "revoke-token", "jti": id, "until": until });
        let given = self.http.post(format!("{}/v1/commands", self.admin));
        let given = given.body(json!({ "by": "ada", "ask": ask }).to_string()).send().await;
        let given = given.map_err(|error| format!("nobody revokes: {error}"))?;
        if !given.status().is_success() {
            return Err(format!("it is not revoked: {}", given.text().await.unwrap_or_default()));
        }
        let over = async {
            loop {
                let asked = self.http.get(format!("{}/v1/docs/vault-0", self.url));
                match asked.bearer_auth(token).send().await.map(|answer| answer.status()) {
                    Ok(StatusCode::UNAUTHORIZED) => return Ok(()),
                    Ok(StatusCode::OK | StatusCode::FORBIDDEN) => {
                        sleep(Duration::from_millis(5)).await;
                    }
                    other => return Err(format!("who was revoked is answered {other:?}")),
                }
            }
        };
        let over = timeout(PATIENCE, over).await;
        over.unwrap_or_else(|_| Err("a token that was revoked is taken".to_owned()))
    }
}
