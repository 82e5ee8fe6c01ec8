//! What the tests of this module share: short operations, and random ones that fit a text.

use proptest::prelude::*;

use crate::crdt::table::Meta;
use crate::text::{Component, Operation, apply};
use crate::types::{Author, Revision, Seq, SessionId, Timestamp};

/// Describes one writer's batch, half a second after the one before.
pub(crate) fn meta(seq: u64) -> Meta {
    Meta {
        author: "ada".parse::<Author>().unwrap(),
        session: SessionId([7; 16]),
        seq: Seq(seq),
        base: Revision(seq - 1),
        at: Timestamp(1_700_000_000_000 + seq * 500),
    }
}

pub(crate) fn insert(at: u32, text: &str) -> Operation {
    operation(at, 0, text)
}

pub(crate) fn delete(at: u32, chars: u32) -> Operation {
    operation(at, chars, "")
}

pub(crate) fn replace(at: u32, chars: u32, text: &str) -> Operation {
    operation(at, chars, text)
}

fn operation(at: u32, chars: u32, text: &str) -> Operation {
    let list = [Component::Retain(at), Component::Insert(text.into()), Component::Delete(chars)];
    valid(list.into_iter().collect())
}

/// Drops the components that change nothing.
fn valid(mut list: Vec<Component>) -> Operation {
    list.retain(|component| match component {
        Component::Retain(chars) | Component::Delete(chars) => *chars > 0,
        Component::Insert(text) => !text.is_empty(),
    });
    Operation::from_components(list).unwrap()
}

/// The plan of an operation, to be fitted to a text: (skip, delete, insert) several times.
pub(crate) type Plan = Vec<(u8, u8, String)>;

/// Plans operations: typing, erasing, replacing, several places at once, nothing.
pub(crate) fn ops(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Plan>> {
    let text = prop::sample::select(vec!["", "", "a", "b", "é", "e\u{301}", "🙂", "\r\n", "words"]);
    let edit = (any::<u8>(), prop_oneof![Just(0), Just(1), 0..5_u8], text.prop_map(String::from));
    prop::collection::vec(prop::collection::vec(edit, 0..4), count)
}

/// Fits planned operations to the texts they meet, starting from `text`.
pub(crate) fn model(text: &str, plans: &[Plan]) -> Vec<Operation> {
    let mut text = text.to_owned();
    let fit = |plan: &Plan| {
        let mut left = text.chars().count() as u32;
        let mut list = Vec::new();
        for (skip, chars, inserted) in plan {
            let skip = u32::from(*skip) % (left + 1);
            left -= skip;
            let chars = u32::from(*chars).min(left);
            left -= chars;
            list.push(Component::Retain(skip));
            list.push(Component::Insert(inserted.as_str().into()));
            list.push(Component::Delete(chars));
        }
        let op = valid(list);
        text = apply(&op, &text).unwrap();
        op
    };
    plans.iter().map(fit).collect()
}

/// Applies one operation after another.
pub(crate) fn apply_all(text: &str, ops: &[Operation]) -> String {
    ops.iter().fold(text.to_owned(), |text, op| apply(op, &text).unwrap())
}
