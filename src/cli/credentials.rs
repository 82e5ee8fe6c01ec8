//! What the commands that are clients show to servers. A token is named by its file and never an
//! argument, which other users of the machine see and a shell remembers.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::client::{Credentials, Error, Tls, Token};
use crate::wire::ErrorCode;

/// Says how to show a token.
pub(crate) const HINT: &str =
    "show a token that is good for it: --token-file FILE, or QUIRE_TOKEN_FILE";

/// Holds the arguments that name files of credentials.
#[derive(Debug, clap::Args)]
pub(crate) struct CredentialArgs {
    /// File with the token to show (see `quire token issue`); read anew for each connection
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "QUIRE_TOKEN_FILE",
        hide_env_values = true
    )]
    token_file: Option<PathBuf>,
    /// CAs (PEM) to believe, of servers over https://, in the place of the system's
    #[arg(long, global = true, value_name = "FILE", env = "QUIRE_CA_FILE")]
    ca_file: Option<PathBuf>,
}

impl CredentialArgs {
    /// Returns what is shown to the servers at `urls`. Warns where it can be read on the way.
    pub(crate) fn open<'a>(
        &self,
        urls: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Credentials> {
        let tls = match &self.ca_file {
            Some(file) => Tls::trusting(file)?,
            None => Tls::default(),
        };
        let token = self.token_file.clone().map(Token::File);
        if let (Some(_), Some(url)) = (&token, urls.into_iter().find(|url| is_readable(url))) {
            eprintln!("quire: whoever is between here and {url} can read the token: use https://");
        }
        Ok(Credentials { token, tls })
    }
}

/// Tells whether what goes to a server leaves this machine in the clear.
fn is_readable(url: &str) -> bool {
    let Ok(url) = url.parse::<reqwest::Url>() else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
    matches!(url.scheme(), "http" | "ws") && !here
}

/// Tells whether a server wants to know who asks.
pub(crate) fn wants_token(error: &anyhow::Error) -> bool {
    let unknown = ErrorCode::Unauthenticated.close_code();
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref())
        .any(|error| matches!(error, Error::Refused { close_code, .. } if *close_code == unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_in_the_clear_is_known() {
        for url in ["http://h:1", "ws://10.0.0.1:1", "http://[2001:db8::1]:1"] {
            assert!(is_readable(url), "{url}");
        }
        for url in
            ["https://h", "wss://h", "http://localhost:1", "http://[::1]:1", "http://127.0.0.2:1"]
        {
            assert!(!is_readable(url), "{url}");
        }
    }
}
