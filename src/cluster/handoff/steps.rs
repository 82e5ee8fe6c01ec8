//! Each side of a move alone: what it does with each input at each stage.

use std::time::Duration;

use super::*;
use crate::cluster::record::Outcome;
use crate::cluster::testing::{node, text};
use crate::types::{Epoch, Offset};

/// An owner that has taken the inputs that lead to its release, the last `missing` ones left out.
fn owner_before(missing: usize) -> OwnerSide {
    let mut owner = OwnerSide::new(node("b"), Epoch(1), Deadlines::default());
    let inputs =
        [OwnerInput::Begun, OwnerInput::Ready, OwnerInput::Drained, OwnerInput::Landed(Offset(2))];
    for input in &inputs[..inputs.len() - missing] {
        owner.take(Duration::ZERO, input.clone());
    }
    owner
}

fn end(reason: &Reason) -> OwnerEffect {
    OwnerEffect::EndMove(Outcome::Undone(text(&reason.to_string())))
}

/// Each way to undo a move does at once what its stage needs, and ends it in control once.
#[test]
fn an_owner_undoes_as_its_stage_needs() {
    let check = |missing, input: OwnerInput, back: Option<OwnerEffect>, reason: Reason, ends| {
        let mut owner = owner_before(missing);
        let expected: Vec<_> = back.into_iter().chain(ends_if(ends, &reason)).collect();
        let effects = owner.take(Duration::ZERO, input.clone());
        assert_eq!(effects, expected, "{missing} {input:?}");
        assert_eq!(owner.stage(), &OwnerStage::Undone(reason));
        assert_eq!(owner.take(Duration::ZERO, input), []);
    };
    let backs = [(3, None), (2, Some(OwnerEffect::Resume)), (0, Some(OwnerEffect::Reclaim))];
    for (missing, back) in backs {
        check(missing, OwnerInput::PeerGone, back.clone(), Reason::PeerGone, true);
        check(missing, OwnerInput::TargetDown, back.clone(), Reason::TargetDown, false);
        check(missing, OwnerInput::MoveGone, back.clone(), Reason::MoveGone, false);
        let (input, why) = (OwnerInput::Refused(text("no")), Reason::Refused(text("no")));
        check(missing, input, back, why, true);
    }
    for missing in [3, 2, 1] {
        check(missing, OwnerInput::Fenced, None, Reason::Fenced, true);
    }
    for missing in [2, 1] {
        let back = Some(OwnerEffect::Reclaim);
        check(missing, OwnerInput::Unknown, back, Reason::Unknown, true);
    }
    for input in [OwnerInput::TargetOwned, OwnerInput::Fenced] {
        let mut owner = owner_before(0);
        assert_eq!(owner.take(Duration::ZERO, input), []);
        assert_eq!(owner.stage(), &OwnerStage::Done);
    }
}

fn ends_if(ends: bool, reason: &Reason) -> Option<OwnerEffect> {
    ends.then(|| end(reason))
}

#[test]
fn what_happens_while_a_release_is_under_way_is_minded_when_it_has_landed() {
    let check = |inputs: &[OwnerInput], reason: Reason, ends| {
        let mut owner = owner_before(1);
        for input in inputs {
            assert_eq!(owner.take(Duration::ZERO, input.clone()), []);
        }
        let effects = owner.take(Duration::ZERO, OwnerInput::Landed(Offset(2)));
        let expected: Vec<_> =
            [OwnerEffect::Reclaim].into_iter().chain(ends_if(ends, &reason)).collect();
        assert_eq!(effects, expected, "{inputs:?}");
        assert_eq!(owner.stage(), &OwnerStage::Undone(reason));
    };
    let (cut, down) = (OwnerInput::PeerGone, OwnerInput::TargetDown);
    check(std::slice::from_ref(&cut), Reason::PeerGone, true);
    check(std::slice::from_ref(&down), Reason::TargetDown, false);
    check(&[cut.clone(), down.clone()], Reason::TargetDown, false);
    check(&[down, cut], Reason::TargetDown, false);
}

#[test]
fn a_target_goes_one_way() {
    let check = |inputs: &[TargetInput], effect: Option<TargetEffect>, stage: TargetStage| {
        let mut target = TargetSide::default();
        let effects: Vec<_> = inputs.iter().map(|input| target.take(*input)).collect();
        assert_eq!((effects.last(), target.stage()), (Some(&effect), stage), "{inputs:?}");
    };
    use TargetInput::*;
    let told = ToldReleased(Offset(2));
    check(&[AskedToWarm], Some(TargetEffect::WarmUp), TargetStage::Warming);
    check(&[AskedToWarm, AskedToWarm], None, TargetStage::Warming);
    check(&[Warmed], None, TargetStage::Idle);
    check(&[AskedToWarm, Warmed], Some(TargetEffect::SayReady), TargetStage::Ready);
    check(&[told], Some(TargetEffect::Claim), TargetStage::Claiming);
    check(&[AskedToWarm, Warmed, told], Some(TargetEffect::Claim), TargetStage::Claiming);
    check(&[told, told], None, TargetStage::Claiming);
    check(&[told, MoveGone], None, TargetStage::Claiming);
    check(&[told, OwnerDown(Heir::Another)], None, TargetStage::Claiming);
    check(&[told, Fenced], Some(TargetEffect::Forget), TargetStage::GivenUp);
    let (owning, publish) = (TargetStage::Owning(Epoch(3)), TargetEffect::Publish(Epoch(3)));
    check(&[told, Claimed(Epoch(3))], Some(publish), owning);
    check(&[told, Claimed(Epoch(3)), MoveGone], None, owning);
    check(&[OwnerDown(Heir::ThisNode)], Some(TargetEffect::Claim), TargetStage::Claiming);
    for gone in [MoveGone, OwnerDown(Heir::Another)] {
        check(&[AskedToWarm, Warmed, gone], Some(TargetEffect::Forget), TargetStage::GivenUp);
        check(&[gone, told], None, TargetStage::GivenUp);
    }
}

#[test]
fn the_end_of_a_move_says_why() {
    let mut owner = OwnerSide::new(node("b"), Epoch(1), Deadlines::default());
    owner.take(Duration::ZERO, OwnerInput::Begun);
    let effects = owner.take(Duration::ZERO, OwnerInput::Refused(text(&"x".repeat(128))));
    let why = text(&format!("the target refuses: {}", "x".repeat(128)));
    assert_eq!(effects, [OwnerEffect::EndMove(Outcome::Undone(why))]);
}
