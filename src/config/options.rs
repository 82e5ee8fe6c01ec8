//! Every option: its key, what it may be set to, its default and its meaning.
//!
//! The defaults are spelled here for people and for the file; the values that the modules use are
//! in their own `Config`s. A test holds the two equal.

use std::time::Duration;

use bytesize::ByteSize;

use crate::config::kind::Kind;

/// Describes one option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// Its key, with its section before a dot.
    pub(crate) key: &'static str,
    /// What it may be set to.
    pub(crate) kind: Kind,
    /// Its default, as written in the file.
    pub(crate) default: &'static str,
    /// Its meaning, one or two sentences.
    pub(crate) meaning: &'static str,
}

/// Describes a section: its name and its meaning.
pub(crate) const SECTIONS: &[(&str, &str)] = &[
    ("document", "Limits and times of one document."),
    ("shard", "Limits of one shard of the log."),
    ("edge", "Limits and times of the network edge."),
    ("auth", "Whom the node lets in."),
    ("purge", "Which caches are told when the page of a public document changes."),
    ("cluster", "What the node says of itself in a cluster."),
    ("admin", "Limits of the operators' port."),
    ("relay", "Limits and times of links between nodes."),
    ("kafka", "How Kafka is used, where the log is there."),
    ("cql", "How CQL is used, where checkpoints are there."),
    ("telemetry", "Logs of the process, written to stderr."),
];

const ENGINES: &[&str] = &["embedded", "memory"];

/// Returns the option of a key.
pub(crate) fn find(key: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.key == key)
}

const fn opt(key: &'static str, default: &'static str, kind: Kind, meaning: &'static str) -> Opt {
    Opt { key, kind, default, meaning }
}

const fn count(unit: &'static str, min: u64, max: u64) -> Kind {
    Kind::Count { unit, min, max }
}

const fn kib(min: u64, max: u64) -> Kind {
    Kind::Size { min: ByteSize::kib(min), max: ByteSize::kib(max) }
}

const fn millis(min: u64, max: u64) -> Kind {
    Kind::Span { min: Duration::from_millis(min), max: Duration::from_millis(max) }
}

const MIB: u64 = 1 << 10;
const GIB: u64 = 1 << 20;
const TIB: u64 = 1 << 30;
const S: u64 = 1_000;
const M: u64 = 60 * S;
const H: u64 = 60 * M;
const D: u64 = 24 * H;

/// Lists every option, in the order of the file.
#[rustfmt::skip] // one table: a row is a key, its default, its kind and its meaning
pub(crate) const OPTIONS: &[Opt] = &[
    opt("node", r#""quire-1""#, Kind::Name,
        "The node's name."),
    opt("data", r#""./data""#, Kind::Folder,
        "The folder of the embedded log and checkpoints; one process at a time has it."),
    opt("listen", r#""127.0.0.1:8080""#, Kind::Address,
        "Where HTTP and WebSocket are served; port 0 takes any free one."),
    opt("peer-listen", r#""""#, Kind::AddressOrNone,
        "Where other nodes of a cluster are served; empty: the node is alone and owns all shards."),
    opt("admin-listen", r#""""#, Kind::AddressOrNone,
        "Where operators are served, without log-in; empty: nowhere. Loopback or a private \
         address, unless admin.allow-public is set."),
    opt("log", r#""embedded""#, Kind::Engine(ENGINES, "kafka://"),
        "Where the log is kept: the data folder, memory (gone with the process), or Kafka."),
    opt("checkpoints", r#""embedded""#, Kind::Engine(ENGINES, "cql://"),
        "Where checkpoints are kept: the data folder, memory (gone with the process), or CQL."),
    opt("shards", "0", count("shards", 0, 65_536),
        "Shards of the log, fixed when it is made: at most 4096 in the data folder, 8192 in a \
         cluster. 0: those that it has; a new one gets 16, in Kafka 256 partitions."),
    opt("adopt-log", "false", Kind::Switch,
        "Whether checkpoints of another log are served, without what only that log had."),

    opt("document.window-revisions", "5000", count("revisions", 1, 1_000_000),
        "The last revisions kept in memory, for rebase and for clients that resume."),
    opt("document.window-bytes", r#""1MiB""#, kib(4, GIB),
        "Bytes of those revisions at most."),
    opt("document.frames-in-flight", "2", count("frames", 1, 64),
        "Frames of one document on their way to the log; later batches join the next frame."),
    opt("document.frame-bytes-max", r#""1MiB""#, kib(4, 16 * MIB),
        "Bytes of one frame in the log."),
    opt("document.queue-bytes", r#""4MiB""#, kib(64, GIB),
        "Bytes of batches that may wait for one document; above, its writers are held back."),
    opt("document.queue-bytes-total", r#""256MiB""#, kib(MIB, 4 * GIB),
        "Bytes of batches that may wait for all documents of the node."),
    opt("document.idle-after", r#""60s""#, millis(S, D),
        "Time without connections after which a document is checkpointed and leaves memory."),
    opt("document.presence-interval", r#""150ms""#, millis(20, 10 * S),
        "Time between two presence messages of a document."),
    opt("document.participants-listed-max", "100", count("participants", 1, 10_000),
        "Participants listed in presence; above, a sample and their number."),
    opt("document.sessions-max", "10000", count("sessions", 1, 10_000_000),
        "Sessions at hand, so that no batch is applied twice; above, the oldest go first."),
    opt("document.session-expiry", r#""7d""#, millis(M, 365 * D),
        "Time after its last batch for which a session is at hand; later, history is searched."),
    opt("document.segment-bytes-min", r#""64KiB""#, kib(1, GIB),
        "Bytes of stored operations below which a segment of history is not sealed."),
    opt("document.doc-chars-max", "10000000", count("characters", 1, 1_000_000_000),
        "Characters (Unicode scalar values) of a document."),
    opt("document.checkpoint-log-bytes-min", r#""2MiB""#, kib(4, GIB),
        "Bytes of log since a document's last checkpoint below which none is due."),
    opt("document.checkpoint-log-factor", "16", count("times", 1, 1_000),
        "The next is due when they exceed the last checkpoint's size this many times, too."),
    opt("document.tick-subscribers", "100", count("subscribers", 1, 1_000_000),
        "Subscribers of a document above which revisions are sent in ticks, not one by one."),
    opt("document.tick", r#""15ms""#, millis(1, S),
        "Length of such a tick."),
    opt("document.tick-large-subscribers", "1000", count("subscribers", 1, 1_000_000),
        "Subscribers of a document above which the longer tick is used."),
    opt("document.tick-large", r#""75ms""#, millis(1, 5 * S),
        "Length of the longer tick."),
    opt("document.viewer-tick", r#""250ms""#, millis(1, 10 * S),
        "Time between two messages of merged revisions to viewers."),

    opt("shard.documents-open-max", "20000", count("documents", 1, 10_000_000),
        "Documents of one shard in memory at once."),
    opt("shard.tail-bytes-max", r#""16MiB""#, kib(64, TIB),
        "Bytes of log that no checkpoint covers; above, the documents holding them are written."),
    opt("shard.tail-bytes-limit", r#""4GiB""#, kib(MIB, 16 * TIB),
        "Bytes of log of all shards that no checkpoint covers; above, new edits are put off."),
    opt("shard.tail-age-max", r#""10m""#, millis(S, 30 * D),
        "Age of the oldest record that no checkpoint covers; above, its document is written."),
    opt("shard.trim-margin", "1000", count("records", 0, 1_000_000_000),
        "Records that are kept although a checkpoint covers them."),
    opt("shard.trim-delay", r#""30s""#, millis(0, D),
        "Age of a low-water mark below which the log is trimmed: more than the store may forget."),
    opt("shard.recovery-read-bytes", r#""4MiB""#, kib(64, GIB),
        "Bytes of one read of the log while a shard recovers."),

    opt("edge.hello-timeout", r#""5s""#, millis(100, M),
        "Time for a client's first message."),
    opt("edge.hello-bytes-max", r#""16KiB""#, kib(1, MIB),
        "Bytes that a client sends to the end of that, and as many again when it is told to go."),
    opt("edge.frame-bytes-max", r#""1MiB""#, kib(1, 64 * MIB),
        "Bytes of one WebSocket frame from a client."),
    opt("edge.op-bytes-max", r#""256KiB""#, kib(1, 16 * MIB),
        "Bytes of one operation from a client; clients are told."),
    opt("edge.ops-per-second", "10000", count("batches a second", 1, 100_000),
        "Batches of one session; bursts may be twice as large. Clients are told."),
    opt("edge.cursors-per-second", "20", count("messages a second", 1, 1_000),
        "Cursor messages of one session that are looked at."),
    opt("edge.bytes-per-second", r#""512KiB""#, kib(64, GIB),
        "Bytes that one session sends in a second, bursts may be twice as large; what comes beyond \
         that waits."),
    opt("edge.user-bytes-per-second", r#""512KiB""#, kib(0, TIB),
        "The same of all sessions and HTTP requests of one user; of an address where nobody is \
         signed in. 0: any number. Nobody in particular on this machine is not counted."),
    opt("edge.sockets-per-user", "1000", count("sockets", 0, 1_000_000),
        "Sockets of one user at once; above, new ones are refused. 0: any number."),
    opt("edge.documents-per-user", "1000", count("documents", 0, 1_000_000),
        "Documents that one user's sockets have open at once; above, no other is opened for them. \
         0: any number."),
    opt("edge.requests-per-second", "1000", count("requests", 0, 100_000),
        "HTTP requests of one user; bursts may be twice as large. 0: any number."),
    opt("edge.address-requests-per-second", "200", count("requests", 0, 100_000),
        "HTTP requests of one address (in IPv6: of one /64) by whom nobody is known, but for \
         assets; as many of its credentials may be refused before others are looked at. Bursts may \
         be twice as large. 0: any number. This machine's are not counted."),
    opt("edge.connections-max", "50000", count("connections", 1, 1_000_000),
        "Connections at once; above, new ones are refused."),
    opt("edge.connections-per-address", "1000", count("connections", 0, 1_000_000),
        "Those of one address (in IPv6: of one /64); above, new ones are refused. 0: any number. \
         This machine's are not counted."),
    opt("edge.handshakes-per-second", "100", count("connections", 0, 100_000),
        "Connections that one address makes in a second; bursts may be twice as large. 0: any \
         number. This machine's are not counted."),
    opt("edge.ping-every", r#""30s""#, millis(100, 10 * M),
        "How often a client's socket is asked whether it is there."),
    opt("edge.silence-max", r#""45s""#, millis(100, H),
        "Time after it was asked in which it has to say something to the end, or is given up; it \
         is looked at when it is asked again."),
    opt("edge.outbox-bytes-max", r#""1MiB""#, kib(16, GIB),
        "Bytes that may wait for one socket; above, they are replaced by one catch-up."),
    opt("edge.outbox-age-max", r#""10s""#, millis(100, 10 * M),
        "Time for which they may wait; above, they are replaced by one catch-up."),
    opt("edge.outbox-grace", r#""30s""#, millis(S, H),
        "Time in which a second catch-up closes, and for each of which a socket that is behind \
         takes 4 KiB a second."),
    opt("edge.shutdown-grace", r#""10s""#, millis(0, 10 * M),
        "Time for connections and documents to end when the process is told to stop."),
    opt("edge.handshake-timeout", r#""5s""#, millis(100, 5 * M),
        "Time for what a proxy says first and for the handshake of TLS, together."),
    opt("edge.header-timeout", r#""10s""#, millis(100, 5 * M),
        "Time for the head of an HTTP request."),
    opt("edge.head-bytes-max", r#""32KiB""#, kib(8, MIB),
        "Bytes of the head of an HTTP request."),
    opt("edge.body-timeout", r#""60s""#, millis(100, H),
        "Time for the body of an HTTP request."),
    opt("edge.idle-timeout", r#""75s""#, millis(100, H),
        "Time after the head of its last request after which a connection ends, and for which it \
         may take nothing of its answers. Below 4 KiB a second it is cut. Not of WebSockets."),
    opt("edge.streams-max", "100", count("requests", 1, 1_000),
        "Requests at once of one connection over HTTP/2."),
    opt("edge.body-bytes-max", r#""32MiB""#, kib(1, GIB),
        "Bytes of the body of an HTTP request."),
    opt("edge.bodies-bytes-max", r#""256MiB""#, kib(MIB, TIB),
        "Bytes of all bodies that are being read at once; above, requests are put off."),
    opt("edge.answers-bytes-max", r#""256MiB""#, kib(MIB, TIB),
        "Bytes of all answers that are being sent at once, and of texts on their way to sockets; \
         above, requests are put off. A user or an address has an eighth of it, or one answer."),
    opt("edge.trusted-proxies", r#""""#, Kind::Networks,
        "Proxies in front of the node, whose word on their clients is taken as the next two \
         options say, and whose own connections are not counted by address."),
    opt("edge.proxy-protocol", "false", Kind::Switch,
        "Whether each connection begins with the PROXY protocol, version 1 or 2. Those of \
         addresses that are not trusted are refused then."),
    opt("edge.proxy-header", r#""none""#, Kind::Word(&["none", "forwarded", "x-forwarded"]),
        "Which header of requests tells of the client: Forwarded, or X-Forwarded-For and \
         X-Forwarded-Proto. Choose what the proxies set or extend: others come from clients."),
    opt("edge.tls-certificate-file", r#""""#, Kind::Text,
        "The certificate of the port, in PEM, and what stands between it and the CA. Read again \
         when it changes. Empty: the port is plain."),
    opt("edge.tls-key-file", r#""""#, Kind::Text,
        "The key of that certificate, in PEM, readable by Quire alone."),
    opt("edge.page-max-age", r#""25s""#, millis(S, D),
        "Time for which caches keep the page of a public document; whole seconds count."),
    opt("edge.page-stale", r#""5s""#, millis(0, D),
        "Time after it for which caches may show it while they ask for the next."),

    opt("auth.open", "false", Kind::Switch,
        "Lets everybody do everything, for trying out. So it is without keys on loopback."),
    opt("auth.open-public", "false", Kind::Switch,
        "Lets everybody do everything also where strangers reach the node."),
    opt("auth.keys", r#""""#, Kind::Text,
        "Files of keys that sign tokens (PEM, JWKS or a shared secret), FILE or KID=FILE, with \
         commas between."),
    opt("auth.jwks-url", r#""""#, Kind::Text,
        "Where an issuer has its keys (JWKS): https, or http on loopback."),
    opt("auth.secret-file", r#""""#, Kind::Text,
        "The file of the secret that seals cookies, 32 bytes or more, the same on all nodes. \
         Empty: a node that is alone makes one in its data folder."),
    opt("auth.previous-secret-file", r#""""#, Kind::Text,
        "The file of the secret before, while it is being replaced."),
    opt("auth.audiences", r#""quire""#, Kind::Text,
        "The names of this server in tokens (aud), with commas between."),
    opt("auth.issuers", r#""""#, Kind::Text,
        "Who may issue tokens (iss), with commas between; empty: whoever has a key."),
    opt("auth.leeway", r#""30s""#, millis(0, 5 * M),
        "How far the clocks of issuer and server may be apart."),
    opt("auth.lifetime-max", r#""31d""#, millis(M, 366 * D),
        "How far away a token's end may be."),
    opt("auth.idle-max", r#""12h""#, millis(M, 31 * D),
        "For how long a login may go unused."),
    opt("auth.origins", r#""""#, Kind::Text,
        "Origins of pages that may use this server beside its own, https://docs.example, with \
         commas between."),
    opt("auth.tickets-max", "10000", count("tickets", 1, 1_000_000),
        "Tickets that wait to be used."),

    opt("purge.caches", r#""""#, Kind::Text,
        "Where a cache is told, with {doc} for the document, like http://cache/pub/{doc}; several \
         with spaces between them. Empty: nobody is told."),
    opt("purge.method", r#""PURGE""#, Kind::Word(&["PURGE", "BAN", "POST"]),
        "How; a header names the document in any case: Surrogate-Key: doc-{doc}."),
    opt("purge.debounce", r#""250ms""#, millis(0, 10 * S),
        "Time for which changes of one document are gathered."),
    opt("purge.timeout", r#""2s""#, millis(100, M),
        "Time for the answer of a cache; one that does not take it is told again."),
    opt("purge.documents-max", "10000", count("documents", 1, 1_000_000),
        "Documents that may wait for one cache; more are not told of."),

    opt("cluster.advertise-client", r#""""#, Kind::Text,
        "Where others reach its clients' port, host:port; empty: where it listens."),
    opt("cluster.advertise-peer", r#""""#, Kind::Text,
        "Where other nodes reach its peer port, host:port; empty: where it listens."),
    opt("cluster.advertise-admin", r#""""#, Kind::Text,
        "Where operators reach its admin port, host:port; empty: where it listens."),
    opt("cluster.weight", "10", count("parts", 1, 100),
        "Its share of the shards, beside the weights of the others."),
    opt("cluster.ack-objective", r#""500ms""#, millis(10, M),
        "Where 99 of 100 acknowledgements of a node take longer for 7 s, no shard begins to move."),

    opt("admin.allow-public", "false", Kind::Switch,
        "Whether the port may be where others than this machine and private networks reach it."),
    opt("admin.hosts", r#""""#, Kind::Text,
        "Names that the port is asked by, with commas between, beside addresses, names without a \
         dot and that of cluster.advertise-admin."),
    opt("admin.events-kept", "1000", count("events", 100, 100_000),
        "The last events kept for those who ask later; as many commands beside them."),

    opt("relay.frame-bytes-max", r#""64MiB""#, kib(MIB, GIB),
        "Bytes of one message between nodes: a whole document has to fit."),
    opt("relay.queue-bytes", r#""16MiB""#, kib(MIB, 4 * GIB),
        "Bytes that may wait for one link; above, its copies of documents begin again."),
    opt("relay.document-queue-bytes", r#""4MiB""#, kib(64, GIB),
        "Bytes of one document's batches from one node that may wait at its owner."),
    opt("relay.hello-timeout", r#""5s""#, millis(100, M),
        "Time for the first message of a peer."),
    opt("relay.silence-max", r#""3s""#, millis(300, M),
        "Time after which a silent link is given up; it is asked three times as often."),
    opt("relay.copy-idle", r#""60s""#, millis(100, D),
        "Time without clients after which a copy of another node's document is dropped."),
    opt("relay.request-timeout", r#""30s""#, millis(100, 10 * M),
        "Time for the answer to a request that is carried to another node."),
    opt("relay.tls-certificate-file", r#""""#, Kind::Text,
        "The node's certificate, in PEM, and what stands between it and the CA; it names the node. \
         Read again when it changes. Empty: links are plain."),
    opt("relay.tls-key-file", r#""""#, Kind::Text,
        "The key of that certificate, in PEM, readable by Quire alone."),
    opt("relay.tls-ca-file", r#""""#, Kind::Text,
        "The certificates, in PEM, that sign those of this cluster's nodes, and of nobody else."),

    opt("kafka.create-topics", "false", Kind::Switch,
        "Whether the topic is created where it is missing."),
    opt("kafka.allow-single-replica", "false", Kind::Switch,
        "Whether one replica of each partition is enough: on one machine, where nothing else is."),
    opt("kafka.open-timeout", r#""1m""#, millis(S, H),
        "Time for which unreachable brokers, and the leaders of a topic that was made just now, \
         are tried at the start."),
    opt("kafka.append-timeout", r#""10s""#, millis(S, 5 * M),
        "Time after which the outcome of a record is unknown, and its shard is claimed again."),
    opt("kafka.request-timeout", r#""1500ms""#, millis(100, M),
        "Time after which a request is tried again, at another broker if there is one."),
    opt("kafka.linger", r#""0s""#, millis(0, S),
        "Time for which a record waits for others to share its request."),
    opt("kafka.queue-bytes", r#""320MiB""#, kib(MIB, 8 * GIB),
        "Bytes of records that may wait for the brokers: more than of batches, for what is around \
         them."),
    opt("kafka.properties", r#""""#, Kind::Text,
        "Settings of librdkafka, like \"security.protocol=ssl; ssl.ca.location=ca.pem\"."),

    opt("cql.replication-factor", "3", count("nodes", 1, 9),
        "Nodes that keep each row, in every datacenter, where the keyspace is made."),
    opt("cql.consistency", r#""quorum""#, Kind::Word(&["quorum", "local-quorum", "one"]),
        "Which of them must answer; one is for one machine."),
    opt("cql.request-timeout", r#""5s""#, millis(100, M),
        "Time that a request may take; a write may have been done all the same."),
    opt("cql.open-timeout", r#""1m""#, millis(S, H),
        "Time for which unreachable servers are tried at the start."),
    opt("cql.user", r#""""#, Kind::Text,
        "The name to log in with; empty where no log-in is asked for."),
    opt("cql.password-file", r#""""#, Kind::Text,
        "The file that holds the password, and nothing else."),
    opt("cql.tls-ca-file", r#""""#, Kind::Text,
        "The certificates, in PEM, that sign those of the servers; empty where it is plain."),

    opt("telemetry.log-level", r#""info""#, Kind::Levels,
        "What is logged: a level, or levels by module."),
    opt("telemetry.log-format", r#""text""#, Kind::Word(&["text", "json"]),
        "How: one line for people, or one JSON object a line."),
];

/// Holds that one option's amount is at most another's, and why.
pub(crate) struct Relation {
    /// The smaller one's key.
    pub(crate) small: &'static str,
    /// The larger one's key.
    pub(crate) large: &'static str,
    /// Why.
    pub(crate) why: &'static str,
}

/// Lists what must hold between two options.
pub(crate) const RELATIONS: &[Relation] = &[
    Relation {
        small: "edge.op-bytes-max",
        large: "edge.frame-bytes-max",
        why: "an operation comes in one frame",
    },
    Relation {
        small: "edge.op-bytes-max",
        large: "document.frame-bytes-max",
        why: "an operation is written in one frame of the log",
    },
    Relation {
        small: "edge.frame-bytes-max",
        large: "relay.frame-bytes-max",
        why: "what a client sends is carried in one message between nodes",
    },
    Relation {
        small: "edge.body-bytes-max",
        large: "relay.frame-bytes-max",
        why: "a request is carried in one message between nodes",
    },
    Relation {
        small: "document.frame-bytes-max",
        large: "document.queue-bytes",
        why: "a frame is filled from the queue",
    },
    Relation {
        small: "document.queue-bytes-total",
        large: "kafka.queue-bytes",
        why: "what waits in documents is handed to Kafka's client",
    },
    Relation {
        small: "document.tick-subscribers",
        large: "document.tick-large-subscribers",
        why: "the longer tick is for more subscribers",
    },
    Relation {
        small: "edge.ping-every",
        large: "edge.silence-max",
        why: "a client is asked once more before it is given up",
    },
    Relation { small: "document.tick", large: "document.tick-large", why: "it is the longer tick" },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut keys = HashSet::new();
        for option in OPTIONS {
            assert!(keys.insert(option.key), "{} is there twice", option.key);
            if let Some((section, _)) = option.key.split_once('.') {
                assert!(SECTIONS.iter().any(|(name, _)| *name == section), "{section}");
            }
            assert!(option.meaning.ends_with('.'), "{}", option.key);
        }
        for relation in RELATIONS {
            for key in [relation.small, relation.large] {
                let option = find(key).expect("a relation names known keys");
                let default = option.default.parse().expect("a default is TOML");
                assert!(option.kind.amount(&default).is_some(), "{key} is not measured");
            }
        }
    }
}
