//! What is still to move after a command, as events tell. Pure.

use std::collections::BTreeMap;

use crate::admin::model::{Event, Move};

/// Knows what is still to move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Each shard, with its owner and where it is to be.
    left: BTreeMap<u32, (String, String)>,
}

/// Tells what an event means for those who wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Nothing,
    /// Something worth a line.
    Told(String),
    /// A shard is where it is to be.
    Arrived(String),
    /// Events are missing: what is left has to be asked for.
    Lost,
}

impl Progress {
    /// Begins with what is to move.
    pub(crate) fn of(moves: &[Move]) -> Self {
        let left = moves.iter().map(|one| (one.shard, (one.from.clone(), one.to.clone())));
        Self { left: left.collect() }
    }

    /// Tells how many are left.
    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }

    /// Takes in an event.
    pub(crate) fn see(&mut self, event: &Event) -> Step {
        match event.kind.as_str() {
            "owned" => self.owned(event),
            "placed" => {
                for placed in &event.placed {
                    if let (Some((_, to)), Some(node)) =
                        (self.left.get_mut(&placed.shard), &placed.node)
                    {
                        to.clone_from(node);
                    }
                }
                let before = self.left.len();
                self.left.retain(|_, (from, to)| from != to);
                match before - self.left.len() {
                    0 => Step::Nothing,
                    count => Step::Arrived(format!("{count} shards stay where they are after all")),
                }
            }
            "move-undone" if event.shard.is_some_and(|shard| self.left.contains_key(&shard)) => {
                Step::Told(event.text.clone())
            }
            "paused" | "resumed" | "guard-on" | "guard-off" | "down" | "left" => {
                Step::Told(event.text.clone())
            }
            "lost" => Step::Lost,
            _ => Step::Nothing,
        }
    }

    fn owned(&mut self, event: &Event) -> Step {
        let (Some(shard), Some(node)) = (event.shard, &event.node) else { return Step::Nothing };
        let Some((from, to)) = self.left.get_mut(&shard) else { return Step::Nothing };
        if node != to {
            from.clone_from(node);
            return Step::Nothing;
        }
        self.left.remove(&shard);
        Step::Arrived(format!("shard {shard} is on {node}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::model::Placed;

    fn one(shard: u32, from: &str, to: &str) -> Move {
        Move {
            shard,
            from: from.to_owned(),
            to: to.to_owned(),
            why: "drain".to_owned(),
            begun: false,
            bytes: None,
            documents: None,
            sessions: None,
        }
    }

    fn event(kind: &str, shard: Option<u32>, node: &str) -> Event {
        let (kind, node) = (kind.to_owned(), Some(node.to_owned()));
        Event { kind, shard, node, text: "said".to_owned(), ..Event::default() }
    }

    fn placed(shard: u32, node: &str) -> Event {
        let placed = vec![Placed { shard, node: Some(node.to_owned()) }];
        Event { kind: "placed".to_owned(), placed, ..Event::default() }
    }

    #[test]
    fn a_shard_is_done_with_where_it_is_to_be() {
        let mut progress = Progress::of(&[one(1, "a", "b"), one(2, "a", "c")]);
        assert_eq!(progress.see(&event("owned", Some(9), "b")), Step::Nothing);
        assert_eq!(progress.see(&event("owned", Some(1), "a")), Step::Nothing);
        assert_eq!(progress.see(&event("move-begun", Some(1), "b")), Step::Nothing);
        let told = Step::Told("said".to_owned());
        assert_eq!(progress.see(&event("move-undone", Some(1), "b")), told);
        assert_eq!(progress.see(&event("move-undone", Some(7), "b")), Step::Nothing);
        assert_eq!(progress.see(&event("paused", None, "")), told);
        assert_eq!(progress.left(), 2);
        let arrived = Step::Arrived("shard 1 is on b".to_owned());
        assert_eq!(progress.see(&event("owned", Some(1), "b")), arrived);
        assert_eq!(progress.left(), 1);
        assert_eq!(progress.see(&event("lost", None, "")), Step::Lost);
    }

    #[test]
    fn a_shard_that_is_to_be_elsewhere_meanwhile_is_waited_for_there() {
        let mut progress = Progress::of(&[one(1, "a", "b"), one(2, "a", "b")]);
        assert_eq!(progress.see(&placed(1, "c")), Step::Nothing);
        assert_eq!(progress.see(&event("owned", Some(1), "b")), Step::Nothing);
        assert!(matches!(progress.see(&event("owned", Some(1), "c")), Step::Arrived(_)));
        // It stays.
        assert!(matches!(progress.see(&placed(2, "a")), Step::Arrived(_)));
        assert_eq!(progress.left(), 0);
    }
}
