//! How many connections one address has at once, and how many begin in a second.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::sleep;

use crate::edge::metrics::Reason;
use crate::edge::port::networks::client;
use crate::edge::tenants::counted::{Counted, Permit};
use crate::edge::tenants::paces::Paces;

/// How long a connection waits at most that comes too quickly.
const LINE_MAX: Duration = Duration::from_secs(1);

/// Decides whether an address may have one connection more.
pub(crate) struct Gate {
    connections: Counted<IpAddr>,
    handshakes: Paces,
    hash: RandomState,
}

/// Why an address may not, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
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
        let handshakes = Paces::new(handshakes_per_second.into());
        Self { connections: Counted::new(connections), handshakes, hash: RandomState::new() }
    }

    /// Takes a place for an address, at its rate: who comes a little too quickly waits. Those of
    /// this machine are not counted: they are tools of whoever runs it, or a proxy that speaks for
    /// many.
    pub(crate) async fn admit(&self, address: IpAddr) -> Result<Place, Crowded> {
        if address.to_canonical().is_loopback() {
            return Ok(Permit::free());
        }
        let address = client(address);
        let place = self.connections.take(&address).ok_or(Crowded::Many)?;
        let taken = self.handshakes.take(self.hash.hash_one(address), LINE_MAX);
        // Who is turned away waits for it as long, and so comes again later.
        sleep(taken.unwrap_or(LINE_MAX)).await;
        taken.map(|_| place).map_err(Crowded::Fast)
    }
}

impl Crowded {
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

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::Instant;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_so_many_connections() {
        let gate = Gate::new(2, 0);
        let one = gate.admit(ip("2001:db8::1")).await.expect("the first");
        let _other = gate.admit(ip("2001:db8::2")).await.expect("the second of the network");
        assert!(matches!(gate.admit(ip("2001:db8::3")).await, Err(Crowded::Many)));
        assert!(gate.admit(ip("2001:db8:0:1::3")).await.is_ok(), "another network");
        drop(one);
        assert!(gate.admit(ip("2001:db8::3")).await.is_ok());
        let here = join_all((0..10).map(|_| gate.admit(ip("127.0.0.1")))).await;
        assert!(here.iter().all(Result::is_ok), "this machine's are not counted");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_comes_in_bursts_and_then_at_its_rate() {
        let gate = Gate::new(0, 10);
        let began = Instant::now();
        let come = async |_| {
            let admitted = gate.admit(ip("192.0.2.1")).await;
            (admitted.is_ok(), began.elapsed().as_millis() / 100)
        };
        let came = join_all((0..40).map(come)).await;
        assert!(came[..20].iter().all(|came| *came == (true, 0)), "a burst comes at once");
        for (nth, came) in came[20..30].iter().enumerate() {
            assert_eq!(*came, (true, 1 + nth as u128), "some wait in a line");
        }
        assert!(came[30..].iter().all(|came| *came == (false, 10)), "the rest is turned away");
    }
}
