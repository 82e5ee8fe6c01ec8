//! What is counted at the edge; no label names a document or a user.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::edge::session::waiting::Waiting;
use crate::edge::trail::lines::Lines;

/// Counts what all sessions of a node do.
#[derive(Clone)]
pub struct Metrics {
    /// All that is counted on the node.
    registry: Registry,
    /// Sessions connected.
    pub sessions: IntGauge,
    /// Sessions sent away, by reason.
    pub closes: IntCounterVec,
    /// Sessions that followed a document which moved.
    pub moves: IntCounter,
    /// Times that a socket did not take its data and its client had to catch up.
    pub lagged: IntCounter,
    /// Batches over a rate.
    pub rate_limited: IntCounter,
    /// Carets over a rate: nobody was told of them.
    pub carets_dropped: IntCounter,
    /// Pings over a rate: they were not answered.
    pub pings_dropped: IntCounter,
    /// Frames, and pieces of bodies, that waited because their client or its user had sent much
    /// before.
    pub held: IntCounter,
    /// Pieces of work whose turn was not at once.
    pub queued: IntCounter,
    /// What was not let in at the port, by reason.
    pub refused: IntCounterVec,
    /// When the certificate of the port expires, in seconds since 1970; 0 where there is none.
    pub tls_expires: IntGauge,
    /// Caches that were told of a document's change.
    pub purges_sent: IntCounter,
    /// Times that a cache could not be told.
    pub purges_failed: IntCounter,
    /// Changes that a cache was not told of, after many tries.
    pub purges_given_up: IntCounter,
    /// Changes that a cache was not told of, because too many waited.
    pub purges_dropped: IntCounter,
    /// Documents of which a cache has still to be told.
    pub purges_waiting: IntGauge,
    /// Pieces of long work that are done for requests at the moment.
    pub long_work: IntGauge,
    /// Those that were begun.
    pub long_work_begun: IntCounter,
    /// Pages of public documents that were made.
    pub pages_made: IntCounter,
    /// From a batch on the socket to its acknowledgement on the socket, in seconds.
    pub ack_sent: Histogram,
    /// Batches that wait for theirs: told to the other nodes, and not to Prometheus.
    pub waiting: Waiting,
    /// What of the refused is written down: not told to Prometheus either.
    pub(crate) lines: Lines,
}

/// Why something was not let in at the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There are too many connections.
    Full,
    /// There are too many of one address.
    Address,
    /// One address makes them too quickly.
    Rate,
    /// A user has too many sockets, or makes too many requests.
    User,
    /// A user has too many documents open.
    Documents,
    /// An address asks too often without saying who asks.
    AddressRequests,
    /// Too many credentials of an address were refused.
    Guesses,
    /// A trusted proxy does not say who the client is, or another address speaks as one.
    Proxy,
    /// TLS was not agreed on.
    Tls,
    /// The above took too long.
    SlowHandshake,
    /// A head was not made as it must be.
    Head,
    /// A head was longer than it may be, or had more lines.
    LongHead,
    /// A head took too long.
    SlowHead,
    /// A body took too long.
    SlowBody,
    /// A body was longer than it may be.
    LongBody,
    /// There was no room for a body among all that were being read.
    Bodies,
    /// There was none among those of its user.
    UserBodies,
    /// All places for long work were taken, and too many waited.
    LongWork,
    /// Those of its user were.
    UserLongWork,
    /// There was no room for an answer among all that were on their way.
    Answers,
    /// There was none among those to its user or address.
    UserAnswers,
    /// What a request would write was longer than it may be: its operation, or the document then.
    TooLarge,
    /// More came over a socket before a hello than may.
    Hello,
    /// A socket went on sending when it was told to go.
    Farewell,
    /// An answer was taken too slowly.
    SlowReader,
}

impl Reason {
    const ALL: [Self; 25] = [
        Self::Full,
        Self::Address,
        Self::Rate,
        Self::User,
        Self::Documents,
        Self::AddressRequests,
        Self::Guesses,
        Self::Proxy,
        Self::Tls,
        Self::SlowHandshake,
        Self::Head,
        Self::LongHead,
        Self::SlowHead,
        Self::SlowBody,
        Self::LongBody,
        Self::Bodies,
        Self::UserBodies,
        Self::LongWork,
        Self::UserLongWork,
        Self::Answers,
        Self::UserAnswers,
        Self::TooLarge,
        Self::Hello,
        Self::Farewell,
        Self::SlowReader,
    ];

    /// Returns the name that it is counted under.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
            Self::Rate => "rate",
            Self::User => "user",
            Self::Documents => "documents",
            Self::AddressRequests => "address-requests",
            Self::Guesses => "guesses",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::SlowHandshake => "slow-handshake",
            Self::Head => "head",
            Self::LongHead => "long-head",
            Self::SlowHead => "slow-head",
            Self::SlowBody => "slow-body",
            Self::LongBody => "long-body",
            Self::Bodies => "bodies",
            Self::UserBodies => "user-bodies",
            Self::LongWork => "long-work",
            Self::UserLongWork => "user-long-work",
            Self::Answers => "answers",
            Self::UserAnswers => "user-answers",
            Self::TooLarge => "too-large",
            Self::Hello => "hello",
            Self::Farewell => "farewell",
            Self::SlowReader => "slow-reader",
        }
    }
}

impl Metrics {
    /// Registers the metrics of the edge.
    ///
    /// The last stage of an acknowledgement is counted with those of documents.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry, ack_sent: Histogram) -> Result<Self, prometheus::Error> {
        let purges = Opts::new("quire_edge_purges_total", "Changes told to caches, by outcome");
        let purges = IntCounterVec::new(purges, &["outcome"])?;
        registry.register(Box::new(purges.clone()))?;
        let dropped = Opts::new("quire_edge_dropped_total", "Messages over a rate, by what it was");
        let dropped = IntCounterVec::new(dropped, &["what"])?;
        registry.register(Box::new(dropped.clone()))?;
        let closes = Opts::new("quire_edge_closes_total", "Sessions sent away, by reason");
        let refused = Opts::new("quire_edge_refused_total", "What the port refused, by reason");
        let metrics = Self {
            registry: registry.clone(),
            ack_sent,
            waiting: Waiting::default(),
            lines: Lines::default(),
            sessions: IntGauge::new("quire_edge_sessions", "Sessions connected")?,
            closes: IntCounterVec::new(closes, &["reason"])?,
            moves: IntCounter::new("quire_edge_moves_total", "Sessions that followed a document")?,
            lagged: IntCounter::new("quire_edge_lagged_total", "Slow sockets that caught up")?,
            rate_limited: IntCounter::new("quire_edge_rate_limited_total", "Batches over a rate")?,
            carets_dropped: dropped.with_label_values(&["caret"]),
            pings_dropped: dropped.with_label_values(&["ping"]),
            held: IntCounter::new("quire_edge_held_total", "Frames that waited, over a rate")?,
            queued: IntCounter::new("quire_edge_queued_total", "Work whose turn was not at once")?,
            purges_sent: purges.with_label_values(&["sent"]),
            purges_failed: purges.with_label_values(&["failed"]),
            purges_given_up: purges.with_label_values(&["given-up"]),
            purges_dropped: purges.with_label_values(&["dropped"]),
            purges_waiting: IntGauge::new("quire_edge_purges_waiting", "Changes not told yet")?,
            long_work: IntGauge::new("quire_edge_long_work", "Long work that is being done")?,
            long_work_begun: IntCounter::new("quire_edge_long_work_total", "Long work begun")?,
            pages_made: IntCounter::new("quire_edge_pages_made_total", "Public pages made")?,
            refused: IntCounterVec::new(refused, &["reason"])?,
            tls_expires: IntGauge::new(
                "quire_edge_tls_expires_seconds",
                "When the certificate expires, in seconds since 1970",
            )?,
        };
        registry.register(Box::new(metrics.sessions.clone()))?;
        registry.register(Box::new(metrics.closes.clone()))?;
        registry.register(Box::new(metrics.moves.clone()))?;
        registry.register(Box::new(metrics.lagged.clone()))?;
        registry.register(Box::new(metrics.rate_limited.clone()))?;
        registry.register(Box::new(metrics.held.clone()))?;
        registry.register(Box::new(metrics.queued.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.tls_expires.clone()))?;
        // Each is there before it counts, so that its first rise is seen as one.
        for reason in Reason::ALL {
            metrics.refused.with_label_values(&[reason.label()]);
        }
        registry.register(Box::new(metrics.purges_waiting.clone()))?;
        registry.register(Box::new(metrics.long_work.clone()))?;
        registry.register(Box::new(metrics.long_work_begun.clone()))?;
        registry.register(Box::new(metrics.pages_made.clone()))?;
        Ok(metrics)
    }

    /// Counts what was not let in.
    pub(crate) fn refuse(&self, reason: Reason) {
        self.refused.with_label_values(&[reason.label()]).inc();
    }

    /// Spells everything that is counted on the node in Prometheus' text format.
    ///
    /// # Errors
    /// Where a metric cannot be spelled.
    pub fn exposition(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
