//! How many connections one address has at once, and how many begin in a second.
//!
//! The second is counted in a table of one size, so that it takes the same whoever comes: each
//! address has a place there by a hash that nobody outside knows, and shares it with others if it
//! must. Two that share a place share its rate, which is noticed only where both come at it.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::metrics::Reason;
use crate::edge::port::counted::{Counted, Permit};
use crate::edge::port::networks::client;

/// The places of the table: half a MiB.
const PLACES: usize = 1 << 16;

/// How much earlier than its rate says an address may come: twice what it may in a second.
const BURST: Duration = Duration::from_secs(2);

/// Decides whether an address may have one connection more.
pub(crate) struct Gate {
    connections: Counted<IpAddr>,
    /// The time that one handshake stands for; none where any number may come.
    interval: Option<Duration>,
    began: Instant,
    hash: RandomState,
    /// Up to when the rate of each place is used up, in microseconds since the beginning.
    used: Box<[AtomicU64]>,
}

/// Why an address may not, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Turned {
    /// It has as many as it may have.
    #[error("there are too many connections from your address: close some")]
    Many,
    /// It comes too often; it may come again after so long.
    #[error("too many connections were made from your address: make fewer")]
    Fast(Duration),
}

/// A connection that is counted under its address.
pub(crate) type Place = Permit<IpAddr>;

impl Gate {
    /// Lets an address have so many connections and handshakes; 0 stands for any number.
    pub(crate) fn new(connections: usize, handshakes_per_second: u32) -> Self {
        let interval =
            (handshakes_per_second > 0).then(|| Duration::from_secs(1) / handshakes_per_second);
        let places = if interval.is_some() { PLACES } else { 0 };
        Self {
            connections: Counted::new(connections),
            interval,
            began: Instant::now(),
            hash: RandomState::new(),
            used: (0..places).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Takes a place for an address. Those of this machine are not counted: they are tools of
    /// whoever runs it, or a proxy that speaks for many.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Place, Turned> {
        if address.to_canonical().is_loopback() {
            return Ok(Permit::free());
        }
        let address = client(address);
        self.pace(address).map_err(Turned::Fast)?;
        self.connections.take(&address).ok_or(Turned::Many)
    }

    fn pace(&self, address: IpAddr) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let place = self.hash.hash_one(address) as usize % PLACES;
        let now = micros(self.began.elapsed());
        let limit = now + micros(BURST);
        let taken = |used: u64| {
            let next = used.max(now) + micros(interval);
            (next <= limit).then_some(next)
        };
        let place = &self.used[place];
        let paced = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        paced.map(drop).map_err(|used| {
            Duration::from_micros((used + micros(interval)).saturating_sub(limit).max(1))
        })
    }
}

impl Turned {
    /// Returns when to come again.
    pub(crate) fn retry(self) -> Duration {
        match self {
            // Some of its connections end, or they do not: nobody knows when.
            Self::Many => Duration::from_secs(10),
            Self::Fast(wait) => wait,
        }
    }

    /// Returns what is counted.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Many => Reason::Address,
            Self::Fast(_) => Reason::Rate,
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_so_many_connections() {
        let gate = Gate::new(2, 0);
        let one = gate.admit(ip("2001:db8::1")).expect("the first");
        let _other = gate.admit(ip("2001:db8::2")).expect("the second of the network");
        assert!(matches!(gate.admit(ip("2001:db8::3")), Err(Turned::Many)));
        assert!(gate.admit(ip("2001:db8:0:1::3")).is_ok(), "another network");
        drop(one);
        assert!(gate.admit(ip("2001:db8::3")).is_ok());
        let here: Vec<_> = (0..10).map(|_| gate.admit(ip("127.0.0.1"))).collect();
        assert!(here.iter().all(Result::is_ok), "this machine's are not counted");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_comes_in_bursts_and_then_at_its_rate() {
        let gate = Gate::new(0, 10);
        let come = |address: &str| gate.admit(ip(address)).map(drop);
        assert!((0..20).all(|_| come("192.0.2.1").is_ok()));
        let wait = match come("192.0.2.1") {
            Err(Turned::Fast(wait)) => wait,
            other => panic!("{other:?}"),
        };
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        assert!(wait > Duration::from_millis(90), "{wait:?}");
        // A place is shared by few: one of some others is elsewhere.
        assert!((2..9).any(|n| come(&format!("192.0.2.{n}")).is_ok()));
        advance(wait).await;
        assert!(come("192.0.2.1").is_ok());
        assert!(come("192.0.2.1").is_err());
        advance(Duration::from_hours(1)).await;
        assert!((0..20).all(|_| come("192.0.2.1").is_ok()), "rest does not add up to more");
        assert!(come("192.0.2.1").is_err());
    }
}
