//! The arguments of the operators' commands.

use std::time::Duration;

use clap::Subcommand;
use humantime_serde::re::humantime::parse_duration;
use jiff::Timestamp;
use reqwest::Url;

use crate::access;
use crate::admin::model::Ask;
use crate::auth::TokenId;
use crate::cli::config::Output;

/// Names the commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Tell how the cluster is
    Status {
        #[command(flatten)]
        at: At,
    },
    /// List the nodes, with where they listen
    Nodes {
        #[command(flatten)]
        at: At,
    },
    /// List the shards: who serves each, and where it is to be
    Shards {
        /// Only those that this node serves or is to serve
        #[arg(long, value_name = "NODE")]
        of: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Tell which node a document is on
    Where {
        /// Document
        doc: String,
        #[command(flatten)]
        at: At,
    },
    /// Tell why a shard is where it is, and what would move it
    Explain {
        #[command(flatten)]
        subject: Subject,
        #[command(flatten)]
        at: At,
    },
    /// Bring a shard to a node, once
    Move {
        #[command(flatten)]
        way: Way,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Bring a shard to a node and keep it there
    Pin {
        #[command(flatten)]
        way: Way,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Let a pinned shard go where the placement wants it
    Unpin {
        #[command(flatten)]
        subject: Subject,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Give a node another share of the shards: 1 to 100, 10 is usual
    Weight {
        /// The node
        node: String,
        /// Its share, beside those of the others
        weight: u32,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Empty a node: its shards move to the others
    Drain {
        #[command(flatten)]
        drained: Drained,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Let a node take shards again
    Undrain {
        /// The node
        node: String,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Tell what is to move, or what else would if a command were given; nothing is changed
    Plan {
        #[command(subcommand)]
        tried: Option<Tried>,
        #[command(flatten)]
        at: At,
    },
    /// Give the command of a plan, if the plan still holds; without one: resume
    Apply {
        /// What `quire plan` printed as its id
        #[arg(value_name = "ID")]
        plan: u64,
        #[command(subcommand)]
        tried: Option<Tried>,
        /// Let so many moves run at once, of a node and in the whole cluster, from now on: as
        /// `quire limits --node MOVES --cluster MOVES`, right before the command. 1 to 100
        #[arg(long, value_name = "MOVES", global = true)]
        throttle: Option<u32>,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Tell how many moves run at once, or, with an option, change it
    Limits {
        /// In or out of one node, 1 to 100; as before without it
        #[arg(long, value_name = "MOVES")]
        node: Option<u32>,
        /// In the whole cluster, 1 to 1000; as before without it
        #[arg(long, value_name = "MOVES")]
        cluster: Option<u32>,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Let no move begin
    Pause {
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Let moves begin again
    Resume {
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
    /// Make tokens invalid before they expire, on all nodes
    Revoke {
        #[command(flatten)]
        revoked: Revoked,
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        at: At,
    },
    /// List what is revoked
    Revoked {
        /// What comes after this, as the end of the list before says it
        #[arg(long, value_name = "PLACE")]
        after: Option<String>,
        /// How much at once, 1 to 1000
        #[arg(long, value_name = "ENTRIES", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        at: At,
    },
    /// Tell what has happened, as far as the node remembers
    Events {
        /// Go on with what happens, until it is interrupted
        #[arg(long)]
        follow: bool,
        /// Only what came after this control offset
        #[arg(long, value_name = "OFFSET")]
        after: Option<u64>,
        #[command(flatten)]
        at: At,
    },
}

/// Names a shard.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Subject {
    /// A shard's number or a document; doc:7 is the document 7
    #[arg(value_name = "SHARD|DOC")]
    pub(crate) what: String,
}

/// Names a shard and where it is to be.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Way {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// The node
    #[arg(long, value_name = "NODE")]
    pub(crate) to: String,
}

/// Names a node that is to be emptied, and in which time.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Drained {
    /// The node
    node: String,
    /// Spread the moves over this time, which begins when the command is given: 10m. Without it,
    /// and after it, they are as fast as the limits allow
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    deadline: Option<Duration>,
}

/// Names tokens.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(crate) struct Revoked {
    /// The id of one token, its claim jti
    #[arg(long, value_name = "ID", required_unless_present = "subject")]
    #[arg(conflicts_with_all = ["subject", "issued_up_to"])]
    jti: Option<TokenId>,
    /// Whose tokens, all of them: their claim sub
    #[arg(long, value_name = "NAME")]
    subject: Option<access::Subject>,
    /// Of a subject, only those issued up to this time: 2026-11-28T14:00:00Z [default: all that
    /// are good now]
    #[arg(long, value_name = "TIME")]
    issued_up_to: Option<Timestamp>,
    /// When the last of them has expired anyway [default: when all have that are good now]
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl Revoked {
    /// Returns the command; none where it names no tokens.
    pub(crate) fn ask(self) -> Option<Ask> {
        let Self { jti, subject, issued_up_to, until } = self;
        let until = until.map(|time| time.to_string());
        if let Some(jti) = jti {
            return Some(Ask::RevokeToken { jti: jti.to_string(), until });
        }
        let (subject, issued) = (subject?.to_string(), issued_up_to.map(|time| time.to_string()));
        Some(Ask::RevokeSubject { subject, issued_up_to: issued, until })
    }
}

/// Names what can be tried in a plan.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Tried {
    /// Bring a shard to a node, once
    Move {
        #[command(flatten)]
        way: Way,
    },
    /// Bring a shard to a node and keep it there
    Pin {
        #[command(flatten)]
        way: Way,
    },
    /// Let a pinned shard go where the placement wants it
    Unpin {
        #[command(flatten)]
        subject: Subject,
    },
    /// Give a node another share of the shards
    Weight {
        /// The node
        node: String,
        /// Its share, beside those of the others
        weight: u32,
    },
    /// Empty a node
    Drain {
        #[command(flatten)]
        drained: Drained,
    },
    /// Let a node take shards again
    Undrain {
        /// The node
        node: String,
    },
}

impl From<Tried> for Ask {
    fn from(tried: Tried) -> Self {
        match tried {
            Tried::Move { way } => Self::Move { what: way.subject.what, to: way.to },
            Tried::Pin { way } => Self::Pin { what: way.subject.what, node: way.to },
            Tried::Unpin { subject } => Self::Unpin { what: subject.what },
            Tried::Weight { node, weight } => Self::Weight { node, weight },
            Tried::Drain { drained: Drained { node, deadline } } => {
                let millis = |within: Duration| u64::try_from(within.as_millis());
                let within_ms = deadline.map(|within| millis(within).unwrap_or(u64::MAX));
                Self::Drain { node, within_ms }
            }
            Tried::Undrain { node } => Self::Undrain { node },
        }
    }
}

/// Says which node is asked, and how the answer is printed.
#[derive(Debug, clap::Args)]
pub(crate) struct At {
    /// The admin port of any node of the cluster
    #[arg(long, visible_alias = "admin", global = true, env = "QUIRE_ADMIN_URL")]
    #[arg(default_value = "http://127.0.0.1:8081")]
    pub(crate) url: Url,
    /// How to print
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// The same as --output json
    #[arg(long, global = true)]
    json: bool,
}

impl At {
    /// Tells how to print.
    pub(crate) fn output(&self) -> Output {
        if self.json { Output::Json } else { self.output }
    }
}

/// Says who gives a command, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Who {
    /// Who gives the command: everybody can see it
    #[arg(long = "as", value_name = "NAME", global = true)]
    #[arg(env = "USER", hide_env = true, default_value = "operator")]
    pub(crate) name: String,
    /// Why: everybody can see it
    #[arg(long, visible_alias = "reason", value_name = "TEXT", global = true, default_value = "")]
    #[arg(hide_default_value = true)]
    pub(crate) why: String,
}

/// Says who gives a command, why, and whether to wait until it is done.
#[derive(Debug, clap::Args)]
pub(crate) struct By {
    #[command(flatten)]
    pub(crate) who: Who,
    /// Wait until what moves because of it has moved
    #[arg(long, global = true)]
    pub(crate) wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", global = true, value_parser = parse_duration)]
    #[arg(default_value = "10m")]
    pub(crate) wait_max: Duration,
}
