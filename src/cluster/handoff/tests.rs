//! Both sides of a move over a model of the log, the control topic and the link between them:
//! whatever happens in whatever order, one side has the shard in the end.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cluster::record::Outcome;
use crate::cluster::testing::{node, text};
use crate::types::{Epoch, Offset};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Owner,
    Target,
}

/// What counts in the control topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Begun,
    Ended,
    Owned(Side),
    Gone(Side),
}

#[derive(Debug, Clone)]
enum Message {
    AskWarm,
    Ready,
    Refused,
    Released(Offset),
}

/// A process: what of it is not in the machine.
#[derive(Debug, Default)]
struct Process {
    crashed: bool,
    /// How much of control it has read.
    read: usize,
    inbox: VecDeque<Message>,
    /// The ownership it holds.
    believes: Option<Epoch>,
    /// Whether it takes edits.
    serves: bool,
    /// The epoch that a claim under way is on top of.
    claiming: Option<Epoch>,
    /// Whether that claim is part of the move, and its outcome for the machine to hear.
    for_move: bool,
}

struct World {
    now: Duration,
    owner_side: OwnerSide,
    target_side: TargetSide,
    owner: Process,
    target: Process,
    /// The log: current epoch, whether it is released, next offset.
    epoch: Epoch,
    released: bool,
    next: u64,
    releasing: bool,
    draining: bool,
    warming: bool,
    control: Vec<Fact>,
    moving: bool,
    owned_epoch: Epoch,
}

/// Everything that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Deliver(Side),
    Read(Side),
    ReleaseLands,
    ReleaseIsLost,
    ReleaseLandsUnknown,
    ClaimLands(Side),
    Drained,
    Warmed,
    Refuses,
    Tick,
    CutLink,
    /// Messages to a side are lost, and nobody notices.
    Lose(Side),
    Crash(Side),
    Detect(Side),
    /// Another member, or an operator, ends the move.
    EndMove,
}

const EVENTS: [Event; 21] = [
    Event::Deliver(Side::Owner),
    Event::Deliver(Side::Target),
    Event::Read(Side::Owner),
    Event::Read(Side::Target),
    Event::ReleaseLands,
    Event::ClaimLands(Side::Owner),
    Event::ClaimLands(Side::Target),
    Event::Drained,
    Event::Warmed,
    Event::Detect(Side::Owner),
    Event::Detect(Side::Target),
    Event::Tick,
    Event::ReleaseIsLost,
    Event::ReleaseLandsUnknown,
    Event::Refuses,
    Event::CutLink,
    Event::Lose(Side::Owner),
    Event::Lose(Side::Target),
    Event::Crash(Side::Owner),
    Event::Crash(Side::Target),
    Event::EndMove,
];

/// The first of them that no fault has a part in.
const BENIGN: usize = 12;

impl World {
    fn new() -> Self {
        let epoch = Epoch(1);
        let begins = |serves| Process { serves, ..Process::default() };
        Self {
            now: Duration::ZERO,
            owner_side: OwnerSide::new(node("b"), epoch, Deadlines::default()),
            target_side: TargetSide::default(),
            owner: Process { believes: Some(epoch), ..begins(true) },
            target: begins(false),
            epoch,
            released: false,
            next: 2,
            releasing: false,
            draining: false,
            warming: false,
            control: vec![Fact::Begun],
            moving: true,
            owned_epoch: epoch,
        }
    }

    fn process(&mut self, side: Side) -> &mut Process {
        match side {
            Side::Owner => &mut self.owner,
            Side::Target => &mut self.target,
        }
    }

    /// Lets something happen, if it can; tells whether it could.
    fn happen(&mut self, event: Event) -> bool {
        match event {
            Event::Deliver(side) => self.deliver(side),
            Event::Read(side) => self.read(side),
            Event::ReleaseLands => self.release(true, true),
            Event::ReleaseIsLost => self.release(false, false),
            Event::ReleaseLandsUnknown => self.release(true, false),
            Event::ClaimLands(side) => self.claim(side),
            Event::Drained => {
                let can = !self.owner.crashed && std::mem::take(&mut self.draining);
                can && self.tell_owner(OwnerInput::Drained)
            }
            Event::Warmed => {
                let can = !self.target.crashed && std::mem::take(&mut self.warming);
                can && self.tell_target(TargetInput::Warmed)
            }
            Event::Refuses => {
                self.owner.inbox.push_back(Message::Refused);
                true
            }
            Event::Tick => {
                self.now += Duration::from_secs(1);
                !self.owner.crashed && self.tell_owner(OwnerInput::Tick)
            }
            Event::CutLink => {
                self.owner.inbox.clear();
                self.target.inbox.clear();
                !self.owner.crashed && self.tell_owner(OwnerInput::PeerGone)
            }
            Event::Lose(side) => {
                self.process(side).inbox.clear();
                true
            }
            Event::Crash(side) => {
                let process = self.process(side);
                let can = !std::mem::replace(&mut process.crashed, true);
                process.believes = None;
                can
            }
            Event::Detect(side) => {
                let gone = Fact::Gone(side);
                let can = self.process(side).crashed && !self.control.contains(&gone);
                if can {
                    self.moving = false;
                    self.control.push(gone);
                }
                can
            }
            Event::EndMove => {
                let can = std::mem::take(&mut self.moving);
                if can {
                    self.control.push(Fact::Ended);
                }
                can
            }
        }
    }

    fn deliver(&mut self, side: Side) -> bool {
        if self.process(side).crashed {
            return false;
        }
        let Some(message) = self.process(side).inbox.pop_front() else { return false };
        match message {
            Message::AskWarm => self.tell_target(TargetInput::AskedToWarm),
            Message::Released(offset) => self.tell_target(TargetInput::ToldReleased(offset)),
            Message::Ready => self.tell_owner(OwnerInput::Ready),
            Message::Refused => self.tell_owner(OwnerInput::Refused(text("no"))),
        }
    }

    fn read(&mut self, side: Side) -> bool {
        let process = match side {
            Side::Owner => &mut self.owner,
            Side::Target => &mut self.target,
        };
        let Some(fact) = self.control.get(process.read).copied() else { return false };
        if process.crashed {
            return false;
        }
        process.read += 1;
        match (side, fact) {
            (Side::Owner, Fact::Begun) => self.tell_owner(OwnerInput::Begun),
            (Side::Owner, Fact::Owned(Side::Target)) => {
                // A newer ownership: whatever it holds is over.
                self.owner.believes = None;
                self.tell_owner(OwnerInput::TargetOwned)
            }
            (Side::Owner, Fact::Gone(Side::Target)) => {
                self.tell_owner(OwnerInput::TargetDown);
                self.inherit(Side::Owner);
                true
            }
            (Side::Owner, Fact::Ended | Fact::Owned(Side::Owner) | Fact::Gone(Side::Owner)) => {
                self.tell_owner(OwnerInput::MoveGone)
            }
            (Side::Target, Fact::Gone(Side::Owner)) => {
                self.tell_target(TargetInput::OwnerDown(Heir::ThisNode));
                self.inherit(Side::Target);
                true
            }
            (Side::Target, Fact::Begun) => true,
            (Side::Target, Fact::Ended | Fact::Owned(_) | Fact::Gone(Side::Target)) => {
                self.tell_target(TargetInput::MoveGone)
            }
        }
    }

    /// The release is appended or not, and its writer learns of it or not.
    fn release(&mut self, lands: bool, known: bool) -> bool {
        // What a crashed owner had under way may still land.
        if !std::mem::take(&mut self.releasing) {
            return false;
        }
        let offset = Offset(self.next);
        let counts = self.epoch == Epoch(1) && !self.released;
        if lands {
            self.next += 1;
            self.released |= counts;
        }
        if self.owner.crashed {
            return true;
        }
        match (known, lands && !counts) {
            (true, true) => {
                self.owner.believes = None;
                self.tell_owner(OwnerInput::Fenced)
            }
            (true, false) => self.tell_owner(OwnerInput::Landed(offset)),
            (false, _) => self.tell_owner(OwnerInput::Unknown),
        }
    }

    /// Lets the placement's heir claim what one who is gone may have owned: no part of a move.
    fn inherit(&mut self, side: Side) {
        let gone = match side {
            Side::Owner => Fact::Gone(Side::Target),
            Side::Target => Fact::Gone(Side::Owner),
        };
        let process = self.process(side);
        let read = process.read;
        let idle = process.believes.is_none() && process.claiming.is_none() && !process.crashed;
        if idle && self.control[..read].contains(&gone) {
            self.begin_claim(side);
        }
    }

    fn begin_claim(&mut self, side: Side) {
        // It reads the tail first.
        let epoch = self.epoch;
        self.process(side).claiming = Some(epoch);
    }

    /// A claim is appended; its writer reads up to it, however often it has to try.
    fn claim(&mut self, side: Side) -> bool {
        let (epoch, offset) = (self.epoch, Epoch(self.next));
        let process = self.process(side);
        let Some(prev) = process.claiming.take() else { return false };
        let crashed = process.crashed;
        self.next += 1;
        let counts = prev == epoch;
        if counts {
            (self.epoch, self.released) = (offset, false);
        }
        if crashed {
            return true;
        }
        let process = self.process(side);
        if std::mem::take(&mut process.for_move) {
            let input = if counts { TargetInput::Claimed(offset) } else { TargetInput::Fenced };
            self.tell_target(input);
        } else {
            self.conclude(side, counts.then_some(offset));
        }
        self.inherit(side);
        true
    }

    /// Lets a side hold what it has claimed, and say so.
    fn conclude(&mut self, side: Side, epoch: Option<Epoch>) {
        let process = self.process(side);
        process.believes = epoch;
        process.serves = epoch.is_some();
        if let Some(epoch) = epoch {
            self.publish(side, epoch);
        }
    }

    fn publish(&mut self, side: Side, epoch: Epoch) {
        let gone = self.control.contains(&Fact::Gone(side));
        if epoch > self.owned_epoch && !gone {
            self.owned_epoch = epoch;
            self.moving = false;
            self.control.push(Fact::Owned(side));
        }
    }

    fn tell_owner(&mut self, input: OwnerInput) -> bool {
        for effect in self.owner_side.take(self.now, input) {
            match effect {
                OwnerEffect::AskWarm(to) => {
                    assert_eq!(to, node("b"));
                    self.target.inbox.push_back(Message::AskWarm);
                }
                OwnerEffect::Drain => {
                    self.owner.serves = false;
                    self.draining = true;
                }
                OwnerEffect::AppendRelease => {
                    assert!(!self.owner.serves && !self.releasing);
                    self.releasing = true;
                }
                OwnerEffect::TellReleased(_, offset) => {
                    self.target.inbox.push_back(Message::Released(offset));
                }
                OwnerEffect::Resume => {
                    assert!(!self.releasing, "a release under way would fence what is served");
                    self.owner.serves = true;
                    self.draining = false;
                }
                OwnerEffect::Reclaim => self.owner.claiming = Some(Epoch(1)),
                OwnerEffect::EndMove(Outcome::Done | Outcome::Undone(_)) => {
                    self.happen(Event::EndMove);
                }
            }
        }
        true
    }

    fn tell_target(&mut self, input: TargetInput) -> bool {
        match self.target_side.take(input) {
            Some(TargetEffect::WarmUp) => self.warming = true,
            Some(TargetEffect::SayReady) => self.owner.inbox.push_back(Message::Ready),
            Some(TargetEffect::Claim) => {
                self.target.for_move = true;
                self.begin_claim(Side::Target);
            }
            Some(TargetEffect::Publish(epoch)) => self.conclude(Side::Target, Some(epoch)),
            Some(TargetEffect::Forget) => self.warming = false,
            None => {}
        }
        true
    }

    /// Lets all that is under way come to its end.
    fn settle(&mut self) {
        for _ in 0..60 {
            // An owner that holds an old epoch learns of it by its next append.
            if self.owner.serves && self.owner.believes.is_some_and(|own| own != self.epoch) {
                self.owner.believes = None;
                self.tell_owner(OwnerInput::Fenced);
                // The claim may be one that its writer did not live to see.
                self.inherit(Side::Owner);
            }
            for event in &EVENTS[..BENIGN] {
                self.happen(*event);
            }
        }
    }

    fn check_step(&self) -> Result<(), TestCaseError> {
        let current = [&self.owner, &self.target];
        let current = current.map(|process| process.believes == Some(self.epoch));
        prop_assert!(current != [true, true], "two current owners");
        for process in [&self.owner, &self.target] {
            prop_assert!(process.believes.is_none_or(|epoch| epoch <= self.epoch));
        }
        // Whoever serves something that is not current has a newer claim against it in the log.
        if self.owner.serves && self.owner.believes == Some(self.epoch) && !self.owner.crashed {
            prop_assert!(!self.released, "the owner serves what it released");
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), TestCaseError> {
        let alive: Vec<_> =
            [&self.owner, &self.target].into_iter().filter(|process| !process.crashed).collect();
        if alive.is_empty() {
            return Ok(());
        }
        let owners = alive.iter().filter(|process| process.believes.is_some()).count();
        prop_assert_eq!(owners, 1, "{:?} {:?}", &self.owner_side, &self.target_side);
        prop_assert!(!self.released, "nobody is left released");
        for process in alive.iter().filter(|process| process.believes.is_some()) {
            prop_assert_eq!(process.believes, Some(self.epoch));
            prop_assert!(process.serves, "the owner serves: {:?}", &self.owner_side);
        }
        prop_assert!(!self.moving, "the move has ended in control");
        if !self.target.crashed {
            let ended =
                matches!(self.target_side.stage(), TargetStage::Owning(_) | TargetStage::GivenUp);
            prop_assert!(ended, "{:?}", self.target_side);
        }
        if !self.owner.crashed {
            let ended = matches!(self.owner_side.stage(), OwnerStage::Done | OwnerStage::Undone(_));
            prop_assert!(ended, "{:?}", self.owner_side);
        }
        Ok(())
    }
}

fn run(events: &[Event]) -> Result<World, TestCaseError> {
    let mut world = World::new();
    for event in events {
        world.happen(*event);
        world.check_step()?;
    }
    world.settle();
    world.check_step()?;
    world.check_end()?;
    Ok(world)
}

/// A move that goes well takes these events.
const WELL: [Event; 11] = [
    Event::Read(Side::Owner),
    Event::Deliver(Side::Target),
    Event::Warmed,
    Event::Deliver(Side::Owner),
    Event::Drained,
    Event::ReleaseLands,
    Event::Deliver(Side::Target),
    Event::ClaimLands(Side::Target),
    Event::Read(Side::Owner),
    Event::Read(Side::Target),
    Event::Read(Side::Target),
];

#[test]
fn a_move_goes_well() {
    let world = run(&WELL).unwrap();
    assert_eq!(world.owner_side.stage(), &OwnerStage::Done);
    assert_eq!(world.target_side.stage(), TargetStage::Owning(Epoch(3)));
    assert_eq!(world.now, Duration::from_secs(60), "no time passed before the end");
}

/// Two events of any kind at any two places of a move that goes well.
#[test]
fn any_two_disturbances_anywhere_leave_one_owner() {
    let mut undone = 0;
    for (first, one) in (0..=WELL.len()).flat_map(|at| EVENTS.map(|event| (at, event))) {
        for (second, two) in (first..=WELL.len()).flat_map(|at| EVENTS.map(|event| (at, event))) {
            let (start, middle, end) = (&WELL[..first], &WELL[first..second], &WELL[second..]);
            let events = [start, &[one], middle, &[two], end].concat();
            let world = run(&events).unwrap_or_else(|failed| panic!("{events:?}: {failed}"));
            undone += u32::from(matches!(world.owner_side.stage(), OwnerStage::Undone(_)));
        }
    }
    assert!(undone > 1_000, "{undone}");
}

#[test]
fn every_step_has_a_deadline() {
    let check = |steps: usize, secs: u64, reason: Reason| {
        let mut world = World::new();
        for event in &WELL[..steps] {
            world.happen(*event);
        }
        for _ in 1..secs {
            world.happen(Event::Tick);
        }
        assert!(!matches!(world.owner_side.stage(), OwnerStage::Undone(_)), "{reason}");
        world.happen(Event::Tick);
        assert_eq!(world.owner_side.stage(), &OwnerStage::Undone(reason));
    };
    check(1, 30, Reason::WarmedLate);
    check(4, 5, Reason::DrainedLate);
    check(6, 3, Reason::ClaimedLate);
}

#[test]
fn a_release_whose_outcome_is_unknown_is_claimed_back() {
    for unknown in [Event::ReleaseIsLost, Event::ReleaseLandsUnknown] {
        let events = [&WELL[..5], &[unknown, Event::ClaimLands(Side::Owner)]].concat();
        let world = run(&events).unwrap();
        assert_eq!(world.owner_side.stage(), &OwnerStage::Undone(Reason::Unknown));
        assert!(world.owner.believes > Some(Epoch(1)));
        assert_eq!(world.target_side.stage(), TargetStage::GivenUp);
    }
}

#[test]
fn a_warm_target_claims_where_the_owner_crashes() {
    let events = [&WELL[..4], &[Event::Crash(Side::Owner), Event::Detect(Side::Owner)]].concat();
    let world = run(&events).unwrap();
    assert!(matches!(world.target_side.stage(), TargetStage::Owning(_)));
    let mut target = TargetSide::default();
    target.take(TargetInput::AskedToWarm);
    assert_eq!(target.take(TargetInput::OwnerDown(Heir::Another)), Some(TargetEffect::Forget));
}

#[test]
fn the_late_claim_of_a_target_that_is_known_to_be_gone_is_claimed_over() {
    let began = &WELL[..WELL.iter().position(|event| *event == Event::ReleaseLands).unwrap() + 1];
    let undone = [Event::EndMove, Event::Read(Side::Owner), Event::ClaimLands(Side::Owner)];
    let late = [
        Event::Deliver(Side::Target),
        Event::Crash(Side::Target),
        Event::Read(Side::Owner),
        Event::Detect(Side::Target),
        Event::Read(Side::Owner),
        Event::Read(Side::Owner),
        Event::ClaimLands(Side::Target),
    ];
    run(&[began, &undone, &late].concat()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_interleaving_leaves_one_owner(
        // Faults are rare among what else happens.
        picks in prop::collection::vec(
            prop_oneof![9 => 0..BENIGN, 1 => BENIGN..EVENTS.len()],
            0..80,
        ),
    ) {
        let events: Vec<_> = picks.into_iter().map(|at| EVENTS[at]).collect();
        run(&events)?;
    }
}
