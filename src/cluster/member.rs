//! One run of a node as a member: it joins, is heard, hears the others, and goes.
//!
//! ```text
//! start ─► read to the end ─► (found the cluster) ─► candidate ─► Join read back ─► member
//! member: a heartbeat every 300 ms; votes; a snapshot now and then
//!         voted down though alive ─► joins again      another run has the name ─► ends
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::cluster::topic::{Observer, Topic, Unread, WriteError};
use crate::cluster::{
    Addresses, Candidate, Change, Control, Decision, Detector, Founded, Heartbeat, Join, Leave,
    Load, Record, Refusal, Status, Timing, Verdict, Version, Void,
};
use crate::log::{Log, ReadError};
use crate::task::{Fatal, Tasks};
use crate::types::{NodeId, Offset};

/// How often a candidate looks whether it may join.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How many records are kept before a snapshot that counts, when the topic is trimmed.
const KEPT: u64 = 1_000;

const OBSCURE: &str = "nothing in the control topic that this program can read says how the \
    cluster is: start the version of the program that the other nodes run; where nobody runs, and \
    nothing else helps, delete the control topic (PREFIX-control)";

const NAME_LOST: &str = "another process runs under this node's name: give one of them another";

/// What a node says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Tells this start from others; usually, but not surely, a later one has a higher number.
    pub boot: u64,
    /// Where it listens.
    pub addresses: Addresses,
    /// Its share of the shards, 1 to 100.
    pub weight: u32,
    /// What it understands.
    pub version: Version,
}

/// What a member works with.
#[derive(Clone)]
pub struct Ports {
    /// The control topic.
    pub log: Arc<dyn Log>,
    /// How soon is soon.
    pub timing: Timing,
    /// Tells the time that records carry.
    pub clock: Clock,
    /// Tells how busy the node is.
    pub load: Arc<dyn Fn() -> Load + Send + Sync>,
    /// Owns the tasks.
    pub tasks: Tasks,
    /// Ends the process where its name is another's.
    pub fatal: Fatal,
}

/// Tells why a node did not become a member.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The control topic cannot be read.
    #[error("the control topic cannot be read: {0}; look at the brokers")]
    Read(#[from] ReadError),
    /// It cannot be written, or the join is void.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Somebody else has the name.
    #[error(transparent)]
    Refused(Refusal),
    /// The cluster follows rules that this program does not know.
    #[error(transparent)]
    Rules(Void),
    /// What is left of the topic does not say how the cluster is.
    #[error("{OBSCURE}")]
    Obscure,
    /// The cluster was founded over another log.
    #[error(
        "the control topic belongs to the cluster of another log: correct --log; where the log was \
         made anew, delete the control topic (PREFIX-control) while no node runs"
    )]
    OtherLog,
    /// The cluster was founded with another number of shards.
    #[error(
        "the cluster has {found} shards and {asked} are asked for: start with --shards {found}"
    )]
    Shards {
        /// How many it has.
        found: u32,
        /// How many were asked for.
        asked: u32,
    },
}

/// A member, for the rest of the program; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    topic: Topic,
    ports: Ports,
    began: Instant,
    watch: Mutex<Watch>,
    /// Whether it goes: it is silent then, and does not join again.
    leaving: AtomicBool,
    /// Is held while it joins again: a leave comes after that.
    joining: tokio::sync::Mutex<()>,
    /// Whoever else wants to see the records that are read.
    also: OnceLock<Arc<dyn Observer>>,
}

/// What is heard of the members.
struct Watch {
    detector: Detector,
    candidate: Option<Candidate>,
    /// Whether this run has been a member, and has not left.
    joined: bool,
}

/// Becomes a member, and stays one until the tasks are stopped. Where nobody has founded the
/// cluster yet, this node does, with the id and the number of shards given.
///
/// # Errors
/// [`JoinError`]: the node is no member then.
pub async fn join(
    identity: Identity,
    (cluster, shards): (u128, u32),
    ports: Ports,
) -> Result<Handle, JoinError> {
    let Identity { node, boot, .. } = identity.clone();
    let began = Instant::now();
    let detector = Detector::new(node, boot, ports.timing, Duration::ZERO);
    let watch = Mutex::new(Watch { detector, candidate: None, joined: false });
    let topic = Topic::new(ports.log.clone());
    let (leaving, joining, also) = Default::default();
    let shared = Arc::new(Shared { identity, topic, ports, began, watch, leaving, joining, also });
    shared.topic.catch_up(&*shared).await?;
    while let Some(unread) = shared.topic.obscure().await? {
        if unread == 0 {
            return Err(JoinError::Obscure);
        }
        shared.topic.catch_up(&*shared).await?;
    }
    if let Some(void) = shared.other_rules(&shared.topic.control()) {
        return Err(JoinError::Rules(void));
    }
    let (tasks, token) = (shared.ports.tasks.clone(), shared.ports.tasks.token().clone());
    let following = Arc::clone(&shared);
    tasks.spawn_vital("control", shared.ports.fatal.clone(), async move {
        following.topic.follow(&*following, &token).await;
    });
    shared.found(cluster, shards).await?;
    shared.become_member().await?;
    let pulsing = Arc::clone(&shared);
    tasks.spawn_vital("pulse", shared.ports.fatal.clone(), pulsing.pulse());
    Ok(Handle { shared })
}

impl Handle {
    /// Returns the node's name.
    pub fn node(&self) -> &NodeId {
        &self.shared.identity.node
    }

    /// Returns the number of this start.
    pub fn boot(&self) -> u64 {
        self.shared.identity.boot
    }

    /// Returns the state of the cluster as this node knows it.
    pub fn control(&self) -> Arc<Control> {
        self.shared.topic.control()
    }

    /// Waits for a state newer than `than`.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    ///
    /// # Errors
    /// [`WriteError::Ended`] where this node follows the topic no more.
    pub async fn newer(&self, than: Option<Offset>) -> Result<Arc<Control>, WriteError> {
        self.shared.topic.newer(than).await
    }

    /// Has an observer see every record that is read from now on; the first one that asks.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        // A node has one.
        let _ = self.shared.also.set(observer);
    }

    /// Writes a record and waits until it counts.
    ///
    /// # Errors
    /// [`WriteError`]: nothing has changed, or nobody knows.
    pub async fn write(&self, record: &Record) -> Result<(), WriteError> {
        self.shared.topic.write(record).await
    }

    /// Tells whether this run of the node is a member that is up.
    pub fn is_up(&self) -> bool {
        self.control().is_up(self.node(), self.boot())
    }

    /// Tells whether the node must not serve: it has not read its own heartbeat back for long.
    pub fn is_suspended(&self) -> bool {
        let now = self.shared.now();
        self.shared.watch.lock().detector.is_suspended(now)
    }

    /// Tells whether the node leaves the cluster in order: it is heard of no more, also by itself.
    pub fn is_leaving(&self) -> bool {
        self.shared.leaving.load(Ordering::Relaxed)
    }

    /// Returns which records of the control topic this node could not read.
    pub fn unread(&self) -> Unread {
        self.shared.topic.unread()
    }

    /// Returns how many records of the control topic this node has not read yet.
    ///
    /// # Errors
    /// Where the topic does not tell.
    pub async fn behind(&self) -> Result<u64, ReadError> {
        self.shared.topic.behind().await
    }

    /// Leaves the cluster in order, and joins it no more.
    ///
    /// # Errors
    /// [`WriteError`]: the others will find out by themselves.
    pub async fn leave(&self) -> Result<(), WriteError> {
        self.shared.leaving.store(true, Ordering::Relaxed);
        // A join that is under way comes first.
        drop(self.shared.joining.lock().await);
        let Identity { node, boot, .. } = self.shared.identity.clone();
        self.write(&Record::Leave(Leave { node, boot })).await?;
        self.shared.watch.lock().joined = false;
        Ok(())
    }
}

impl Observer for Shared {
    fn observe(&self, record: &Record, outcome: &Result<Vec<Change>, Void>, control: &Control) {
        if let Some(also) = self.also.get() {
            also.observe(record, outcome, control);
        }
        if let Some(void) = self.other_rules(control)
            && self.watch.lock().joined
        {
            // What other records mean from here on is not known to this program.
            self.ports.fatal.stop_with(&void.to_string());
        }
        let (node, boot) = match record {
            Record::Join(Join { node, boot, .. })
            | Record::Heartbeat(Heartbeat { node, boot, .. }) => (node, *boot),
            _ => return,
        };
        if outcome.is_err() {
            return;
        }
        let now = self.now();
        let mut watch = self.watch.lock();
        watch.detector.heard(node, boot, now);
        if let Some(candidate) = &mut watch.candidate {
            candidate.heard(node, boot, now);
        }
        let own = &self.identity;
        if *node == own.node && control.is_up(node, boot) {
            // What is read before the own join is about runs before this one, whose numbers may be
            // higher: the clock may have been set back.
            watch.joined |= boot == own.boot;
            if watch.joined && boot != own.boot {
                self.ports.fatal.stop_with(NAME_LOST);
            }
        }
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Tells why this program must not take part any more: the cluster has newer rules.
    fn other_rules(&self, control: &Control) -> Option<Void> {
        let own = self.identity.version.rules;
        let cluster = control.rules().filter(|rules| *rules > own.1)?;
        Some(Void::OtherRules { node: own, cluster })
    }

    async fn found(&self, cluster: u128, shards: u32) -> Result<(), JoinError> {
        if self.topic.control().cluster().is_none() {
            let founded = Founded { cluster, shards, at: self.ports.clock.now() };
            match self.topic.write(&Record::Founded(founded)).await {
                // Another node was quicker.
                Ok(()) | Err(WriteError::Void(Void::AlreadyFounded)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let control = self.topic.control();
        if control.cluster() != Some(cluster) {
            return Err(JoinError::OtherLog);
        }
        let found = control.shards();
        if found == shards { Ok(()) } else { Err(JoinError::Shards { found, asked: shards }) }
    }

    async fn become_member(&self) -> Result<(), JoinError> {
        let Identity { node, boot, .. } = self.identity.clone();
        let (timing, control) = (self.ports.timing, self.topic.control());
        let candidate = Candidate::new(node, boot, timing, self.now(), &control);
        self.watch.lock().candidate = Some(candidate);
        let joined = loop {
            let (now, control) = (self.now(), self.topic.control());
            let decision =
                self.watch.lock().candidate.as_mut().and_then(|one| one.tick(now, &control));
            match decision {
                Some(Decision::Joined) => break Ok(()),
                Some(Decision::Refused(refusal)) => break Err(JoinError::Refused(refusal)),
                Some(Decision::Join { replaces }) => match self.write_join(replaces).await {
                    // Somebody was quicker: look again.
                    Ok(()) | Err(WriteError::Void(Void::NameTaken { .. })) => {}
                    Err(error) => break Err(error.into()),
                },
                None => sleep(LOOK_EVERY).await,
            }
        };
        self.watch.lock().candidate = None;
        joined
    }

    async fn write_join(&self, replaces: Option<u64>) -> Result<(), WriteError> {
        let Identity { node, boot, addresses, weight, version } = self.identity.clone();
        let at = self.ports.clock.now();
        let join = Join { node, boot, replaces, addresses, weight, version, at };
        self.topic.write(&Record::Join(join)).await
    }

    /// Is heard, hears the others, and keeps the topic short, until the tasks are stopped.
    async fn pulse(self: Arc<Self>) {
        let token = self.ports.tasks.token().clone();
        let mut beat = interval(self.ports.timing.heartbeat_every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let beats = Arc::new(tokio::sync::Semaphore::new(2));
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                _ = beat.tick() => {}
            }
            // Where the topic stands still, no more than these wait for it.
            let Ok(permit) = beats.clone().try_acquire_owned() else { continue };
            let shared = Arc::clone(&self);
            self.ports.tasks.spawn("beat", async move {
                shared.beat().await;
                drop(permit);
            });
            self.vote();
        }
    }

    async fn beat(&self) {
        if self.leaving.load(Ordering::Relaxed) {
            // Where that could not be written, the others find out by its silence.
            return;
        }
        let control = self.topic.control();
        if let Ok(Some(0)) = self.topic.obscure().await {
            // The topic was trimmed before this node had read it, and goes on in newer words.
            self.ports.fatal.stop_with(OBSCURE);
            return;
        }
        let Identity { node, boot, .. } = self.identity.clone();
        match control.member(&node) {
            Some(member) if member.boot == boot && member.is_up() => {}
            // The others did not hear of this node for a while.
            Some(member) if member.boot == boot && member.status == Status::Down => {
                return self.join_again().await;
            }
            // For so long that it made room for another one. A topic that was trimmed before it
            // was read tells of nobody until its snapshot is.
            None if control.cluster().is_some() && self.watch.lock().joined => {
                return self.join_again().await;
            }
            Some(_) | None => return,
        }
        let Load { ack_p99, sessions, documents } = (self.ports.load)();
        let ack_p99_ms = u32::try_from(ack_p99.as_millis()).unwrap_or(u32::MAX);
        let heartbeat = Heartbeat { node, boot, ack_p99_ms, sessions, documents };
        match self.topic.append(&Record::Heartbeat(heartbeat)).await {
            Ok(at) => self.keep_short(at).await,
            Err(reason) => warn!(%reason, "a heartbeat was not written"),
        }
    }

    async fn join_again(&self) {
        let _joining = self.joining.lock().await;
        if self.leaving.load(Ordering::Relaxed) {
            return;
        }
        info!("the others held this node for dead, it joins again");
        match self.write_join(None).await {
            Ok(()) => {}
            // The others have gone on to what this program does not understand.
            Err(WriteError::Void(
                void @ (Void::OtherRules { .. } | Void::NoCommonVersion { .. }),
            )) => self.ports.fatal.stop_with(&void.to_string()),
            Err(reason) => warn!(%reason, "could not join again"),
        }
    }

    /// Writes a snapshot where one is due and this node is the one to do so.
    async fn keep_short(&self, own_beat: Offset) {
        // A snapshot made before the own heartbeat is read back would always be late by one.
        let before = own_beat.0.checked_sub(1).map(Offset);
        let Ok(control) = self.topic.newer(before).await else { return };
        let first = control.up().next().map(|(node, _)| node);
        if !control.wants_snapshot() || first != Some(&self.identity.node) {
            return;
        }
        let Some(snapshot) = control.to_snapshot() else { return };
        let at = snapshot.at;
        // One that another record came before is void: the next beat tries again.
        if self.topic.write(&Record::Snapshot(snapshot)).await.is_ok() {
            self.topic.trim(Offset(at.0.saturating_sub(KEPT))).await;
        }
    }

    /// Votes members down that are silent.
    fn vote(self: &Arc<Self>) {
        let control = self.topic.control();
        let verdicts = self.watch.lock().detector.tick(self.now(), &control);
        for Verdict::Vote(down) in verdicts {
            warn!(node = %down.node.0, "silent, voting it down");
            let shared = Arc::clone(self);
            self.ports.tasks.spawn("vote", async move {
                // A vote that is not written is repeated while the member is silent.
                let _ = shared.topic.append(&Record::Down(down)).await;
            });
        }
    }
}

#[cfg(test)]
mod tests;
