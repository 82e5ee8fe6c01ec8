//! What can be set of the admin port; not how it is read or checked (`config` does that).

use serde::Deserialize;

/// Holds the limits of the admin port, section `[admin]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Whether the port may be bound to an address that is neither loopback nor private; default
    /// false.
    pub allow_public: bool,
    /// Names that the port is asked by, beside addresses, names without a dot and the name that
    /// the node tells others; with commas between. A page elsewhere could make any other name point
    /// here.
    pub hosts: String,
    /// Events kept for those who ask later, and as many commands: 100 to 100,000; default 1,000.
    pub events_kept: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { allow_public: false, hosts: String::new(), events_kept: 1_000 }
    }
}
