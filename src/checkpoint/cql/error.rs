//! Why checkpoints in CQL cannot be used; each says what to do about it.

use std::path::PathBuf;

use crate::checkpoint::error::StoreError;

/// Tells why a store in CQL could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No server answers.
    #[error("no CQL server answers at {hosts} ({reason}): start them, or correct --checkpoints")]
    Unreachable {
        /// Where they were looked for.
        hosts: String,
        /// What the driver says.
        reason: String,
    },
    /// The servers ask who is there, and nothing is set to say.
    #[error("the CQL servers at {hosts} ask for a log-in: set cql.user and cql.password-file")]
    NoLogIn {
        /// Where they are.
        hosts: String,
    },
    /// The servers do not take the name and the password.
    #[error(
        "the CQL servers at {hosts} do not let {user} in ({reason}): correct cql.user, or the \
         password in cql.password-file"
    )]
    LogIn {
        /// Where they are.
        hosts: String,
        /// The name.
        user: String,
        /// What the server says.
        reason: String,
    },
    /// The keyspace or its tables could not be made or read.
    #[error(
        "the keyspace {keyspace} cannot be used ({reason}): check the rights and the replication \
         factor, see docs/OPERATIONS.md"
    )]
    Keyspace {
        /// The keyspace.
        keyspace: String,
        /// What the server says.
        reason: String,
    },
    /// A newer program made the tables.
    #[error(
        "the keyspace {keyspace} has format {found}, this program knows {known}: run a newer one"
    )]
    Newer {
        /// The keyspace.
        keyspace: String,
        /// Its format.
        found: i64,
        /// The newest format that can be read.
        known: i64,
    },
    /// The certificates cannot be used.
    #[error("the certificates in {path} cannot be used ({reason}): correct cql.tls-ca-file")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The password cannot be read.
    #[error("the password file {path} cannot be read ({source}): correct cql.password-file")]
    Password {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Wraps what the driver says of a request: it may have been carried out all the same.
pub(crate) fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed { reason: error.to_string().into() }
}
