//! What a node counts of its cluster, and how busy it is, for the others.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Metric;
use prometheus::{Histogram, IntCounter, IntGauge, Registry};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::cluster::member;
use crate::cluster::{Load, Status, WINDOW};
use crate::edge::Waiting;
use crate::types::NodeId;
use crate::{doc, edge};

/// How often a node looks whether it is suspended, where it hears nothing, and how far behind.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many acknowledgements a window needs to say anything.
const LEAST: u64 = 50;

/// The least that is told of what is known: zero says that nothing is.
const KNOWN: Duration = Duration::from_millis(1);

/// Reads how busy a node is.
pub(crate) struct Gauges {
    sessions: IntGauge,
    documents: IntGauge,
    /// From a batch on a socket to its acknowledgement there, in seconds.
    ack: Histogram,
    /// What waits for its acknowledgement.
    waiting: Waiting,
    window: Mutex<Option<Window>>,
}

struct Window {
    began: Instant,
    /// What the histogram had counted then.
    before: Vec<u64>,
    /// What the window before it has found.
    p99: Duration,
}

impl Gauges {
    /// Reads what the edge and the documents of a node count.
    pub(crate) fn new(edge: &edge::Metrics, doc: &doc::Metrics) -> Self {
        let (sessions, documents) = (edge.sessions.clone(), doc.open.clone());
        let (ack, waiting) = (edge.ack_sent.clone(), edge.waiting.clone());
        Self { sessions, documents, ack, waiting, window: Mutex::new(None) }
    }

    /// Returns what is the case now; of acknowledgements, what was the case until a moment ago.
    pub(crate) fn read(&self) -> Load {
        let count = |gauge: &IntGauge| u32::try_from(gauge.get()).unwrap_or(0);
        let (sessions, documents) = (count(&self.sessions), count(&self.documents));
        Load { ack_p99: self.ack_p99(), sessions, documents }
    }

    fn ack_p99(&self) -> Duration {
        let (mut window, now) = (self.window.lock(), Instant::now());
        let last = match &*window {
            Some(window) if now - window.began < WINDOW => return window.p99,
            last => last.as_ref().map(|window| window.before.clone()),
        };
        let (bounds, counts) = self.counted();
        let before = last.unwrap_or_else(|| vec![0; counts.len()]);
        // Of a node that stands still nothing is acknowledged, and there is nothing to count.
        let known = p99(&bounds, &before, &counts).or_else(|| self.waiting.oldest());
        let p99 = known.map_or(Duration::ZERO, |known| known.max(KNOWN));
        *window = Some(Window { began: now, before: counts, p99 });
        p99
    }

    /// Returns the bounds of the histogram and how many are at or below each; the last has none.
    fn counted(&self) -> (Vec<f64>, Vec<u64>) {
        let metric = self.ack.metric();
        let histogram = metric.get_histogram();
        let buckets = histogram.get_bucket();
        let bounds = buckets.iter().map(prometheus::proto::Bucket::upper_bound).collect();
        let counts = buckets.iter().map(prometheus::proto::Bucket::cumulative_count);
        (bounds, counts.chain([histogram.get_sample_count()]).collect())
    }
}

/// Counts what a node knows of its cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    members: IntGauge,
    suspended: IntGauge,
    failovers: IntCounter,
    lag: IntGauge,
    unreadable: IntCounter,
}

impl Cluster {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let members = IntGauge::new("quire_cluster_members", "Members that are up")?;
        let help = "Whether the node serves nothing because it does not hear of itself";
        let suspended = IntGauge::new("quire_cluster_suspended", help)?;
        let help = "Members that were voted down";
        let failovers = IntCounter::new("quire_cluster_failovers_total", help)?;
        let help = "Records of the control topic that the node has not read yet";
        let lag = IntGauge::new("quire_cluster_control_lag_records", help)?;
        registry.register(Box::new(members.clone()))?;
        registry.register(Box::new(suspended.clone()))?;
        registry.register(Box::new(failovers.clone()))?;
        let help = "Records of the control topic that the node could not read";
        let unreadable = IntCounter::new("quire_cluster_control_unreadable_total", help)?;
        registry.register(Box::new(lag.clone()))?;
        registry.register(Box::new(unreadable.clone()))?;
        Ok(Self { members, suspended, failovers, lag, unreadable })
    }

    /// Counts until the node is a member no more.
    pub(crate) async fn follow(self, member: member::Handle) {
        tokio::select! {
            () = self.count(&member) => {}
            () = self.measure(&member) => {}
        }
    }

    /// Looks how far behind the node is; while the topic does not tell, the last answer stands.
    async fn measure(&self, member: &member::Handle) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.unreadable.inc_by(member.unread().records.saturating_sub(self.unreadable.get()));
            // One question at a time, however long it takes: a broker that is gone is asked once.
            if let Ok(records) = member.behind().await {
                self.lag.set(i64::try_from(records).unwrap_or(i64::MAX));
            }
        }
    }

    async fn count(&self, member: &member::Handle) {
        let mut control = member.control();
        loop {
            self.members.set(i64::try_from(control.up().count()).unwrap_or(i64::MAX));
            let newer = timeout(LOOK_EVERY, member.newer(control.at())).await;
            // A node that hears nothing is suspended without any news.
            self.suspended.set(i64::from(member.is_suspended()));
            let newer = match newer {
                Ok(Ok(newer)) => newer,
                Ok(Err(_)) => return,
                Err(_) => continue,
            };
            let is_down = |node: &NodeId| {
                newer.member(node).is_some_and(|member| member.status == Status::Down)
            };
            let down = control.up().filter(|(node, _)| is_down(node)).count();
            self.failovers.inc_by(down as u64);
            control = newer;
        }
    }
}

/// Returns the bound that 99 of 100 are at or below of those that came after `before`; none where
/// there are too few to tell.
fn p99(bounds: &[f64], before: &[u64], counts: &[u64]) -> Option<Duration> {
    let new: Vec<u64> = counts.iter().zip(before).map(|(now, before)| now - before).collect();
    let all = new.last().copied().unwrap_or(0);
    if all < LEAST {
        return None;
    }
    let at = new.iter().position(|below| below * 100 >= all * 99).unwrap_or(bounds.len());
    let largest = bounds.last().copied().unwrap_or(0.0);
    Some(Duration::from_secs_f64(bounds.get(at).copied().unwrap_or(largest * 2.0)))
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_window_tells_of_what_came_in_it_once_it_is_over() {
        let buckets = vec![0.001, 0.01, 0.1, 1.0];
        let options = HistogramOpts::new("ack", "seconds").buckets(buckets);
        let ack = Histogram::with_opts(options).unwrap();
        let gauge = |name: &str| IntGauge::new(name, "how many").unwrap();
        let (sessions, documents) = (gauge("sessions"), gauge("documents"));
        sessions.set(3);
        documents.set(2);
        let (waiting, window) = (Waiting::default(), Mutex::new(None));
        let gauges = Gauges { sessions, documents, ack, waiting, window };
        let read = || gauges.read().ack_p99;
        assert_eq!(gauges.read(), Load { ack_p99: Duration::ZERO, sessions: 3, documents: 2 });
        (0..99).for_each(|_| gauges.ack.observe(0.005));
        gauges.ack.observe(0.5);
        assert_eq!(read(), Duration::ZERO, "it is not over");
        tokio::time::advance(WINDOW).await;
        assert_eq!(read(), Duration::from_millis(10));
        (0..98).for_each(|_| gauges.ack.observe(0.005));
        (0..2).for_each(|_| gauges.ack.observe(0.5));
        tokio::time::advance(WINDOW).await;
        assert_eq!(read(), Duration::from_secs(1));
        (0..98).for_each(|_| gauges.ack.observe(0.005));
        (0..2).for_each(|_| gauges.ack.observe(7.0));
        tokio::time::advance(WINDOW).await;
        assert_eq!(read(), Duration::from_secs(2), "beyond the last bound");
        (0..49).for_each(|_| gauges.ack.observe(7.0));
        tokio::time::advance(WINDOW).await;
        assert_eq!(read(), Duration::ZERO, "too few to tell");
        (0..50).for_each(|_| gauges.ack.observe(0.000_1));
        tokio::time::advance(WINDOW).await;
        assert_eq!(read(), KNOWN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_acknowledges_too_little_tells_how_long_batches_wait() {
        let registry = Registry::new();
        let doc = doc::Metrics::register(&registry).unwrap();
        let edge = edge::Metrics::register(&registry, doc.ack_sent.clone()).unwrap();
        let gauges = Gauges::new(&edge, &doc);
        let read = || gauges.read().ack_p99;
        let slot = edge.waiting.slot();
        assert_eq!(read(), Duration::ZERO);
        slot.begin(Instant::now());
        for seconds in [2, 4] {
            tokio::time::advance(WINDOW).await;
            (0..49).for_each(|_| edge.ack_sent.observe(0.005));
            assert_eq!(read(), Duration::from_secs(seconds), "it stands still");
        }
        slot.end();
        assert_eq!(read(), Duration::from_secs(4), "the window is not over");
        tokio::time::advance(WINDOW).await;
        assert_eq!(read(), Duration::ZERO, "nothing waits");
        slot.begin(Instant::now());
        tokio::time::advance(WINDOW).await;
        (0..50).for_each(|_| edge.ack_sent.observe(0.001));
        assert!(read() < Duration::from_millis(10), "enough was acknowledged");
    }
}
