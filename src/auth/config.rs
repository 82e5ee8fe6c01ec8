//! What can be set of tokens and logins; not how it is read or checked (`config` does that).

use std::time::Duration;

use serde::Deserialize;

use crate::auth::token::Policy;

/// Says whom a node lets in, section `[auth]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Whether everybody may do everything; default false: so it is on loopback without keys.
    pub open: bool,
    /// Whether that may be so where strangers reach the node; default false.
    pub open_public: bool,
    /// Files of keys that sign tokens, `FILE` or `KID=FILE`, with commas between; none by default.
    pub keys: String,
    /// Where an issuer has its keys (JWKS), `https://` or on loopback `http://`; none by default.
    pub jwks_url: String,
    /// The file of the secret that seals cookies, at least 32 bytes; none by default: a node that
    /// is alone makes one in its data folder.
    pub secret_file: String,
    /// The file of the secret before, while it is being replaced; none by default.
    pub previous_secret_file: String,
    /// The names of this server in tokens, with commas between; default `quire`.
    pub audiences: String,
    /// Who may issue tokens, with commas between; default empty: whoever has a key.
    pub issuers: String,
    /// How far the clocks of issuer and server may be apart: 0 s to 5 m; default 30 s.
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
    /// How far away a token's end may be: 1 m to 366 d; default 31 d.
    #[serde(with = "humantime_serde")]
    pub lifetime_max: Duration,
    /// For how long a login may go unused: 1 m to 31 d; default 12 h.
    #[serde(with = "humantime_serde")]
    pub idle_max: Duration,
    /// Origins of pages that may use this server beside its own, `https://docs.example`, with
    /// commas between; none by default.
    pub origins: String,
    /// Tickets that wait to be used: 1 to 1,000,000; default 10,000.
    pub tickets_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            open: false,
            open_public: false,
            keys: String::new(),
            jwks_url: String::new(),
            secret_file: String::new(),
            previous_secret_file: String::new(),
            audiences: "quire".to_owned(),
            issuers: String::new(),
            leeway: Duration::from_secs(30),
            lifetime_max: Duration::from_hours(31 * 24),
            idle_max: Duration::from_hours(12),
            origins: String::new(),
            tickets_max: 10_000,
        }
    }
}

impl Config {
    /// Tells whether any key is named that a token could be signed with.
    pub fn has_keys(&self) -> bool {
        !self.keys.trim().is_empty() || !self.jwks_url.is_empty()
    }

    /// Returns which tokens are for this server.
    pub fn policy(&self) -> Policy {
        Policy {
            audiences: listed(&self.audiences).map(str::to_owned).collect(),
            issuers: listed(&self.issuers).map(str::to_owned).collect(),
            leeway: self.leeway,
            lifetime_max: self.lifetime_max,
        }
    }
}

/// Splits a list that is written with commas.
pub fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty())
}
