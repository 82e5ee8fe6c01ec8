//! Tickets: what opens one socket where neither a cookie nor a header can be sent.
//!
//! A ticket is 256 random bits that stand for a principal for 30 s. It may stand in an address,
//! which is logged and remembered all over the place, because it is worth nothing once it was
//! used. Only its hash is kept, so that nothing that reads this memory opens a socket with it.
//!
//! ```text
//! ticket = base64url( version (1) | random (32) | HMAC-SHA256 (32) | the node's name )
//! the HMAC is over: version, random, name; under a key that all nodes derive
//! ```
//!
//! A ticket is kept by the node that issued it, and taken there alone, so that it is taken once:
//! who is shown another node's ticket asks that node, by the ticket's hash. The HMAC lets nobody
//! have a node asked who was not given a ticket. Pure: the caller keeps it, draws the random bits,
//! reads the (monotonic) clock, and asks the other node.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::access::Subject;
use crate::auth::login::LoginId;
use crate::auth::secret::{Rotating, Secret};
use crate::auth::token::Claims;
use crate::types::{DOC_ID_BYTES_MAX, NodeId};

/// How long a ticket is good.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// The most tickets of one subject that wait at once.
pub const TICKETS_OF_SUBJECT_MAX: usize = 64;

const VERSION: u8 = 1;
const RANDOM_BYTES: usize = 32;
const TAG_BYTES: usize = 32;
const BYTES_MAX: usize = 1 + RANDOM_BYTES + TAG_BYTES + DOC_ID_BYTES_MAX;

/// Names a ticket to the node that issued it; it opens nothing by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TicketHash(pub [u8; 32]);

/// Is a ticket as it was read: one that a node of the cluster has issued at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The node.
    pub by: NodeId,
    /// What it knows the ticket by.
    pub hash: TicketHash,
}

/// Is whom a ticket lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What they may do.
    pub claims: Claims,
    /// The login that asked for it, where it was one: what the ticket opens ends with that.
    pub login: Option<LoginId>,
}

/// Keeps the tickets that were issued and neither used nor expired.
#[derive(Debug)]
pub struct Tickets {
    me: NodeId,
    keys: Rotating<hmac::Key>,
    most: usize,
    waiting: HashMap<TicketHash, Holder>,
    /// In the order of their issue, which is that of their expiry; used ones are still there.
    ages: VecDeque<(Instant, TicketHash, Subject)>,
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
    /// Returns an empty collection of a node that takes so many, with the cluster's secrets.
    pub fn new(me: NodeId, (current, previous): (&Secret, Option<&Secret>), most: usize) -> Self {
        let make = |key: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, key);
        let keys = Rotating::derive(current, previous, "ticket 1", make);
        let (waiting, ages, counts) = Default::default();
        Self { me, keys, most, waiting, ages, counts }
    }

    /// Returns the node that issues them.
    pub fn node(&self) -> &NodeId {
        &self.me
    }

    /// Issues a ticket; `random` has to be just that, and used for nothing else.
    ///
    /// # Errors
    /// [`NoTicket`].
    pub fn issue(
        &mut self,
        holder: Holder,
        random: [u8; RANDOM_BYTES],
        now: Instant,
    ) -> Result<SecretString, NoTicket> {
        self.forget(now);
        let subject = &holder.claims.subject;
        if self.counts.get(subject).is_some_and(|count| *count >= TICKETS_OF_SUBJECT_MAX) {
            return Err(NoTicket::TooMany);
        }
        if self.ages.len() >= self.most {
            return Err(NoTicket::Full);
        }
        let hash = hashed(&random);
        *self.counts.entry(subject.clone()).or_default() += 1;
        self.ages.push_back((now, hash, subject.clone()));
        self.waiting.insert(hash, holder);
        let tag = hmac::sign(&self.keys.current, &signed(&random, self.me.0.as_str()));
        let name = self.me.0.as_str().as_bytes();
        let ticket = [&[VERSION][..], &random, tag.as_ref(), name].concat();
        Ok(URL_SAFE_NO_PAD.encode(ticket).into())
    }

    /// Reads a ticket, whichever node has issued it; whether it is good still is known there.
    ///
    /// # Errors
    /// [`BadTicket`] where no node of the cluster has ever issued it.
    pub fn read(&self, ticket: &str) -> Result<Issued, BadTicket> {
        let mut bytes = [0; BYTES_MAX];
        let length = URL_SAFE_NO_PAD.decode_slice(ticket, &mut bytes).map_err(|_| BadTicket)?;
        let (version, rest) = bytes[..length].split_first().ok_or(BadTicket)?;
        let (random, rest) = rest.split_first_chunk::<RANDOM_BYTES>().ok_or(BadTicket)?;
        let (tag, name) = rest.split_first_chunk::<TAG_BYTES>().ok_or(BadTicket)?;
        let name = str::from_utf8(name).map_err(|_| BadTicket)?;
        let signed = signed(random, name);
        let made_by = |key: &hmac::Key| hmac::verify(key, &signed, tag).is_ok();
        let is_ours =
            made_by(&self.keys.current) || self.keys.previous.as_ref().is_some_and(made_by);
        if *version != VERSION || !is_ours {
            return Err(BadTicket);
        }
        let by = NodeId(name.parse().map_err(|_| BadTicket)?);
        Ok(Issued { by, hash: hashed(random) })
    }

    /// Takes a ticket of this node, which is good for this once.
    ///
    /// # Errors
    /// [`BadTicket`].
    pub fn take(&mut self, hash: &TicketHash, now: Instant) -> Result<Holder, BadTicket> {
        self.forget(now);
        // Looked up by its hash: how long that takes tells nothing about the ticket.
        self.waiting.remove(hash).ok_or(BadTicket)
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

/// Returns what is signed: what is before the name has a fixed length.
fn signed(random: &[u8; RANDOM_BYTES], name: &str) -> Vec<u8> {
    [&[VERSION][..], random, name.as_bytes()].concat()
}

fn hashed(random: &[u8; RANDOM_BYTES]) -> TicketHash {
    let hash = digest(&SHA256, random);
    TicketHash(hash.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::types::{Author, Timestamp};

    fn holder(subject: &str) -> Holder {
        let subject = subject.parse().expect("a subject");
        let (name, expires) = (Author::anonymous(), Timestamp(0));
        let (issued, id, grants, key) = (None, None, Vec::new(), None);
        let claims = Claims { subject, name, expires, issued, id, grants, key };
        Holder { claims, login: Some(LoginId([1; 16])) }
    }

    fn secret(byte: u8) -> Secret {
        Secret::read(&[byte; 32]).expect("it is long enough")
    }

    /// The tickets of a node whose cluster has a secret of such bytes.
    fn of(node: &str, secrets: (u8, Option<u8>), most: usize) -> Tickets {
        let (current, previous) = (secret(secrets.0), secrets.1.map(secret));
        let node = NodeId(node.parse().expect("a name"));
        Tickets::new(node, (&current, previous.as_ref()), most)
    }

    fn tickets(most: usize) -> Tickets {
        of("node-0", (b'a', None), most)
    }

    fn random(n: usize) -> [u8; 32] {
        let mut random = [0; 32];
        random[..8].copy_from_slice(&n.to_be_bytes());
        random
    }

    fn issue(tickets: &mut Tickets, n: usize, now: Instant) -> String {
        let ticket = tickets.issue(holder("a"), random(n), now).expect("room");
        ticket.expose_secret().to_owned()
    }

    /// Takes a ticket as the node does that it is shown to, where that has issued it.
    fn take(tickets: &mut Tickets, ticket: &str, now: Instant) -> Result<Holder, BadTicket> {
        let Issued { by, hash } = tickets.read(ticket)?;
        assert_eq!(&by, tickets.node());
        tickets.take(&hash, now)
    }

    #[test]
    fn a_ticket_is_taken_once() {
        let (mut tickets, now) = (tickets(10), Instant::now());
        let ticket = issue(&mut tickets, 1, now);
        assert_eq!(take(&mut tickets, &ticket, now), Ok(holder("a")));
        assert_eq!(take(&mut tickets, &ticket, now), Err(BadTicket));
    }

    #[test]
    fn every_node_reads_who_has_issued_a_ticket_and_that_node_alone_has_it() {
        let now = Instant::now();
        let longest = "~".repeat(DOC_ID_BYTES_MAX);
        for name in ["a", "node-1.example_x~", &longest] {
            let (mut one, mut other) = (of(name, (b'a', None), 10), of("b", (b'a', None), 10));
            let ticket = issue(&mut one, 1, now);
            let url_safe = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            assert!(ticket.len() <= 258 && ticket.bytes().all(url_safe), "{ticket}");
            let issued = other.read(&ticket).expect("it is the cluster's");
            assert_eq!((&issued.by, Ok(&issued)), (one.node(), one.read(&ticket).as_ref()));
            assert_eq!(other.take(&issued.hash, now), Err(BadTicket));
            assert_eq!(one.take(&issued.hash, now), Ok(holder("a")));
        }
    }

    #[test]
    fn the_secret_is_replaced_in_two_steps() {
        let ticket = issue(&mut tickets(10), 1, Instant::now());
        let read = |secrets| of("node-1", secrets, 10).read(&ticket).is_ok();
        assert!(read((b'a', None)) && read((b'b', Some(b'a'))) && read((b'a', Some(b'b'))));
        assert!(!read((b'b', None)), "another cluster's");
    }

    #[test]
    fn a_ticket_expires_after_30_s() {
        let (mut tickets, now) = (tickets(10), Instant::now());
        let (one, two) = (issue(&mut tickets, 1, now), issue(&mut tickets, 2, now));
        let just = TICKET_LIFETIME - Duration::from_nanos(1);
        assert!(take(&mut tickets, &one, now + just).is_ok());
        assert_eq!(take(&mut tickets, &two, now + TICKET_LIFETIME), Err(BadTicket));
        assert!(tickets.is_empty() && tickets.waiting.is_empty() && tickets.counts.is_empty());
    }

    #[test]
    fn places_are_bounded_for_each_and_for_all() {
        let (mut tickets, now) = (tickets(100), Instant::now());
        for n in 0..TICKETS_OF_SUBJECT_MAX {
            let ticket = issue(&mut tickets, n, now);
            // One that is used keeps its place: who asks and uses in a loop is held up, too.
            assert!(take(&mut tickets, &ticket, now).is_ok());
        }
        let more = tickets.issue(holder("a"), random(100), now);
        assert_eq!(more.err(), Some(NoTicket::TooMany));
        for n in TICKETS_OF_SUBJECT_MAX..100 {
            let subject = format!("s{n}");
            tickets.issue(holder(&subject), random(n), now).expect("room");
        }
        assert_eq!(tickets.issue(holder("b"), random(100), now).err(), Some(NoTicket::Full));
        assert_eq!(tickets.len(), 100);
        let later = now + TICKET_LIFETIME;
        assert!(tickets.issue(holder("a"), random(101), later).is_ok());
        assert_eq!((tickets.len(), tickets.counts.len()), (1, 1));
    }

    #[test]
    fn what_is_no_ticket_opens_nothing() {
        let (mut tickets, now) = (tickets(10), Instant::now());
        let ticket = issue(&mut tickets, 1, now);
        let longer = format!("{ticket}A");
        for bad in ["", "AAAA", &ticket[1..], &longer, &"A".repeat(43), &"A".repeat(10_000)] {
            assert_eq!(take(&mut tickets, bad, now), Err(BadTicket), "{bad}");
        }
        let never = TicketHash([0; 32]);
        assert_eq!(tickets.take(&never, now), Err(BadTicket));
        assert!(!format!("{tickets:?}").contains(&ticket));
        assert!(take(&mut tickets, &ticket, now).is_ok(), "the good one is still there");
    }

    /// Who was given no ticket has no node asked, whatever name they put there.
    #[test]
    fn every_bit_of_a_ticket_counts() {
        let mut tickets = tickets(10);
        let ticket = issue(&mut tickets, 1, Instant::now());
        let bytes = URL_SAFE_NO_PAD.decode(&ticket).expect("base64url");
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert_eq!(tickets.read(&forged), Err(BadTicket), "bit {bit}");
        }
        for length in 0..bytes.len() {
            let part = URL_SAFE_NO_PAD.encode(&bytes[..length]);
            assert_eq!(tickets.read(&part), Err(BadTicket), "{length} bytes");
        }
    }
}
