//! What one of many may take of what all of them use: by user, where it is known who it is, else by
//! address. So many at once ([`counted`], [`opened`]), so many a second ([`pace`], [`paces`]), a
//! part of the places for long work ([`places`]), and a turn ([`crate::shares`]).

pub(in crate::edge) mod counted;
pub(in crate::edge) mod opened;
pub(in crate::edge) mod pace;
pub(in crate::edge) mod paces;
pub(in crate::edge) mod places;

use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::edge::doors::Caller;
use crate::edge::metrics::Reason;
use crate::edge::port::networks::client;
use crate::edge::port::remote::Remote;
use crate::edge::tenants::counted::{Counted, Permit};
use crate::edge::tenants::opened::{Held, Opened};
use crate::edge::tenants::paces::Paces;
use crate::edge::tenants::places::{Places, Whose};
use crate::edge::{Config, Metrics};
use crate::shares::{Coming, Share, Shares};
use crate::task::cores;
use crate::types::DocId;

/// How much is on its way to the log and back at once, in bytes.
const ON_WAY_BYTES_MAX: u64 = 320 << 10;

/// Which part of the room of all bodies a tenant may take, or else one body of any length; and of
/// all answers.
const PART_OF_ALL: usize = 8;

/// For how long a piece that is no batch takes a share at most: it may read what is stored.
const READING_MAX: Duration = Duration::from_millis(20);

/// Whom it counts for: a user, whoever is at an address (in IPv6 in a network), or one socket of
/// somebody of whom nothing is known but that they are on this machine, or behind a proxy that
/// tells nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) struct Tenant {
    /// A hash that nobody outside knows.
    key: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Address,
    /// It is nobody in particular, and not counted.
    Nobody,
}

impl Tenant {
    /// Tells whether it is known who it is.
    pub(in crate::edge) fn is_user(self) -> bool {
        self.kind == Kind::User
    }
}

/// Keeps account of what tenants take.
pub struct Tenants {
    sockets: Counted<u64>,
    documents: Opened,
    /// The room of their bodies, in KiB.
    bodies: Counted<u64>,
    /// The room of answers that are on their way to them, in KiB.
    answers: Counted<u64>,
    requests: Paces,
    /// Requests of addresses at which nobody is known.
    unknown: Paces,
    /// Credentials of addresses that were refused.
    guesses: Paces,
    bytes: Paces,
    shares: Shares,
    /// Where the long work of requests is done.
    pub(in crate::edge) places: Places,
    metrics: Metrics,
    hash: RandomState,
}

/// Why a tenant gets nothing more, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::edge) enum Spent {
    /// It has as many sockets as it may have.
    #[error("you have too many sockets open: close some")]
    Sockets,
    /// It has as many documents open as it may have.
    #[error("you have too many documents open: close some")]
    Documents,
    /// It sends as much at once as it may send.
    #[error("you send too much at once: wait until it was taken")]
    Bodies,
    /// It has as much on its way to it as it may have.
    #[error("you read too much at once: take the answers that you have asked for, then ask again")]
    Answers,
    /// It asks too often; it may ask again after so long.
    #[error("too many requests: make fewer")]
    Requests(Duration),
    /// Too much is asked at an address without saying who asks; it may ask again after so long.
    #[error("too many requests from your address: make fewer, or sign in")]
    Address(Duration),
    /// Too many credentials of its address were refused; the next is looked at after so long.
    #[error("too many credentials from your address were refused: send good ones, and wait")]
    Guesses(Duration),
}

impl Spent {
    /// Returns when to come again.
    pub(in crate::edge) fn retry(self) -> Duration {
        match self {
            // Some of them end, or they do not: nobody knows when.
            Self::Sockets | Self::Documents => Duration::from_secs(10),
            Self::Bodies | Self::Answers => Duration::from_secs(1),
            Self::Requests(wait) | Self::Address(wait) | Self::Guesses(wait) => wait,
        }
    }

    /// Returns what is counted.
    pub(in crate::edge) fn reason(self) -> Reason {
        match self {
            Self::Sockets | Self::Requests(_) => Reason::User,
            Self::Bodies => Reason::UserBodies,
            Self::Answers => Reason::UserAnswers,
            Self::Documents => Reason::Documents,
            Self::Address(_) => Reason::AddressRequests,
            Self::Guesses(_) => Reason::Guesses,
        }
    }
}

impl Tenants {
    /// Lets tenants take what the limits say.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        Self {
            sockets: Counted::new(config.sockets_per_user),
            documents: Opened::new(config.documents_per_user),
            bodies: Counted::new((config.bodies_kib() / PART_OF_ALL).max(config.body_kib())),
            answers: Counted::new((config.answers_kib() / PART_OF_ALL).max(1)),
            requests: Paces::new(config.requests_per_second.into()),
            unknown: Paces::new(config.address_requests_per_second.into()),
            guesses: Paces::new(config.address_requests_per_second.into()),
            bytes: Paces::new(config.user_bytes_per_second.as_u64()),
            shares: Shares::new(cores(), ON_WAY_BYTES_MAX),
            places: Places::new(cores(), metrics),
            metrics: metrics.clone(),
            hash: RandomState::new(),
        }
    }

    /// Returns whom it counts for, what a caller does.
    pub(in crate::edge) fn of(&self, caller: &Caller, remote: Remote) -> Tenant {
        match caller.subject() {
            Some(subject) => Tenant { key: self.hash.hash_one(subject), kind: Kind::User },
            None => self.at(remote),
        }
    }

    /// Returns whom it counts for, what is done at an address by whom nobody knows.
    pub(in crate::edge) fn at(&self, remote: Remote) -> Tenant {
        let address = remote.address.to_canonical();
        match address.is_loopback() {
            true => Tenant { key: rand::random(), kind: Kind::Nobody },
            false => Tenant { key: self.hash.hash_one(client(address)), kind: Kind::Address },
        }
    }

    /// Returns whose long work it is, what a caller asks for: of one that another node has let in,
    /// nothing is known but the user.
    pub(in crate::edge) fn whose(&self, tenant: Option<Tenant>, caller: Option<&Caller>) -> Whose {
        let user = || Some(self.hash.hash_one(caller?.subject()?));
        tenant.map(|tenant| tenant.key).or_else(user)
    }

    /// Takes a place for a socket.
    pub(in crate::edge) fn socket(&self, tenant: Tenant) -> Result<Permit<u64>, Spent> {
        if tenant.kind == Kind::Nobody {
            return Ok(Permit::free());
        }
        self.sockets.take(&tenant.key).ok_or(Spent::Sockets)
    }

    /// Takes a place for a document, which is given back when the last socket to it has gone.
    pub(in crate::edge) fn document(&self, tenant: Tenant, doc: &DocId) -> Result<Held, Spent> {
        if tenant.kind == Kind::Nobody {
            return Ok(Held::free());
        }
        self.documents.take(tenant.key, doc).ok_or(Spent::Documents)
    }

    /// Counts a request.
    pub(in crate::edge) fn request(&self, tenant: Tenant) -> Result<(), Spent> {
        let taken = |paces: &Paces| paces.take(tenant.key, Duration::ZERO).map(drop);
        match tenant.kind {
            Kind::User => taken(&self.requests).map_err(Spent::Requests),
            Kind::Address => taken(&self.unknown).map_err(Spent::Address),
            Kind::Nobody => Ok(()),
        }
    }

    /// Takes room for a body of so many KiB.
    pub(in crate::edge) fn body(&self, tenant: Tenant, kib: usize) -> Result<Permit<u64>, Spent> {
        if tenant.kind == Kind::Nobody {
            return Ok(Permit::free());
        }
        self.bodies.take_many(&tenant.key, kib).ok_or(Spent::Bodies)
    }

    /// Takes room for an answer of so many KiB: one that is longer than a part takes all of it.
    pub(in crate::edge) fn answer(&self, tenant: Tenant, kib: usize) -> Result<Permit<u64>, Spent> {
        if tenant.kind == Kind::Nobody {
            return Ok(Permit::free());
        }
        self.answers.take_many(&tenant.key, kib.min(self.answers.max())).ok_or(Spent::Answers)
    }

    /// Tells whether credentials that come from an address are looked at.
    pub(in crate::edge) fn may_try(&self, at: Tenant) -> Result<(), Spent> {
        match at.kind {
            Kind::User | Kind::Nobody => Ok(()),
            Kind::Address => self.guesses.look(at.key).map_err(Spent::Guesses),
        }
    }

    /// Counts credentials that came from an address and were refused.
    pub(in crate::edge) fn guessed(&self, at: Tenant) {
        if at.kind == Kind::Address {
            // Not more than is counted at once: who guesses very often waits no longer for that.
            let _ = self.guesses.take(at.key, Duration::ZERO);
        }
    }

    /// Counts bytes that have come in, and returns how long they have to wait.
    pub(in crate::edge) fn bytes(&self, tenant: Tenant, bytes: u64) -> Duration {
        if tenant.kind == Kind::Nobody {
            return Duration::ZERO;
        }
        self.bytes.charge(tenant.key, bytes)
    }

    /// Gives turns, until cancelled; nobody's comes before it runs.
    pub fn turns(&self, token: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        self.shares.clone().passes(token)
    }

    /// Does a piece of work that is no batch when it is its turn. It counts as one of no length:
    /// what is only announced is not to take room.
    pub(in crate::edge) async fn in_turn<T>(
        &self,
        tenant: Tenant,
        piece: impl Future<Output = T>,
    ) -> T {
        let share = match self.turn(tenant, 0) {
            Ok(share) => share,
            Err(coming) => coming.await,
        };
        let over = async {
            sleep(READING_MAX).await;
            drop(share);
            pending().await
        };
        tokio::select! {
            biased;
            done = piece => done,
            never = over => never,
        }
    }

    /// Asks for the turn of so many bytes.
    pub(in crate::edge) fn turn(&self, tenant: Tenant, bytes: u64) -> Result<Share, Coming> {
        self.shares.ask(tenant.key, bytes).inspect_err(|_| self.metrics.queued.inc())
    }
}
