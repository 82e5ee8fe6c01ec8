//! Tickets: what opens one socket where neither a cookie nor a header can be sent.
//!
//! A ticket is 256 random bits that stand for a principal for 30 s. It may stand in an address,
//! which is logged and remembered all over the place, because it is worth nothing once it was
//! used. Only its hash is kept, so that nothing that reads this memory opens a socket with it.
//!
//! A ticket is known to the node that issued it, and to no other. Pure: the caller keeps it, draws
//! the random bits and reads the (monotonic) clock.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::access::Subject;
use crate::auth::token::Claims;

/// How long a ticket is good.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// The most tickets of one subject that wait at once.
pub const TICKETS_OF_SUBJECT_MAX: usize = 64;

const TICKET_BYTES: usize = 32;

type Hash = [u8; 32];

/// Keeps the tickets that were issued and neither used nor expired.
#[derive(Debug)]
pub struct Tickets {
    most: usize,
    waiting: HashMap<Hash, Claims>,
    /// In the order of their issue, which is that of their expiry; used ones are still there.
    ages: VecDeque<(Instant, Hash, Subject)>,
    /// How many a subject has in `ages`.
    counts: HashMap<Subject, usize>,
}

/// Tells why there is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTicket {
    /// The subject has many already.
    #[error("too many tickets were asked for in 30 s: use those that are there, or wait")]
    TooMany,
    /// The node has very many.
    #[error("this node has no room for another ticket: try again in some seconds")]
    Full,
}

/// Tells that a ticket opens nothing: it is none, was used, or has expired. Which of these it is
/// nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ticket is not good, or not any more: ask for a new one")]
pub struct BadTicket;

impl Tickets {
    /// Returns an empty collection that takes so many.
    pub fn new(most: usize) -> Self {
        Self { most, waiting: HashMap::new(), ages: VecDeque::new(), counts: HashMap::new() }
    }

    /// Issues a ticket; `random` has to be just that, and used for nothing else.
    ///
    /// # Errors
    /// [`NoTicket`].
    pub fn issue(
        &mut self,
        claims: Claims,
        random: [u8; TICKET_BYTES],
        now: Instant,
    ) -> Result<SecretString, NoTicket> {
        self.forget(now);
        if self.counts.get(&claims.subject).is_some_and(|count| *count >= TICKETS_OF_SUBJECT_MAX) {
            return Err(NoTicket::TooMany);
        }
        if self.ages.len() >= self.most {
            return Err(NoTicket::Full);
        }
        let hash = hashed(&random);
        *self.counts.entry(claims.subject.clone()).or_default() += 1;
        self.ages.push_back((now, hash, claims.subject.clone()));
        self.waiting.insert(hash, claims);
        Ok(URL_SAFE_NO_PAD.encode(random).into())
    }

    /// Takes a ticket, which is good for this once.
    ///
    /// # Errors
    /// [`BadTicket`].
    pub fn take(&mut self, ticket: &str, now: Instant) -> Result<Claims, BadTicket> {
        self.forget(now);
        let mut random = [0; TICKET_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(ticket, &mut random) {
            // Looked up by its hash: how long that takes tells nothing about the ticket.
            Ok(TICKET_BYTES) => self.waiting.remove(&hashed(&random)).ok_or(BadTicket),
            Ok(_) | Err(_) => Err(BadTicket),
        }
    }

    /// Returns how many places are taken.
    pub fn len(&self) -> usize {
        self.ages.len()
    }

    /// Tells whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }

    /// Drops what has expired.
    fn forget(&mut self, now: Instant) {
        let old = |made: &Instant| now.saturating_duration_since(*made) >= TICKET_LIFETIME;
        while self.ages.front().is_some_and(|(made, _, _)| old(made)) {
            let Some((_, hash, subject)) = self.ages.pop_front() else { break };
            self.waiting.remove(&hash);
            if let Some(count) = self.counts.get_mut(&subject) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&subject);
                }
            }
        }
    }
}

fn hashed(random: &[u8]) -> Hash {
    digest(&SHA256, random).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::types::{Author, Timestamp};

    fn claims(subject: &str) -> Claims {
        let subject = subject.parse().expect("a subject");
        let (name, expires) = (Author::anonymous(), Timestamp(0));
        Claims { subject, name, expires, issued: None, id: None, grants: Vec::new() }
    }

    fn random(n: usize) -> [u8; 32] {
        let mut random = [0; 32];
        random[..8].copy_from_slice(&n.to_be_bytes());
        random
    }

    #[test]
    fn a_ticket_is_taken_once() {
        let (mut tickets, now) = (Tickets::new(10), Instant::now());
        let ticket = tickets.issue(claims("a"), random(1), now).expect("room");
        let ticket = ticket.expose_secret();
        assert_eq!(ticket.len(), 43);
        assert_eq!(tickets.take(ticket, now), Ok(claims("a")));
        assert_eq!(tickets.take(ticket, now), Err(BadTicket));
    }

    #[test]
    fn a_ticket_expires_after_30_s() {
        let (mut tickets, now) = (Tickets::new(10), Instant::now());
        let issue = |tickets: &mut Tickets, n| tickets.issue(claims("a"), random(n), now);
        let (one, two) = (issue(&mut tickets, 1), issue(&mut tickets, 2));
        let (one, two) = (one.expect("room"), two.expect("room"));
        let just = TICKET_LIFETIME - Duration::from_nanos(1);
        assert!(tickets.take(one.expose_secret(), now + just).is_ok());
        let over = tickets.take(two.expose_secret(), now + TICKET_LIFETIME);
        assert_eq!(over, Err(BadTicket));
        assert!(tickets.is_empty() && tickets.waiting.is_empty() && tickets.counts.is_empty());
    }

    #[test]
    fn places_are_bounded_for_each_and_for_all() {
        let (mut tickets, now) = (Tickets::new(100), Instant::now());
        for n in 0..TICKETS_OF_SUBJECT_MAX {
            let ticket = tickets.issue(claims("a"), random(n), now).expect("room");
            // One that is used keeps its place: who asks and uses in a loop is held up, too.
            assert!(tickets.take(ticket.expose_secret(), now).is_ok());
        }
        let more = tickets.issue(claims("a"), random(100), now);
        assert_eq!(more.err(), Some(NoTicket::TooMany));
        for n in TICKETS_OF_SUBJECT_MAX..100 {
            let subject = format!("s{n}");
            tickets.issue(claims(&subject), random(n), now).expect("room");
        }
        assert_eq!(tickets.issue(claims("b"), random(100), now).err(), Some(NoTicket::Full));
        assert_eq!(tickets.len(), 100);
        let later = now + TICKET_LIFETIME;
        assert!(tickets.issue(claims("a"), random(101), later).is_ok());
        assert_eq!((tickets.len(), tickets.counts.len()), (1, 1));
    }

    #[test]
    fn what_is_no_ticket_opens_nothing() {
        let (mut tickets, now) = (Tickets::new(10), Instant::now());
        let ticket = tickets.issue(claims("a"), random(1), now).expect("room");
        let ticket = ticket.expose_secret().to_owned();
        let longer = format!("{ticket}A");
        for bad in ["", "AAAA", &ticket[1..], &longer, &"A".repeat(43), &"A".repeat(10_000)] {
            assert_eq!(tickets.take(bad, now), Err(BadTicket), "{bad}");
        }
        assert!(!format!("{tickets:?}").contains(&ticket));
        assert!(tickets.take(&ticket, now).is_ok(), "the good one is still there");
    }
}
