//! Moves away from this node, which it drives.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::cluster::handoff::{OwnerEffect, OwnerInput, OwnerSide, OwnerStage};
use crate::cluster::{MoveBegun, MoveEnded, Outcome, Record, Text, WriteError};
use crate::shard::keeper::Local;
use crate::shard::keeper::run::Run;
use crate::shard::keeper::ward::{Event, Giving, Rest, Serving, Ward};
use crate::shard::{Claiming, HandOverError, PeerError};
use crate::types::{NodeId, Offset, ShardId};

/// How long is waited after a move that was undone, or could not begin, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

impl Run {
    /// Begins to hand a shard over.
    pub(crate) fn give(&mut self, shard: ShardId, to: NodeId) {
        let (attempt, deadlines) = (self.next_attempt(), self.keeping.deadlines);
        let at = self.keeping.shards.clock.now();
        let (member, events) = (self.keeping.member.clone(), self.events.clone());
        let Ward::Serving(serving) = self.ward(shard) else { return };
        let Some(epoch) = serving.handle.epoch() else { return };
        let side = OwnerSide::new(to.clone(), epoch, deadlines);
        let since = Instant::now();
        let (released, lost) = (None, false);
        let giving = Giving { attempt, to: to.clone(), side, released, lost, since };
        serving.giving = Some(giving);
        let (from, from_boot) = (member.node().clone(), member.boot());
        let begun = MoveBegun { shard, from, from_boot, to, at };
        self.keeping.shards.spawn_vital("begin a move", async move {
            let result = member.write(&Record::MoveBegun(begun)).await;
            // A keeper that has ended moves nothing.
            let _ = events.send(Event::Began { shard, attempt, result });
        });
    }

    pub(crate) fn began(&mut self, shard: ShardId, attempt: u64, result: Result<(), WriteError>) {
        self.read(self.keeping.member.control());
        match result {
            Ok(()) => self.given(shard, attempt, OwnerInput::Begun),
            Err(reason) => {
                info!(%shard, %reason, "the move does not begin");
                let pause = self.pause(shard);
                if let Some(serving) = self.giving(shard, attempt) {
                    serving.giving = None;
                    serving.move_after = Instant::now() + pause;
                }
            }
        }
    }

    /// Returns how long the next move of a shard waits.
    fn pause(&self, shard: ShardId) -> Duration {
        let factor = 1 << self.control.undone(shard).min(12);
        (PAUSE.0 * factor).min(PAUSE.1)
    }

    fn giving(&mut self, shard: ShardId, attempt: u64) -> Option<&mut Serving> {
        match self.ward(shard) {
            Ward::Serving(serving) => {
                serving.giving.as_ref().is_some_and(|one| one.attempt == attempt).then_some(serving)
            }
            Ward::Absent(_) | Ward::Starting { .. } | Ward::StandingBy(_) => None,
        }
    }

    /// Reads in control what has become of a move.
    pub(crate) fn news_for_giving(&mut self, shard: ShardId) {
        let Ward::Serving(Serving { giving: Some(giving), .. }) = self.ward(shard) else { return };
        if matches!(giving.side.stage(), OwnerStage::Idle) {
            return;
        }
        let (attempt, to) = (giving.attempt, giving.to.clone());
        let moving = self.control.moving(shard);
        if moving.is_some_and(|one| one.from == *self.node() && one.to == to) {
            return;
        }
        let owner = self.control.owner(shard).map(|owner| owner.node);
        let up = self.control.member(&to).is_some_and(crate::cluster::Member::is_up);
        let input = match owner {
            Some(owner) if owner == to => OwnerInput::TargetOwned,
            _ if !up => OwnerInput::TargetDown,
            _ => OwnerInput::MoveGone,
        };
        self.given(shard, attempt, input);
    }

    /// Tells a move that runs, if one does.
    pub(crate) fn given_at(&mut self, shard: ShardId, input: OwnerInput) {
        if let Ward::Serving(Serving { giving: Some(giving), .. }) = self.ward(shard) {
            let attempt = giving.attempt;
            self.given(shard, attempt, input);
        }
    }

    pub(crate) fn given(&mut self, shard: ShardId, attempt: u64, input: OwnerInput) {
        let now = self.now();
        let Some(serving) = self.giving(shard, attempt) else { return };
        let Some(giving) = &mut serving.giving else { return };
        let effects = giving.side.take(now, input);
        let ended = match giving.side.stage() {
            OwnerStage::Done => Some(None),
            OwnerStage::Undone(reason) => Some(Some(reason.to_string())),
            OwnerStage::Idle
            | OwnerStage::Warming { .. }
            | OwnerStage::Draining { .. }
            | OwnerStage::Releasing { .. }
            | OwnerStage::Released { .. } => None,
        };
        for effect in effects {
            self.carry_out(shard, attempt, effect);
        }
        match ended {
            Some(None) => self.done(shard),
            Some(Some(reason)) => self.undone(shard, &reason),
            None => {}
        }
    }

    fn done(&mut self, shard: ShardId) {
        let Ward::Serving(Serving { giving: Some(giving), .. }) = self.ward(shard) else { return };
        info!(%shard, to = %giving.to.0, took = ?giving.since.elapsed(), "the shard has moved");
        self.keeping.shards.metrics.moves.with_label_values(&["done"]).inc();
        self.end(shard, Rest::default());
    }

    fn undone(&mut self, shard: ShardId, reason: &str) {
        warn!(%shard, %reason, "the move is undone");
        self.keeping.shards.metrics.moves.with_label_values(&["undone"]).inc();
        let pause = self.pause(shard);
        let Ward::Serving(serving) = self.ward(shard) else { return };
        let Some(giving) = serving.giving.take() else { return };
        serving.move_after = Instant::now() + pause;
        match giving.released {
            _ if giving.lost => self.lose(shard),
            // Its writer has ended: the shard is claimed anew, and whoever is quicker has it.
            Some(at) => {
                self.end(shard, Rest::default());
                if !self.is_parting() {
                    self.claim(shard, 0, Claiming::Released(at));
                }
            }
            None => {}
        }
    }

    fn carry_out(&mut self, shard: ShardId, attempt: u64, effect: OwnerEffect) {
        let (peers, events) = (self.keeping.peers.clone(), self.events.clone());
        let (tasks, parting) = (self.keeping.shards.tasks.clone(), self.is_parting());
        let Some(serving) = self.giving(shard, attempt) else { return };
        let handle = serving.handle.clone();
        // A keeper that has ended moves nothing: nobody is left to be told.
        let given = move |input| drop(events.send(Event::Given { shard, attempt, input }));
        match effect {
            OwnerEffect::AskWarm(to) => {
                tasks.spawn("ask to warm up", async move {
                    given(input(peers.warm(&to, shard).await, OwnerInput::Ready));
                });
            }
            OwnerEffect::Drain => {
                let held = handle.hold();
                tasks.spawn("hold", async move {
                    if held.await.is_ok() {
                        given(OwnerInput::Drained);
                    }
                });
            }
            OwnerEffect::AppendRelease => self.release(shard, attempt),
            OwnerEffect::TellReleased(to, offset) => {
                let events = self.events.clone();
                tasks.spawn("tell of a release", async move {
                    match peers.released(&to, shard, offset).await {
                        Ok(()) => drop(events.send(Event::Taken { shard, attempt })),
                        Err(error) => given(input(Err(error), OwnerInput::Ready)),
                    }
                });
            }
            // A node that goes takes nothing new.
            OwnerEffect::Resume if parting => {}
            OwnerEffect::Resume => {
                // Where the node trusts itself no more, it is suspended anew.
                serving.suspended = false;
                handle.resume();
            }
            // It follows from how the move ended.
            OwnerEffect::Reclaim => {}
            OwnerEffect::EndMove(outcome) => self.end_move(shard, outcome),
        }
    }

    fn release(&mut self, shard: ShardId, attempt: u64) {
        let events = self.events.clone();
        let tasks = self.keeping.shards.tasks.clone();
        let Some(serving) = self.giving(shard, attempt) else { return };
        let Some(giving) = &mut serving.giving else { return };
        let (handle, to) = (serving.handle.clone(), giving.to.clone());
        tasks.spawn("release", async move {
            let result = handle.release(Some(to)).await;
            // A keeper that has ended moves nothing.
            let _ = events.send(Event::Released { shard, attempt, result });
        });
    }

    pub(crate) fn released(
        &mut self,
        shard: ShardId,
        attempt: u64,
        result: Result<Offset, HandOverError>,
    ) {
        let Some(serving) = self.giving(shard, attempt) else { return };
        let Some(giving) = &mut serving.giving else { return };
        let input = match result {
            Ok(offset) => {
                giving.released = Some(offset);
                OwnerInput::Landed(offset)
            }
            // The writer has claimed again, and serves. Control keeps the epoch from before, as
            // after any claim of the writer's own: it is only compared with claims of other nodes,
            // which count on top of the new one or not at all.
            Err(HandOverError::Undone) => OwnerInput::Unknown,
            Err(HandOverError::Fenced | HandOverError::Ended) => {
                giving.lost = true;
                OwnerInput::Fenced
            }
        };
        self.given(shard, attempt, input);
    }

    /// The target serves: clients are sent there before that is news to all.
    pub(crate) fn taken(&mut self, shard: ShardId, attempt: u64) {
        let shared = self.shared.clone();
        let Some(serving) = self.giving(shard, attempt) else { return };
        let Some(giving) = &serving.giving else { return };
        let gone_to = Some(giving.to.clone());
        shared.set(shard, Local { handle: Some(serving.handle.clone()), gone_to });
    }

    pub(crate) fn end_move(&self, shard: ShardId, outcome: Outcome) {
        let member = self.keeping.member.clone();
        let (from, from_boot) = (member.node().clone(), member.boot());
        let ended = MoveEnded { shard, from, from_boot, outcome };
        self.keeping.shards.tasks.spawn("end a move", async move {
            // One that has ended in control already is void here.
            if let Err(reason) = member.write(&Record::MoveEnded(ended)).await {
                info!(%shard, %reason, "the end of a move was not written");
            }
        });
    }
}

fn input(result: Result<(), PeerError>, well: OwnerInput) -> OwnerInput {
    match result {
        Ok(()) => well,
        Err(PeerError::Gone) => OwnerInput::PeerGone,
        Err(PeerError::Refused(why)) => OwnerInput::Refused(shortened(&why)),
    }
}

/// Returns as much of a text as may be told.
fn shortened(why: &str) -> Text<128> {
    let plain: String = why.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    plain[..plain.floor_char_boundary(128)].parse().expect("it is short and plain")
}
