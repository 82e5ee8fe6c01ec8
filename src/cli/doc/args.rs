//! The arguments of `quire doc`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use humantime_serde::re::humantime::parse_duration;
use reqwest::Url;

use crate::cli::config::Output;
use crate::cli::credentials::CredentialArgs;
use crate::types::{Author, DocId, Revision};

/// Holds the arguments of `quire doc`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A node
    #[arg(long, global = true, env = "QUIRE_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: Url,
    #[command(flatten)]
    pub(crate) credentials: CredentialArgs,
    /// How to print
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Names the verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Print a document's text
    Cat {
        /// Document
        doc: DocId,
        /// At this revision instead of the newest
        #[arg(long, value_parser = revision)]
        rev: Option<Revision>,
    },
    /// Make a document's text that of a file, as one new revision
    Import {
        /// Document
        doc: DocId,
        /// UTF-8 text; stdin if missing or -
        file: Option<PathBuf>,
        #[command(flatten)]
        by: By,
    },
    /// Write a document's text to a file
    Export {
        /// Document
        doc: DocId,
        /// Replaced if it is there; stdout if missing or -
        file: Option<PathBuf>,
        /// At this revision instead of the newest
        #[arg(long, value_parser = revision)]
        rev: Option<Revision>,
    },
    /// List revisions and named versions
    History {
        /// Document
        doc: DocId,
        /// First revision
        #[arg(long, value_parser = revision)]
        from: Option<Revision>,
        /// Last revision
        #[arg(long, value_parser = revision)]
        to: Option<Revision>,
    },
    /// Tell who wrote what, and when
    Blame {
        /// Document
        doc: DocId,
        /// At this revision instead of the newest
        #[arg(long, value_parser = revision)]
        rev: Option<Revision>,
    },
    /// Show what changed between two revisions
    Diff {
        /// Document
        doc: DocId,
        /// Earlier revision [default: the one before --to]
        #[arg(long, value_parser = revision)]
        from: Option<Revision>,
        /// Later revision [default: the newest]
        #[arg(long, value_parser = revision)]
        to: Option<Revision>,
    },
    /// Make the text of an earlier revision the newest, as a new revision
    Restore {
        /// Document
        doc: DocId,
        /// Earlier revision
        #[arg(long, value_parser = revision)]
        rev: Revision,
        #[command(flatten)]
        by: By,
    },
    /// Delete a document; `undelete` brings it back
    Delete {
        /// Document
        doc: DocId,
    },
    /// Bring a deleted document back
    Undelete {
        /// Document
        doc: DocId,
    },
    /// Give a revision a name
    Name {
        /// Document
        doc: DocId,
        /// The version's name
        name: String,
        /// This revision instead of the newest
        #[arg(long, value_parser = revision)]
        rev: Option<Revision>,
        #[command(flatten)]
        by: By,
    },
    /// Remove the history before a revision, for good
    Cut {
        /// Document
        doc: DocId,
        /// First revision that is kept
        #[arg(long, alias = "rev", value_name = "REV", value_parser = revision)]
        before: Revision,
        #[command(flatten)]
        by: By,
    },
    /// Remove the history before a revision also from log and checkpoints, and prove it
    Erase {
        /// Document
        doc: DocId,
        /// First revision that is kept
        #[arg(long, value_name = "REV", value_parser = revision)]
        before: Revision,
        /// How long to wait for it at most
        #[arg(long, value_name = "DURATION", default_value = "5m")]
        #[arg(value_parser = parse_duration)]
        wait_max: Duration,
        #[command(flatten)]
        by: By,
    },
    /// Replay a document's records and compare
    Verify {
        /// Document
        doc: DocId,
    },
}

/// Tells who writes.
#[derive(Debug, clap::Args)]
pub(crate) struct By {
    /// Who is the author
    #[arg(long, env = "USER", hide_env = true, default_value = "operator")]
    pub(crate) author: Author,
}

fn revision(text: &str) -> Result<Revision, std::num::ParseIntError> {
    text.parse().map(Revision)
}
