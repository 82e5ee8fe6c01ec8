//! Which pages may use this server: those that it served itself, and those of the origins that its
//! operator lists. Who is no browser says nothing of this, and is judged by what it holds alone.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::edge::Remote;
use crate::edge::doors::Refused;

/// Says where a request comes from, as far as the browser tells (Fetch Metadata).
const FETCH_SITE: &str = "sec-fetch-site";
const FETCH_MODE: &str = "sec-fetch-mode";

/// Lists the origins whose pages may ask, beside this server's own.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    listed: Vec<HeaderValue>,
    only_here: bool,
}

/// Tells that a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin of pages: write it as https://docs.example, without a path")]
pub struct BadOrigin(String);

impl Origins {
    /// Reads a list.
    ///
    /// # Errors
    /// [`BadOrigin`].
    pub fn read<'a>(listed: impl Iterator<Item = &'a str>) -> Result<Self, BadOrigin> {
        let read = |text: &str| {
            let bad = || BadOrigin(text.chars().take(100).collect());
            let uri: Uri = text.parse().map_err(|_| bad())?;
            let web = matches!(uri.scheme_str(), Some("http" | "https"));
            let bare = uri.path_and_query().is_none_or(|path| path == "/") && !text.ends_with('/');
            let named = uri.authority().is_some_and(|name| !name.as_str().contains('@'));
            if !(web && bare && named) {
                return Err(bad());
            }
            text.to_ascii_lowercase().parse().map_err(|_| bad())
        };
        let listed = listed.map(read).collect::<Result<_, _>>()?;
        Ok(Self { listed, only_here: false })
    }

    /// Has requests refused that do not name this machine: a page of a name that somebody lets
    /// point here is one of this server's own, as far as its browser knows (DNS rebinding).
    #[must_use]
    pub fn only_here(self) -> Self {
        Self { only_here: true, ..self }
    }

    /// Returns the list.
    pub(in crate::edge) fn listed(&self) -> &[HeaderValue] {
        &self.listed
    }

    /// Refuses what a page of another origin asks for; a link on it may lead here.
    ///
    /// # Errors
    /// [`Refused::Origin`].
    pub(in crate::edge) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        remote: Option<&Remote>,
    ) -> Result<(), Refused> {
        let host = host(uri, headers);
        if self.only_here && !host.is_some_and(is_here) {
            return Err(Refused::Host);
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let listed = self.listed.contains(origin);
            let own = is_own(origin, host, remote);
            return if listed || own { Ok(()) } else { Err(Refused::Origin) };
        }
        let said = |name| headers.get(name).map(HeaderValue::as_bytes);
        match said(FETCH_SITE) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            // A link or an address, which changes nothing and brings no login.
            Some(_) if said(FETCH_MODE) == Some(b"navigate") && *method == Method::GET => Ok(()),
            Some(_) => Err(Refused::Origin),
        }
    }
}

/// Tells whether an origin is that of the server which was asked. A request that came over TLS is
/// one of an https page: whoever is in the line can put a page at http. Of one that did not, it is
/// not known what the browser used: a proxy may have taken TLS away.
fn is_own(origin: &HeaderValue, host: Option<&str>, remote: Option<&Remote>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let (Some((scheme, authority)), Some(host)) = (origin, host) else { return false };
    let secure = remote.is_some_and(|remote| remote.secure);
    (scheme == "https" || scheme == "http" && !secure) && authority.eq_ignore_ascii_case(host)
}

/// Returns the host that was asked, and its port.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 has it in the address.
    host.or(uri.authority().map(|authority| authority.as_str()))
}

/// Tells whether a host is this machine, whoever answers for names.
fn is_here(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
    let loopback = name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    loopback || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &[(&'static str, &str)], passes: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost:8080"));
        for (name, value) in said {
            headers.insert(*name, value.parse().unwrap());
        }
        let origins = Origins::read(["https://docs.example"].into_iter()).unwrap();
        let checked = origins.check(&Method::GET, &Uri::from_static("/v1"), &headers, None);
        assert_eq!(checked.is_ok(), passes, "{said:?}");
    }

    #[test]
    fn a_page_is_of_the_server_that_it_names_or_listed() {
        check(&[], true);
        check(&[("origin", "http://localhost:8080")], true);
        check(&[("origin", "https://LOCALHOST:8080")], true);
        check(&[("origin", "https://docs.example")], true);
        for other in
            ["http://docs.example", "https://docs.example.evil", "http://localhost", "null"]
        {
            check(&[("origin", other)], false);
        }
    }

    #[test]
    fn a_page_without_tls_is_none_of_a_server_with_it() {
        let over = |secure| Some(Remote { address: [192, 0, 2, 1].into(), secure });
        let (tls, plain) = (over(true), over(false));
        for (origin, remote, passes) in [
            ("https://docs.example:8443", tls, true),
            ("http://docs.example:8443", tls, false),
            ("https://docs.example:8443", plain, true),
            ("http://docs.example:8443", plain, true),
            ("http://docs.example:8443", None, true),
            ("ftp://docs.example:8443", plain, false),
            ("HTTP://docs.example:8443", tls, false),
            ("://docs.example:8443", tls, false),
            ("https://docs.example", tls, false),
            ("https://other.example:8443", tls, false),
            ("http://listed.example", tls, true),
            ("https://listed.example", tls, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("docs.example:8443"));
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            let origins = Origins::read(["http://listed.example"].into_iter()).unwrap();
            let uri = Uri::from_static("/v1");
            let checked = origins.check(&Method::POST, &uri, &headers, remote.as_ref());
            let expected = if passes { Ok(()) } else { Err(Refused::Origin) };
            assert_eq!(checked, expected, "{origin} {remote:?}");
        }
    }

    #[test]
    fn what_the_browser_says_of_the_page_counts() {
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "none")], true);
        for site in ["cross-site", "same-site", "?"] {
            check(&[("sec-fetch-site", site)], false);
            check(&[("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")], false);
            check(&[("sec-fetch-site", site), ("sec-fetch-mode", "navigate")], true);
        }
        let mut headers = HeaderMap::new();
        headers.insert(FETCH_SITE, HeaderValue::from_static("cross-site"));
        headers.insert(FETCH_MODE, HeaderValue::from_static("navigate"));
        let form = Origins::default().check(&Method::POST, &Uri::from_static("/"), &headers, None);
        assert_eq!(form, Err(Refused::Origin), "a form on another page");
    }

    #[test]
    fn the_host_of_http_2_is_in_the_address() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static("https://docs.example"));
        let check = |uri| Origins::default().check(&Method::GET, &uri, &headers, None);
        assert_eq!(check(Uri::from_static("https://docs.example/v1")), Ok(()));
        assert_eq!(check(Uri::from_static("https://other.example/v1")), Err(Refused::Origin));
    }

    #[test]
    fn a_name_that_points_here_is_not_this_machine() {
        for (host, passes) in [
            ("127.0.0.1:8080", true),
            ("127.9.9.9", true),
            ("[::1]:8080", true),
            ("LocalHost:8080", true),
            ("quire.localhost", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            let origins = Origins::default().only_here();
            let checked = origins.check(&Method::GET, &Uri::from_static("/v1"), &headers, None);
            assert_eq!(checked, if passes { Ok(()) } else { Err(Refused::Host) }, "{host:?}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        let bad =
            ["docs.example", "https://", "https://a/b", "https://a/", "ftp://a", "https://b@a"];
        for bad in bad {
            assert!(Origins::read([bad].into_iter()).is_err(), "{bad:?}");
        }
        let read = Origins::read(["https://A.example:8443", "http://[::1]:80"].into_iter());
        assert_eq!(read.unwrap().listed(), ["https://a.example:8443", "http://[::1]:80"]);
    }
}
