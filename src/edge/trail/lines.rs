//! How often the like is written down: who is refused many times a second fills no disk.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::edge::port::networks::client;
use crate::edge::trail::Address;

/// The places of the table: so many lines a second at most.
const PLACES: usize = 1 << 10;

/// Lets a line a second through of each address and reason, and counts the others; cheap to clone.
///
/// Its table has one size. Those that share a place in it share its line.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    began: Instant,
    /// In each place the second of the last line, from 1 on, and in the lower half how many were
    /// left out since.
    places: Arc<[AtomicU64]>,
    hash: RandomState,
}

impl Default for Lines {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { began: Instant::now(), places, hash: RandomState::new() }
    }
}

impl Lines {
    /// Returns how many were left out since the last line, where another one is due.
    pub(in crate::edge) fn due(&self, address: Address, reason: &str) -> Option<u64> {
        // In IPv6 whoever has one address has the network.
        let place = self.hash.hash_one((address.0.map(client), reason)) as usize % PLACES;
        let place = self.places.get(place)?;
        let now = self.began.elapsed().as_secs() + 1;
        let is_now = |before: u64| before >> 32 == now;
        let after = |before| if is_now(before) { before + 1 } else { now << 32 };
        let before = match place
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| Some(after(before)))
        {
            Ok(before) | Err(before) => before,
        };
        (!is_now(before)).then_some(before & u64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_a_second_is_written_and_tells_how_many_were_not() {
        let lines = Lines::default();
        let address = |text: &str| Address(Some(text.parse().unwrap()));
        let one = address("192.0.2.1");
        assert_eq!(lines.due(one, "token"), Some(0));
        assert!((0..7).all(|_| lines.due(one, "token").is_none()));
        assert_eq!(lines.due(Address(None), "token"), Some(0), "another address");
        assert_eq!(lines.due(one, "cookies"), Some(0), "another reason");
        assert_eq!(lines.due(address("2001:db8::1"), "token"), Some(0));
        assert_eq!(lines.due(address("2001:db8::2"), "token"), None, "of the same network");
        advance(Duration::from_secs(1)).await;
        assert_eq!(lines.due(one, "token"), Some(7));
        advance(Duration::from_hours(1)).await;
        assert_eq!(lines.due(one, "token"), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_so_many_lines_whoever_comes() {
        let lines = Lines::default();
        let many = (0..100_000_u32).map(|n| Address(Some(std::net::IpAddr::V4(n.into()))));
        assert!(many.filter_map(|one| lines.due(one, "token")).count() <= PLACES);
    }
}
