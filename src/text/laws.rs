//! Property tests: the laws of operations, against a model that goes character by character.

use proptest::prelude::*;

use crate::text::{
    Component, Operation, Run, Side, apply, collides, compose, compose_all, diff, map_position,
    transform,
};
use crate::types::Revision;

/// One step of a drawn operation: what kind, how many characters, which text.
type Step = (u8, u32, String);

fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => Just("a"),
        2 => Just("b"),
        1 => Just(" "),
        1 => Just("\n"),
        1 => Just("\r\n"),
        1 => Just("\r"),
        1 => Just("é"),
        1 => Just("e\u{301}"),
        1 => Just("😀"),
        1 => Just("👩\u{200d}💻"),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0u8..3, 0u32..4, text()), 0..6)
}

/// Builds an operation on a text of `chars` characters.
fn op(steps: &[Step], chars: u64) -> Operation {
    let mut left = u32::try_from(chars).unwrap();
    let mut op = Operation::builder();
    for (kind, count, text) in steps {
        let count = left.min(*count);
        match kind {
            0 => op = op.insert(text),
            1 => (op, left) = (op.retain(count), left - count),
            _ => (op, left) = (op.delete(count), left - count),
        }
    }
    op.build()
}

fn chars(text: &str) -> u64 {
    text.chars().count() as u64
}

/// What an operation does to each gap before, and to each, of `length` characters.
struct Plan {
    inserted: Vec<String>,
    deleted: Vec<bool>,
}

impl Plan {
    fn of(op: &Operation, length: u64) -> Self {
        let length = usize::try_from(length).unwrap();
        let mut plan =
            Self { inserted: vec![String::new(); length + 1], deleted: vec![false; length] };
        let mut at = 0;
        for component in op.components() {
            match component {
                Component::Retain(count) => at += *count as usize,
                Component::Insert(text) => plan.inserted[at].push_str(text),
                Component::Delete(count) => {
                    plan.deleted[at..at + *count as usize].fill(true);
                    at += *count as usize;
                }
            }
        }
        plan
    }
}

/// The text after several operations on `text`, the first one's inserts leftmost.
fn model(text: &str, plans: &[Plan]) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().map(Some).chain([None]).enumerate() {
        plans.iter().for_each(|plan| out.push_str(&plan.inserted[at]));
        out.extend(c.filter(|_| !plans.iter().any(|plan| plan.deleted[at])));
    }
    out
}

fn is_canonical(op: &Operation) -> bool {
    use Component::{Delete, Insert, Retain};
    let empty = |component: &Component| match component {
        Retain(count) | Delete(count) => *count == 0,
        Insert(text) => text.is_empty(),
    };
    let ordered = |pair: &[Component]| {
        matches!(pair, [Retain(_), Insert(_) | Delete(_)] | [Insert(_), Delete(_) | Retain(_)])
            || matches!(pair, [Delete(_), Retain(_)])
    };
    let parts = op.components();
    !parts.iter().any(empty)
        && parts.windows(2).all(ordered)
        && !matches!(parts.last(), Some(Retain(_)))
}

/// Tells whether `at` is between a CR and its LF.
fn in_line_end(text: &str, at: u64) -> bool {
    let at = usize::try_from(at).unwrap();
    at > 0 && text.chars().nth(at - 1) == Some('\r') && text.chars().nth(at) == Some('\n')
}

/// The places, in the text before and in the one after, where the changes begin and end.
fn seams(op: &Operation) -> Vec<(u64, u64)> {
    let (mut before, mut after) = (0, 0);
    let mut seams = Vec::new();
    for component in op.components() {
        match component {
            Component::Retain(count) => {
                seams.push((before, after));
                (before, after) = (before + u64::from(*count), after + u64::from(*count));
                seams.push((before, after));
            }
            Component::Insert(text) => after += chars(text),
            Component::Delete(count) => before += u64::from(*count),
        }
    }
    seams.push((before, after));
    seams
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn apply_does_what_the_model_does(text in text(), steps in steps()) {
        let op = op(&steps, chars(&text));
        let after = apply(&op, &text).unwrap();
        prop_assert_eq!(&after, &model(&text, &[Plan::of(&op, chars(&text))]));
        prop_assert_eq!(op.chars_after(chars(&text)), Ok(chars(&after)));
        let sum = chars(&text) + op.inserted_chars() - op.deleted_chars();
        prop_assert_eq!(sum, chars(&after));
        prop_assert!(is_canonical(&op), "{:?}", op);
    }

    #[test]
    fn operations_are_out_of_bounds_exactly_below_their_base(text in text(), steps in steps()) {
        let op = op(&steps, 50);
        let fits = op.base_chars() <= chars(&text);
        prop_assert_eq!(apply(&op, &text).is_ok(), fits);
        prop_assert_eq!(op.chars_after(chars(&text)).is_ok(), fits);
    }

    #[test]
    fn transform_does_what_the_model_does(text in text(), x in steps(), y in steps()) {
        let length = chars(&text);
        let (x, y) = (op(&x, length), op(&y, length));
        let (after_x, after_y) = (apply(&x, &text).unwrap(), apply(&y, &text).unwrap());
        for side in [Side::Left, Side::Right] {
            let x_first = [Plan::of(&x, length), Plan::of(&y, length)];
            let y_first = [Plan::of(&y, length), Plan::of(&x, length)];
            let expected = model(&text, if side == Side::Left { &x_first } else { &y_first });
            let x_over_y = transform(&x, &y, side);
            let y_over_x = transform(&y, &x, side.opposite());
            prop_assert_eq!(apply(&x_over_y, &after_y).unwrap(), expected.clone());
            prop_assert_eq!(apply(&y_over_x, &after_x).unwrap(), expected);
            prop_assert!(is_canonical(&x_over_y), "{:?}", x_over_y);
        }
        if !collides(&x, &y) {
            prop_assert_eq!(transform(&x, &y, Side::Left), transform(&x, &y, Side::Right));
        }
    }

    #[test]
    fn the_identity_changes_nothing(text in text(), x in steps()) {
        let x = op(&x, chars(&text));
        let identity = Operation::identity();
        for side in [Side::Left, Side::Right] {
            prop_assert_eq!(transform(&x, &identity, side), x.clone());
            prop_assert!(transform(&identity, &x, side).is_identity());
        }
        prop_assert_eq!(compose(&x, &identity), x.clone());
        prop_assert_eq!(compose(&identity, &x), x);
    }

    #[test]
    fn compose_is_one_after_the_other(
        text in text(), a in steps(), b in steps(), c in steps()
    ) {
        let a = op(&a, chars(&text));
        let after_a = apply(&a, &text).unwrap();
        let b = op(&b, chars(&after_a));
        let after_b = apply(&b, &after_a).unwrap();
        let c = op(&c, chars(&after_b));
        let ab = compose(&a, &b);
        prop_assert_eq!(apply(&ab, &text).unwrap(), after_b);
        prop_assert!(is_canonical(&ab), "{:?}", ab);
        let abc = compose(&ab, &c);
        prop_assert_eq!(&abc, &compose(&a, &compose(&b, &c)));
        prop_assert_eq!(compose_all(&[&a, &b, &c]), abc);
        prop_assert_eq!(compose_all(&[&a]), a);
        prop_assert!(compose_all::<Operation>(&[]).is_identity());
    }

    #[test]
    fn canonical_form_is_kept_by_its_own_components(text in text(), x in steps()) {
        let x = op(&x, chars(&text));
        prop_assert_eq!(Operation::from_components(x.components().iter().cloned()), Ok(x));
    }

    #[test]
    fn a_place_goes_where_an_insert_there_goes(text in text(), x in steps(), at in 0u64..20) {
        let at = at.min(chars(&text));
        let x = op(&x, chars(&text));
        let mark = Operation::builder().retain(u32::try_from(at).unwrap()).insert("|").build();
        for side in [Side::Left, Side::Right] {
            let mapped = map_position(at, &x, side);
            prop_assert_eq!(transform(&mark, &x, side).first_insert(), Some(mapped));
        }
    }

    #[test]
    fn a_run_ends_after_the_last_insert(text in text(), x in steps()) {
        let x = op(&x, chars(&text));
        let run = Run::begin(&x, Revision(1));
        prop_assert_eq!(run.is_some(), x.inserted_chars() > 0);
        if let Some(run) = run {
            let after = apply(&x, &text).unwrap();
            let head: String = after.chars().take(usize::try_from(run.at()).unwrap()).collect();
            let Some(Component::Insert(last)) =
                x.components().iter().rfind(|part| matches!(part, Component::Insert(_)))
            else {
                unreachable!("the operation inserts");
            };
            prop_assert!(head.ends_with(last.as_str()));
        }
    }

    #[test]
    fn diff_leads_from_one_text_to_the_other(from in text(), to in text(), x in steps()) {
        let near = apply(&op(&x, chars(&from)), &from).unwrap();
        for to in [to, near] {
            let found = diff(&from, &to);
            prop_assert_eq!(apply(&found, &from), Ok(to.clone()));
            prop_assert!(is_canonical(&found), "{:?}", found);
            for (before, after) in seams(&found) {
                prop_assert!(!in_line_end(&from, before), "{:?} {:?}", from, to);
                prop_assert!(!in_line_end(&to, after), "{:?} {:?}", from, to);
            }
        }
    }
}
