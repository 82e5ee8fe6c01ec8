//! Logins: what the `__Host-` cookie of a browser holds.
//!
//! The cookie is the login: the claims of a token that was verified once, and a random id,
//! encrypted and authenticated (ChaCha20-Poly1305) under a key that all nodes derive from the
//! cluster's secret. So any node opens it, after any restart, without asking another: there are no
//! sticky sessions, and no table of them that a node would have to share, bound and clean. What
//! such a table is for, ending a login early, does not need it: revocations of `jti` and `sub`
//! reach every node over the control topic, and are asked about each time a login is opened. See
//! docs/adr/0012-a-login-is-its-cookie.md.
//!
//! ```text
//! cookie = base64url( version (1) | nonce (12) | ciphertext | tag (16) )     at most 4 KiB
//! ```
//!
//! A login ends when its token does, when the key that has signed the token is trusted no more, and
//! when it was not renewed for [`Logins::idle_max`].
//! [`Opened::renew`] says when the cookie is to be sealed again: after half of that, or when the
//! key is about to go. Sealing again never moves the end of the token; only a new token of the
//! same subject does ([`Login::continued`]), which keeps the id, and with it the CSRF tokens of
//! pages that are open and may hold unsaved edits.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secrecy::SecretString;

use crate::auth::model::{self, VERSION};
use crate::auth::secret::{Age, Rotating, Secret};
use crate::auth::token::Claims;
use crate::types::Timestamp;

/// The longest cookie, in bytes: browsers drop longer ones without a word.
pub const COOKIE_BYTES_MAX: usize = 4_096;

/// What a cookie needs beside its value: its name and attributes.
const ATTRIBUTES_BYTES: usize = 128;

const TAG_BYTES: usize = 16;

/// Names a login; CSRF tokens are bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoginId(pub [u8; 16]);

/// Is a browser's login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Drawn at random.
    pub id: LoginId,
    /// What its token says.
    pub claims: Claims,
}

impl Login {
    /// Returns the login with a newer token, or a new login under `id`, which has to be random,
    /// where the token is one of somebody else.
    #[must_use]
    pub fn continued(&self, claims: Claims, id: LoginId) -> Self {
        let same = self.claims.subject == claims.subject;
        Self { id: if same { self.id } else { id }, claims }
    }
}

/// Seals and opens logins.
#[derive(Debug)]
pub struct Logins {
    keys: Rotating<LessSafeKey>,
    idle_max: Duration,
}

/// Is a login that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The login.
    pub login: Login,
    /// Whether its cookie is to be sealed again.
    pub renew: bool,
}

/// Tells that a token says more than a cookie can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token says too much for a cookie of 4 KiB: have it issued with fewer patterns")]
pub struct TooLarge;

/// Tells why a cookie opens no login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoLogin {
    /// It is not one of ours, or not any more.
    #[error("the login cookie is not one of this server: sign in again")]
    Forged,
    /// Its token has expired, or it was not used for too long.
    #[error("the login has expired: sign in again")]
    Expired,
    /// Whoever had it has signed out.
    #[error("the login was ended: sign in again")]
    Ended,
}

impl NoLogin {
    /// Returns the name that it is counted under.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Forged => "login-forged",
            Self::Expired => "login-expired",
            Self::Ended => "login-ended",
        }
    }
}

impl Logins {
    /// Derives the keys from the cluster's secrets.
    pub fn new(current: &Secret, previous: Option<&Secret>, idle_max: Duration) -> Self {
        let make = |key: &[u8; 32]| {
            LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes are a key"))
        };
        Self { keys: Rotating::derive(current, previous, "login 1", make), idle_max }
    }

    /// Returns for how long a login may go unused.
    pub fn idle_max(&self) -> Duration {
        self.idle_max
    }

    /// Seals a login into a cookie; the nonce has to be random, and is used for this once.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn seal(
        &self,
        login: &Login,
        nonce: [u8; NONCE_LEN],
        now: Timestamp,
    ) -> Result<SecretString, TooLarge> {
        let mut text = model::encode(login, now);
        let aad = Aad::from([VERSION]);
        let sealed = self.keys.current.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            aad,
            &mut text,
        );
        sealed.expect("a login is shorter than 256 GiB");
        let cookie = URL_SAFE_NO_PAD.encode([&[VERSION][..], &nonce, &text].concat());
        if cookie.len() + ATTRIBUTES_BYTES > COOKIE_BYTES_MAX {
            return Err(TooLarge);
        }
        Ok(cookie.into())
    }

    /// Opens a cookie. Whether its token or subject is revoked has to be asked besides.
    ///
    /// # Errors
    /// [`NoLogin`].
    pub fn open(&self, cookie: &str, now: Timestamp) -> Result<Opened, NoLogin> {
        if cookie.len() > COOKIE_BYTES_MAX {
            return Err(NoLogin::Forged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(cookie).map_err(|_| NoLogin::Forged)?;
        let (age, text) = self.opened(&bytes).ok_or(NoLogin::Forged)?;
        let (login, sealed) = model::decode(&text).ok_or(NoLogin::Forged)?;
        let idle = u128::from(now.0.saturating_sub(sealed.0));
        if now >= login.claims.expires || idle >= self.idle_max.as_millis() {
            return Err(NoLogin::Expired);
        }
        let renew = age == Age::Previous || idle >= self.idle_max.as_millis() / 2;
        Ok(Opened { login, renew })
    }

    fn opened(&self, bytes: &[u8]) -> Option<(Age, Vec<u8>)> {
        let (&version, rest) = bytes.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if version != VERSION || sealed.len() < TAG_BYTES {
            return None;
        }
        let open = |key: &LessSafeKey| {
            let (nonce, mut text) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
            let opened = key.open_in_place(nonce, Aad::from([version]), &mut text).ok()?.len();
            text.truncate(opened);
            Some(text)
        };
        let current = open(&self.keys.current).map(|text| (Age::Current, text));
        current.or_else(|| Some((Age::Previous, open(self.keys.previous.as_ref()?)?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::access::Rights;
    use crate::auth::keys::Thumbprint;
    use crate::auth::rights::Grant;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const HOUR: u64 = 3_600_000;

    fn logins(current: u8, previous: Option<u8>) -> Logins {
        let secret = |byte| Secret::read(&[byte; 32]).expect("it is long enough");
        let previous = previous.map(secret);
        Logins::new(&secret(current), previous.as_ref(), Duration::from_hours(12))
    }

    fn login(grants: usize) -> Login {
        let grant = |n: usize| Grant {
            pattern: format!("{n:0>120}.*").parse().expect("a pattern"),
            rights: Rights::ALL,
        };
        let claims = Claims {
            subject: "anna@example.org".parse().expect("a subject"),
            name: "Anna Ünal".parse().expect("a name"),
            expires: Timestamp(NOW.0 + 24 * HOUR),
            issued: Some(NOW),
            id: "t-1".parse().ok(),
            grants: (0..grants).map(grant).collect(),
            key: Some(Thumbprint([7; 16])),
        };
        Login { id: LoginId([5; 16]), claims }
    }

    fn sealed(logins: &Logins, login: &Login) -> String {
        let cookie = logins.seal(login, [9; 12], NOW).expect("it fits");
        cookie.expose_secret().to_owned()
    }

    #[track_caller]
    fn check(logins: &Logins, cookie: &str, later: u64, expected: Result<bool, NoLogin>) {
        let opened = logins.open(cookie, Timestamp(NOW.0 + later));
        assert_eq!(opened.map(|opened| opened.renew), expected, "{later} ms later");
    }

    #[test]
    fn a_login_comes_out_as_it_went_in() {
        let (logins, login) = (logins(b'a', None), login(3));
        let cookie = sealed(&logins, &login);
        let opened = logins.open(&cookie, NOW);
        assert_eq!(opened, Ok(Opened { login: login.clone(), renew: false }));
        let plain = URL_SAFE_NO_PAD.decode(&cookie).expect("base64url");
        assert!(!plain.windows(4).any(|bytes| bytes == b"anna"), "it is encrypted");
    }

    /// Browsers keep cookies over an update.
    #[test]
    fn the_format_is_still_read() {
        let golden =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/login-v2.txt"));
        let logins = logins(b'a', None);
        assert_eq!(sealed(&logins, &login(1)), golden.trim_end(), "it is still written, too");
        let opened = logins.open(golden.trim_end(), NOW).map(|opened| opened.login);
        assert_eq!(opened, Ok(login(1)));
    }

    /// A newer program seals with the same key; what it says must not be read as something else.
    #[test]
    fn a_later_format_is_not_read_as_this_one() {
        let logins = logins(b'a', None);
        let mut text = model::encode(&login(1), NOW);
        let nonce = Nonce::assume_unique_for_key([9; 12]);
        let later = VERSION + 1;
        let sealed =
            logins.keys.current.seal_in_place_append_tag(nonce, Aad::from([later]), &mut text);
        sealed.expect("it is short");
        let cookie = URL_SAFE_NO_PAD.encode([&[later][..], &[9; 12], &text].concat());
        check(&logins, &cookie, 0, Err(NoLogin::Forged));
    }

    #[test]
    fn a_login_ends_when_it_is_idle_and_when_its_token_does() {
        let (logins, login) = (logins(b'a', None), login(1));
        let cookie = sealed(&logins, &login);
        check(&logins, &cookie, 6 * HOUR - 1, Ok(false));
        check(&logins, &cookie, 6 * HOUR, Ok(true));
        check(&logins, &cookie, 12 * HOUR - 1, Ok(true));
        check(&logins, &cookie, 12 * HOUR, Err(NoLogin::Expired));
        // Renewed again and again, it ends with its token all the same.
        let last = Timestamp(NOW.0 + 23 * HOUR);
        let renewed = logins.seal(&login, [8; 12], last).expect("it fits");
        check(&logins, renewed.expose_secret(), 24 * HOUR - 1, Ok(false));
        check(&logins, renewed.expose_secret(), 24 * HOUR, Err(NoLogin::Expired));
    }

    #[test]
    fn the_key_is_replaced_in_two_steps() {
        let cookie = sealed(&logins(b'a', None), &login(1));
        check(&logins(b'b', Some(b'a')), &cookie, 0, Ok(true));
        check(&logins(b'a', Some(b'b')), &cookie, 0, Ok(false));
        check(&logins(b'b', None), &cookie, 0, Err(NoLogin::Forged));
    }

    #[test]
    fn every_bit_of_a_cookie_counts() {
        let logins = logins(b'a', Some(b'b'));
        let cookie = sealed(&logins, &login(1));
        let bytes = URL_SAFE_NO_PAD.decode(&cookie).expect("base64url");
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(forged);
            check(&logins, &forged, 0, Err(NoLogin::Forged));
        }
        let (longer, huge) = (format!("{cookie}A"), "A".repeat(100_000));
        for bad in ["", "A", "AQ", "AQAA", "=", &cookie[..20], &cookie[4..], &longer, &huge] {
            check(&logins, bad, 0, Err(NoLogin::Forged));
        }
    }

    #[test]
    fn a_login_that_no_browser_would_keep_is_refused() {
        let logins = logins(b'a', None);
        let most = (0..100).take_while(|n| logins.seal(&login(*n), [1; 12], NOW).is_ok());
        let most = most.last().expect("one without grants fits");
        let fits = sealed(&logins, &login(most));
        assert!((20..64).contains(&most) && fits.len() + ATTRIBUTES_BYTES <= COOKIE_BYTES_MAX);
        check(&logins, &fits, 0, Ok(false));
        assert_eq!(logins.seal(&login(most + 1), [1; 12], NOW).err(), Some(TooLarge));
    }

    #[test]
    fn a_new_token_continues_the_login_of_its_subject_alone() {
        let old = login(1);
        let newer = Claims { expires: Timestamp(NOW.0 + 48 * HOUR), ..old.claims.clone() };
        let continued = old.continued(newer.clone(), LoginId([6; 16]));
        assert_eq!(continued, Login { id: old.id, claims: newer.clone() });
        let other = Claims { subject: "eve".parse().expect("a subject"), ..newer };
        assert_eq!(old.continued(other, LoginId([6; 16])).id, LoginId([6; 16]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some((login, sealed)) = model::decode(&bytes) {
                let again = model::decode(&model::encode(&login, sealed));
                prop_assert_eq!(again, Some((login, sealed)));
            }
        }

        #[test]
        fn any_login_comes_out_as_it_went_in(
            id: [u8; 16],
            nonce: [u8; 12],
            subject in "[!-~]{1,255}",
            name in "\\PC{0,16}",
            token in proptest::option::of("[!-~]{1,128}"),
            bits in 1_u8..16,
        ) {
            let grant = Grant {
                pattern: "a.**".parse().expect("a pattern"),
                rights: Rights::from_bits(bits).expect("four bits are rights"),
            };
            let claims = Claims {
                subject: subject.parse().expect("a subject"),
                name: name.parse().expect("a name"),
                id: token.map(|id| id.parse().expect("an id")),
                grants: vec![grant],
                ..login(0).claims
            };
            let (logins, login) = (logins(b'a', None), Login { id: LoginId(id), claims });
            let cookie = logins.seal(&login, nonce, NOW).expect("it fits");
            let opened = logins.open(cookie.expose_secret(), NOW);
            prop_assert_eq!(opened.map(|opened| opened.login), Ok(login));
        }
    }
}
