//! What the admin port takes and gives, as JSON; the command line reads the same types.

use serde::{Deserialize, Serialize};

/// What is said of a refusal: `application/problem+json` (RFC 9457), with the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// The reason.
    pub detail: String,
    /// What to do next.
    pub next: String,
}

/// The state of the cluster, as one node has read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node that tells.
    pub told_by: String,
    /// Whether that node does not hear of itself any more: what it tells may be old.
    pub suspended: bool,
    /// The cluster's id.
    pub cluster: String,
    /// The last record of the control topic that is taken in.
    pub at: u64,
    /// A hash of the state: the same on every node at the same record.
    pub fingerprint: String,
    /// The version of the rules in force.
    pub rules: u16,
    /// How many records of the control topic that node could not read since it started.
    pub unreadable: u64,
    /// How many shards there are.
    pub shards: u32,
    /// How many have an owner.
    pub owned: u32,
    /// How many are on the way.
    pub moving: u32,
    /// How many are to move and have not begun to.
    pub waiting: u32,
    /// How many are pinned.
    pub pins: u32,
    /// Whether an operator has stopped moves.
    pub paused: bool,
    /// Whether slow acknowledgements have stopped moves.
    pub guarded: bool,
    /// How many moves run at once.
    pub limits: Limits,
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// How many moves run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// In or out of one node.
    pub per_node: u32,
    /// In all.
    pub cluster: u32,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub node: String,
    /// `up`, `down` (others hold it for dead) or `left`.
    pub status: String,
    /// Whether it is being emptied.
    pub draining: bool,
    /// When it is to be empty.
    pub deadline: Option<String>,
    /// Its share of the shards.
    pub weight: u32,
    /// The shards that it owns.
    pub shards: u32,
    /// The shards that are to be on it.
    pub placed: u32,
    /// Its sessions, as it said last.
    pub sessions: Option<u32>,
    /// Its open documents, as it said last.
    pub documents: Option<u32>,
    /// The 99th percentile of its acknowledgements, as it said last; of few, how long the oldest
    /// batch has waited for one. None where nothing is known.
    pub ack_p99_ms: Option<u64>,
    /// Who holds it for dead.
    pub votes: Vec<String>,
    /// Its start.
    pub boot: u64,
    /// When it joined.
    pub joined_at: String,
    /// The program's version.
    pub software: String,
    /// The least and the greatest version of the rules that it can follow.
    pub rules: (u16, u16),
    /// The least and the greatest version of the messages between nodes that it speaks.
    pub speaks: (u16, u16),
    /// Where its clients' port is.
    pub client: String,
    /// Where its peer port is.
    pub peer: String,
    /// Where its admin port is, empty where it has none.
    pub admin: String,
}

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Its number.
    pub shard: u32,
    /// `served`, `to move`, `moving`, or `unowned`.
    pub state: String,
    /// Who owns it.
    pub owner: Option<String>,
    /// The ownership.
    pub epoch: Option<u64>,
    /// Where it is to be.
    pub placed: Option<String>,
    /// The node that it is pinned to.
    pub pinned: Option<String>,
    /// Where it is on the way to.
    pub moving_to: Option<String>,
    /// How many moves of it were undone since it last arrived.
    pub undone: u32,
}

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Where {
    /// The document.
    pub doc: String,
    /// Its shard.
    pub shard: u32,
    /// Who owns that.
    pub owner: Option<String>,
    /// Where it is to be.
    pub placed: Option<String>,
    /// The owner's port for clients.
    pub client: Option<String>,
    /// The last revision; none where the owner does not answer.
    pub rev: Option<u64>,
}

/// Why a shard is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The document that was asked about.
    pub doc: Option<String>,
    /// Its last revision; none where its owner does not answer.
    pub rev: Option<u64>,
    /// The shard.
    pub shard: Shard,
    /// Why it is there, in sentences.
    pub because: Vec<String>,
    /// What would move it, in sentences.
    pub moved_by: Vec<String>,
}

/// What would move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The control offset that it was made at: what `apply` is given.
    pub id: u64,
    /// The command it is about, in words; none for what is to move already.
    pub of: Option<String>,
    /// What would move, beside what is to move already.
    pub moves: Vec<Move>,
    /// Bytes of log behind them, as far as their owners told.
    pub bytes: u64,
    /// Sessions in their documents, as far as their owners told.
    pub sessions: u64,
    /// How many owners did not tell.
    pub untold: u32,
    /// How long clients of a shard wait at most: the median of the moves that the node which was
    /// asked has seen, from the record that begins one to the one that ends it.
    pub expected_pause_ms: Option<u64>,
    /// How many moves run at once.
    pub limits: Limits,
    /// What keeps moves from beginning.
    pub notes: Vec<String>,
}

/// A shard that is to move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The shard.
    pub shard: u32,
    /// Its owner.
    pub from: String,
    /// Where it is to be.
    pub to: String,
    /// `pin`, `move`, `drain` or `balance`.
    pub why: String,
    /// Whether it has begun.
    pub begun: bool,
    /// Bytes of log that no checkpoint covers.
    pub bytes: Option<u64>,
    /// Documents in memory.
    pub documents: Option<u32>,
    /// Sessions in them.
    pub sessions: Option<u32>,
}

/// How much a shard carries, as its owner tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burden {
    /// The shard.
    pub shard: u32,
    /// Bytes of log that no checkpoint covers.
    pub bytes: u64,
    /// Documents in memory.
    pub documents: u32,
    /// Sessions in them.
    pub sessions: u32,
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Brings a shard, or the one of a document, to a node, once.
    Move {
        /// The shard or document.
        what: String,
        /// The node.
        to: String,
    },
    /// Keeps a shard on a node.
    Pin {
        /// The shard or document.
        what: String,
        /// The node.
        node: String,
    },
    /// Lets a shard go where the placement wants it.
    Unpin {
        /// The shard or document.
        what: String,
    },
    /// Gives a node another share.
    Weight {
        /// The node.
        node: String,
        /// Its share.
        weight: u32,
    },
    /// Empties a node.
    Drain {
        /// The node.
        node: String,
        /// In which time it is to be empty, in milliseconds.
        within_ms: Option<u64>,
    },
    /// Lets a node take shards again.
    Undrain {
        /// The node.
        node: String,
    },
    /// Bounds how many moves run at once.
    Limits {
        /// In or out of one node; as before if missing.
        per_node: Option<u32>,
        /// In all; as before if missing.
        cluster: Option<u32>,
    },
    /// Lets no move begin.
    Pause,
    /// Lets moves begin again.
    Resume,
    /// Makes a token invalid.
    RevokeToken {
        /// Its id.
        jti: String,
        /// When it has expired, RFC 3339; if missing, when every token has that is good now.
        #[serde(default)]
        until: Option<String>,
    },
    /// Makes the tokens of a subject invalid.
    RevokeSubject {
        /// Who.
        subject: String,
        /// Those issued up to this time, RFC 3339; if missing, all that are good now.
        #[serde(default)]
        issued_up_to: Option<String>,
        /// When the last of them has expired; if missing, when every token has that is good now.
        #[serde(default)]
        until: Option<String>,
    },
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Who gives it.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// The id of the plan that it was made for: refused where the placement has changed since.
    #[serde(default)]
    pub expected: Option<u64>,
    /// What.
    pub ask: Ask,
}

/// A dry run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dry {
    /// Of what; of nothing: what is to move already.
    pub ask: Option<Ask>,
}

/// What became of a command that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The last control offset before the command: events after it have all that followed.
    pub before: u64,
    /// The command, in words.
    pub done: String,
    /// What moves because of it.
    pub moves: Vec<Move>,
    /// What keeps them from beginning.
    pub notes: Vec<String>,
}

/// Which events are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Those after this control offset; all that are kept if missing.
    pub after: Option<u64>,
    /// Whether those that come are pushed.
    pub follow: bool,
}

/// Which shards are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chosen {
    /// Those owned by this node or placed on it.
    pub node: Option<String>,
}

/// Which part of what is revoked is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Part {
    /// What comes after this, as [`Listed::next`] says it.
    pub after: Option<String>,
    /// How much at most: 1 to 1,000; 100 if missing.
    pub limit: Option<usize>,
}

/// What is revoked, a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// How many entries there are in all.
    pub count: usize,
    /// How much room they take.
    pub bytes: usize,
    /// How much room there is.
    pub bytes_max: usize,
    /// The entries: tokens by their ids, then subjects.
    pub revoked: Vec<Revoked>,
    /// What to ask for next; none at the end.
    pub next: Option<String>,
}

/// A token, or a subject, that is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Of a subject, up to when its tokens were issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_up_to: Option<String>,
    /// Until when the entry is kept for sure.
    pub until: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// The control offset of its record; on a node that is alone, its number since the start.
    pub at: u64,
    /// When the node that tells read it.
    pub time: String,
    /// What kind: see the table of events in docs/OPERATIONS.md.
    pub kind: String,
    /// It, in words.
    pub text: String,
    /// The node that it is about; of a move, where the shard goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The shard that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// Of a move, where the shard was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Of a command, who gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Of a command, why; of a move that was undone, what was in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Of a command, when it was given, by the clock of the node that took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_at: Option<String>,
    /// Of a placement, the shards that are to be elsewhere now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub placed: Vec<Placed>,
}

/// Where a shard is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The shard.
    pub shard: u32,
    /// The node, none while none is up.
    pub node: Option<String>,
}
