//! The two cookies of a login: the login itself, which no script can read, and the CSRF token,
//! which pages read and send beside it.
//!
//! Their names begin with `__Host-`: a browser takes such a cookie only over TLS (or from the
//! machine itself), for the whole site and for no other, so that neither a neighbour's domain nor a
//! page of plain HTTP can put one there (RFC 6265bis, 4.1.3.2).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use cookie::{Cookie, SameSite};
use secrecy::{ExposeSecret, SecretString};

use crate::edge::doors::Refused;

const LOGIN: &str = "__Host-quire-login";
const CSRF: &str = "__Host-quire-csrf";

/// Holds what a request has of them.
#[derive(Default)]
pub(in crate::edge::doors) struct Cookies<'a> {
    login: Option<&'a str>,
    csrf: Option<&'a str>,
}

impl<'a> Cookies<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// [`Refused::Cookies`] where one is there twice: one of the two is not ours.
    pub(in crate::edge::doors) fn read(headers: &'a HeaderMap) -> Result<Self, Refused> {
        let mut cookies = Self::default();
        for value in headers.get_all(header::COOKIE) {
            // Other cookies may hold what they like.
            let Ok(text) = std::str::from_utf8(value.as_bytes()) else { continue };
            for pair in text.split(';') {
                let Some((name, value)) = pair.trim_matches(' ').split_once('=') else { continue };
                let place = match name {
                    LOGIN => &mut cookies.login,
                    CSRF => &mut cookies.csrf,
                    _ => continue,
                };
                if place.replace(value).is_some() {
                    return Err(Refused::Cookies);
                }
            }
        }
        Ok(cookies)
    }

    pub(in crate::edge::doors) fn login(&self) -> Option<&'a str> {
        self.login
    }

    pub(in crate::edge::doors) fn csrf(&self) -> Option<&'a str> {
        self.csrf
    }
}

/// Puts a login into an answer, and its CSRF token.
pub(in crate::edge::doors) fn set(
    headers: &mut HeaderMap,
    login: &SecretString,
    csrf: &str,
    lasts: Duration,
) {
    let seconds = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
    let lasts = cookie::time::Duration::seconds(seconds);
    append(headers, Cookie::build((LOGIN, login.expose_secret())).http_only(true).max_age(lasts));
    append(headers, Cookie::build((CSRF, csrf)).max_age(lasts));
}

/// Takes both away.
pub(in crate::edge::doors) fn remove(headers: &mut HeaderMap) {
    append(
        headers,
        Cookie::build((LOGIN, "")).http_only(true).max_age(cookie::time::Duration::ZERO),
    );
    append(headers, Cookie::build((CSRF, "")).max_age(cookie::time::Duration::ZERO));
}

fn append(headers: &mut HeaderMap, cookie: cookie::CookieBuilder<'_>) {
    let cookie = cookie.path("/").secure(true).same_site(SameSite::Strict).build();
    let value = HeaderValue::from_str(&cookie.to_string());
    let mut value = value.expect("base64url and constants are a header");
    value.set_sensitive(true);
    headers.append(header::SET_COOKIE, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::COOKIE, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn they_are_found_among_others_and_only_by_their_whole_names() {
        let headers = with(&["a=b; __Host-quire-login=abc;__Host-quire-csrf=def", "c"]);
        let cookies = Cookies::read(&headers).unwrap();
        assert_eq!((cookies.login(), cookies.csrf()), (Some("abc"), Some("def")));
        let others = ["quire-login=a", "__host-quire-login=a", "__Host-quire-login", " x=1 ; y"];
        let headers = with(&others);
        let cookies = Cookies::read(&headers).unwrap();
        assert_eq!((cookies.login(), cookies.csrf()), (None, None));
    }

    #[test]
    fn one_that_is_there_twice_is_none() {
        for twice in [
            &["__Host-quire-login=a; __Host-quire-login=a"][..],
            &["__Host-quire-login=a", "__Host-quire-login=b"],
            &["__Host-quire-csrf=a; x=y; __Host-quire-csrf=b"],
        ] {
            assert_eq!(Cookies::read(&with(twice)).err(), Some(Refused::Cookies));
        }
    }

    #[test]
    fn no_script_reads_the_login_and_no_other_site_sends_it() {
        let mut headers = HeaderMap::new();
        set(&mut headers, &"sealed".to_owned().into(), "token", Duration::from_secs(60));
        let set: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        let flags = "SameSite=Strict; Secure; Path=/; Max-Age=60";
        assert_eq!(set[0], &format!("__Host-quire-login=sealed; HttpOnly; {flags}")[..]);
        assert_eq!(set[1], &format!("__Host-quire-csrf=token; {flags}")[..]);
        assert!(set.iter().all(|value| value.is_sensitive()));
        remove(&mut headers);
        let removed: Vec<_> = headers.get_all(header::SET_COOKIE).iter().skip(2).collect();
        assert_eq!(removed.len(), 2);
        assert!(removed.iter().all(|value| value.to_str().unwrap().ends_with("Max-Age=0")));
    }
}
