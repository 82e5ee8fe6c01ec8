//! Carries unsent edits over when a batch was accepted other than predicted: each stays with the
//! characters it was made on.

use rustc_hash::FxHashMap;

use crate::text::{Component, Operation};

/// Returns `buffer`, made on the text after `predicted`, for the text after `accepted`; both apply
/// to one text of `chars` characters.
///
/// It names every character of those texts, so it costs their length; it is needed once in a while,
/// after a reconnect.
pub(in crate::client::replica) fn carry(
    buffer: &Operation,
    predicted: &Operation,
    accepted: &Operation,
    chars: u64,
) -> Operation {
    if buffer.is_identity() {
        return Operation::identity();
    }
    let same = inserted(predicted) == inserted(accepted);
    let accepted_from = if same { chars } else { chars + predicted.inserted_chars() };
    let before = names(predicted, chars, chars);
    let after = names(accepted, chars, accepted_from);
    let mut edits = Edits::new(&after, chars);
    edits.read(buffer, &before);
    edits.write(&after)
}

/// Names a character: by its place in the confirmed text, or, from `own` on, as the n-th inserted.
type Name = u64;

/// Where unsent text belongs.
#[derive(PartialEq, Eq, Hash)]
enum Anchor {
    Start,
    Before(Name),
    After(Name),
}

/// The unsent edits by the names of the characters around them.
struct Edits {
    inserts: FxHashMap<Anchor, String>,
    /// By name: whether the accepted text has the character, and whether the edits delete it.
    present: Vec<bool>,
    deleted: Vec<bool>,
    own: Name,
}

impl Edits {
    fn new(after: &[Name], own: Name) -> Self {
        let names = after.iter().max().map_or(0, |last| index(*last) + 1);
        let mut present = vec![false; names];
        after.iter().for_each(|name| present[index(*name)] = true);
        Self { inserts: FxHashMap::default(), present, deleted: vec![false; names], own }
    }

    fn read(&mut self, buffer: &Operation, before: &[Name]) {
        let mut at = 0;
        for component in buffer.components() {
            match component {
                Component::Retain(chars) => at += *chars as usize,
                Component::Insert(text) => {
                    let anchor = self.anchor(&before[..at], before.get(at));
                    self.inserts.entry(anchor).or_default().push_str(text);
                }
                Component::Delete(chars) => {
                    for name in &before[at..at + *chars as usize] {
                        if let Some(deleted) = self.deleted.get_mut(index(*name)) {
                            *deleted = true;
                        }
                    }
                    at += *chars as usize;
                }
            }
        }
    }

    /// Unsent text belongs to the own text beside it, else to what is left of it.
    fn anchor(&self, left: &[Name], right: Option<&Name>) -> Anchor {
        let present = |name: &&Name| self.present.get(index(**name)) == Some(&true);
        let own = |name: &&Name| **name >= self.own && present(name);
        if let Some(name) = left.last().filter(own) {
            Anchor::After(*name)
        } else if let Some(name) = right.filter(own) {
            Anchor::Before(*name)
        } else {
            left.iter().rfind(present).map_or(Anchor::Start, |name| Anchor::After(*name))
        }
    }

    fn write(mut self, after: &[Name]) -> Operation {
        let mut text_at = |anchor| self.inserts.remove(&anchor).unwrap_or_default();
        let mut out = Operation::builder().insert(&text_at(Anchor::Start));
        for name in after {
            out = out.insert(&text_at(Anchor::Before(*name)));
            out = if self.deleted[index(*name)] { out.delete(1) } else { out.retain(1) };
            out = out.insert(&text_at(Anchor::After(*name)));
        }
        out.build()
    }
}

fn inserted(op: &Operation) -> String {
    let text = |component: &Component| match component {
        Component::Insert(text) => text.to_string(),
        Component::Retain(_) | Component::Delete(_) => String::new(),
    };
    op.components().iter().map(text).collect()
}

/// Returns the names of the characters after `op`; inserted ones are named from `own` on.
fn names(op: &Operation, chars: u64, mut own: Name) -> Vec<Name> {
    let mut names = Vec::new();
    let mut at = 0;
    for component in op.components() {
        match component {
            Component::Retain(count) => {
                names.extend(at..at + u64::from(*count));
                at += u64::from(*count);
            }
            Component::Insert(text) => {
                let end = own + text.chars().count() as u64;
                names.extend(own..end);
                own = end;
            }
            Component::Delete(count) => at += u64::from(*count),
        }
    }
    names.extend(at..chars);
    names
}

fn index(name: Name) -> usize {
    usize::try_from(name).expect("a name is below the length of texts in memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::apply;

    #[test]
    fn edits_stay_with_their_characters() {
        let build = Operation::builder;
        let check = |predicted: Operation, accepted: Operation, buffer: Operation, after: &str| {
            let carried = carry(&buffer, &predicted, &accepted, 6);
            let text = apply(&accepted, "ab12cd").unwrap();
            assert_eq!(apply(&carried, &text).unwrap(), after);
        };
        let typed_at = |at: u32| build().retain(at).insert("x😀z").build();
        // Predicted after "ab", accepted after "12".
        let (left, right) = (typed_at(2), typed_at(4));
        let cases = [
            (build().retain(5).insert("!").build(), "ab12x😀z!cd"),
            (build().retain(2).insert("!").build(), "ab12!x😀zcd"),
            (build().retain(3).delete(1).build(), "ab12xzcd"),
            (build().retain(3).insert("!").delete(4).build(), "abx!cd"),
            (build().insert(">").delete(1).retain(8).insert("<").build(), ">b12x😀zcd<"),
            (Operation::identity(), "ab12x😀zcd"),
        ];
        for (buffer, after) in cases {
            check(left.clone(), right.clone(), buffer, after);
        }
    }

    #[test]
    fn edits_on_characters_that_are_gone_stay_in_place() {
        let build = Operation::builder;
        // The server deleted "12" where the client had only typed before it.
        let predicted = build().retain(2).insert("x").build();
        let accepted = build().retain(2).delete(2).insert("y").build();
        let buffer = build().retain(4).insert("!").delete(1).retain(2).insert("?").build();
        let carried = carry(&buffer, &predicted, &accepted, 6);
        assert_eq!(apply(&carried, "abycd").unwrap(), "ab!ycd?");
    }
}
