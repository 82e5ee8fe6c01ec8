//! Moves to this node, which their owners drive.

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cluster::handoff::{Heir, TargetEffect, TargetInput, TargetSide, TargetStage};
use crate::shard::handle::start_over;
use crate::shard::keeper::STOPPING;
use crate::shard::keeper::run::Run;
use crate::shard::keeper::ward::{Event, Reply, Rest, StandingBy, Ward};
use crate::shard::{Begun, Claiming, Follower, Handle, Ports, StartError};
use crate::types::{NodeId, Offset, ShardId};

impl Run {
    pub(crate) fn warm_asked(&mut self, from: NodeId, shard: ShardId, reply: Reply) {
        let parting = self.is_parting();
        let refused = match self.knows(shard).then(|| self.ward(shard)) {
            None => "there is no such shard",
            Some(_) if parting => STOPPING,
            Some(Ward::Starting { .. } | Ward::Serving(_)) => "this node has or claims the shard",
            Some(Ward::Absent(_)) => return self.stand_by(from, shard, reply),
            Some(Ward::StandingBy(standing)) if standing.from == from => {
                match standing.side.stage() {
                    TargetStage::Ready => drop(reply.send(Ok(()))),
                    _ => standing.warm.push(reply),
                }
                return;
            }
            Some(Ward::StandingBy(_)) => "another node hands the shard over",
        };
        // Whoever asked may have gone, here and below.
        let _ = reply.send(Err(refused.to_owned()));
    }

    fn stand_by(&mut self, from: NodeId, shard: ShardId, reply: Reply) {
        let mut side = TargetSide::default();
        side.take(TargetInput::AskedToWarm);
        let attempt = self.next_attempt();
        let (claim, ordered) = oneshot::channel();
        let (warm, served, claim) = (vec![reply], Vec::new(), Some(claim));
        let until = self.keeping.shards.tasks.token().child_token();
        let _until = until.clone().drop_guard();
        *self.ward(shard) =
            Ward::StandingBy(StandingBy { attempt, from, side, claim, _until, warm, served });
        let (ports, events) = (self.keeping.shards.clone(), self.events.clone());
        self.keeping.shards.spawn_vital("stand by", async move {
            let tell = |result| drop(events.send(Event::Warmed { shard, attempt, result }));
            if let Some(result) = follow(shard, ports, ordered, tell, &until).await {
                // A keeper that has ended has no use for it.
                let _ = events.send(Event::Started { shard, attempt, result });
            }
        });
    }

    pub(crate) fn warmed(&mut self, shard: ShardId, attempt: u64, result: Result<(), String>) {
        let Ward::StandingBy(standing) = self.ward(shard) else { return };
        if standing.attempt != attempt {
            return;
        }
        match result {
            Ok(()) => {
                standing.side.take(TargetInput::Warmed);
                standing.warm.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
            }
            // The owner keeps it then.
            Err(reason) => self.forget(shard, &reason),
        }
    }

    pub(crate) fn release_told(
        &mut self,
        (from, shard, offset): (NodeId, ShardId, Offset),
        reply: Reply,
    ) {
        let refused = match self.knows(shard).then(|| self.ward(shard)) {
            None => Err("there is no such shard"),
            // Told again: the answer was lost.
            Some(Ward::Serving(_)) => Ok(()),
            Some(Ward::Absent(_) | Ward::Starting { .. }) => Err("no such move is known here"),
            Some(Ward::StandingBy(standing)) if standing.from == from => {
                standing.served.push(reply);
                let effect = standing.side.take(TargetInput::ToldReleased(offset));
                return self.carry_out_target(shard, effect, Claiming::Released(offset));
            }
            Some(Ward::StandingBy(_)) => Err("another node hands the shard over"),
        };
        let _ = reply.send(refused.map_err(str::to_owned));
    }

    /// Reads in control what has become of a move to this node.
    pub(crate) fn news_for_standing_by(&mut self, shard: ShardId) {
        let Ward::StandingBy(standing) = self.ward(shard) else { return };
        let from = standing.from.clone();
        if let TargetStage::Claiming = standing.side.stage() {
            return;
        }
        let moving = self.control.moving(shard);
        if moving.is_some_and(|one| one.from == from && one.to == *self.node()) {
            return;
        }
        let here = self.control.placement(shard) == Some(self.node());
        let input = match self.control.owner(shard) {
            None if here => TargetInput::OwnerDown(Heir::ThisNode),
            None => TargetInput::OwnerDown(Heir::Another),
            Some(_) => TargetInput::MoveGone,
        };
        let Ward::StandingBy(standing) = self.ward(shard) else { return };
        let effect = standing.side.take(input);
        self.carry_out_target(shard, effect, Claiming::First);
    }

    fn carry_out_target(
        &mut self,
        shard: ShardId,
        effect: Option<TargetEffect>,
        claiming: Claiming,
    ) {
        match effect {
            Some(TargetEffect::Claim) => {
                if let Ward::StandingBy(standing) = self.ward(shard)
                    && let Some(claim) = standing.claim.take()
                {
                    // A follower that has ended has told why.
                    let _ = claim.send(claiming);
                }
            }
            Some(TargetEffect::Forget) => {
                info!(%shard, "the shard does not come here");
                self.forget(shard, "the move is over");
            }
            // What follows from being asked is begun where it is asked.
            Some(TargetEffect::WarmUp | TargetEffect::SayReady | TargetEffect::Publish(_))
            | None => {}
        }
    }

    /// Has a shard not come here, and tells whoever waits for it why.
    pub(crate) fn forget(&mut self, shard: ShardId, why: &str) {
        if matches!(self.ward(shard), Ward::StandingBy(_)) {
            self.answer_standing_by(shard, Err(why));
            *self.ward(shard) = Ward::Absent(Rest::default());
        }
    }

    /// Tells whoever waits for a shard that was to come here.
    pub(crate) fn answer_standing_by(&mut self, shard: ShardId, result: Result<(), &str>) {
        if let Ward::StandingBy(standing) = self.ward(shard) {
            let all = standing.served.drain(..).chain(standing.warm.drain(..));
            all.for_each(|reply| drop(reply.send(result.map_err(str::to_owned))));
        }
    }
}

/// Follows a shard until it is ordered to claim it, and does; nothing where it is to be forgotten.
async fn follow(
    shard: ShardId,
    ports: Ports,
    mut ordered: oneshot::Receiver<Claiming>,
    tell: impl Fn(Result<(), String>),
    until: &CancellationToken,
) -> Option<Result<Handle, StartError>> {
    let warming = async {
        match Follower::begin(shard, ports.clone()).await {
            Ok(Begun::Following(mut follower)) => {
                follower.catch_up().await.map(|()| follower).map_err(|error| error.to_string())
            }
            Ok(Begun::Lost(..)) => Err("records of the shard are lost".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    };
    let mut follower = tokio::select! {
        biased;
        warmed = warming => match warmed {
            Ok(follower) => follower,
            Err(reason) => {
                tell(Err(reason));
                return None;
            }
        },
        claiming = &mut ordered => return cold(shard, ports, claiming.ok(), until).await,
    };
    tell(Ok(()));
    let claiming = loop {
        let more = tokio::select! {
            biased;
            claiming = &mut ordered => break claiming.ok()?,
            more = follower.wait() => more,
        };
        let caught_up = match more {
            Ok(()) => follower.catch_up().await,
            Err(reason) => Err(reason),
        };
        if caught_up.is_err() {
            // It is claimed from the beginning then.
            return cold(shard, ports, ordered.await.ok(), until).await;
        }
    };
    match follower.claim(claiming, until).await {
        Err(reason) if reason.is_trimmed() => Some(start_over(shard, ports, claiming, until).await),
        claimed => Some(claimed),
    }
}

async fn cold(
    shard: ShardId,
    ports: Ports,
    claiming: Option<Claiming>,
    until: &CancellationToken,
) -> Option<Result<Handle, StartError>> {
    Some(start_over(shard, ports, claiming?, until).await)
}
