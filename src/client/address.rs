//! Where a server is, as its URL says.

use tokio_tungstenite::tungstenite::http::Uri;

use crate::client::Error;

/// The port of servers over TLS where their URL names none.
const TLS_PORT: u16 = 443;

/// Is a server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Host and port, as they stand in the URL.
    pub(crate) authority: String,
    /// The name or number of the machine, without brackets.
    pub(crate) host: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// Whether it is reached over TLS.
    pub(crate) secure: bool,
}

impl Address {
    /// Reads `http://host:port`, `https://host`, or the same with `ws` and `wss`; what follows
    /// the host and the port is left out.
    ///
    /// # Errors
    /// [`Error::Url`]; a password that stands in a URL is not repeated.
    pub(crate) fn read(url: &str) -> Result<Self, Error> {
        let bad = |detail: String| Err(Error::Url { detail });
        let Ok(uri) = url.parse::<Uri>() else {
            return bad(
                "this is no server's address: write https://host or http://host:port".into()
            );
        };
        let Some(authority) = uri.authority() else {
            return bad("a server's address begins with http:// or https:// and a host".into());
        };
        if authority.as_str().contains('@') {
            return bad("a server's address takes no user or password: show a token".into());
        }
        let secure = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => {
                return bad(format!(
                    "{url} does not begin with http://, https://, ws:// or wss://"
                ));
            }
        };
        let port = match authority.port_u16() {
            Some(port) => port,
            None if secure => TLS_PORT,
            None => return bad(format!("{url} has no port: write http://host:port")),
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        Ok(Self { authority: authority.as_str().to_owned(), host, port, secure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain_with_a_port_or_tls() {
        for (url, host, port, secure) in [
            ("http://h:1", "h", 1, false),
            ("ws://h:1/", "h", 1, false),
            ("http://h:1/d/doc", "h", 1, false),
            ("http://[::1]:8080", "::1", 8080, false),
            ("https://h", "h", 443, true),
            ("https://h:8443/", "h", 8443, true),
            ("wss://[::1]", "::1", 443, true),
        ] {
            let read = Address::read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((&*read.host, read.port, read.secure), (host, port, secure), "{url}");
        }
        for bad in ["h:1", "ftp://h:1", "http://h", "http://h:", "", "http://", "https://", "h"] {
            assert!(matches!(Address::read(bad), Err(Error::Url { .. })), "{bad}");
        }
        for bad in ["https://ada:secret@h", "ftp://ada:secret@h:1", "https://ada:secret@h h"] {
            let error = Address::read(bad).expect_err("it is refused").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
