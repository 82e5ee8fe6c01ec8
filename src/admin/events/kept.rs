//! The events that are kept: the last ones, and beside them the last commands, so that shards that
//! move do not push out what people did. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::admin::model::Event;

/// How many shards the placements that are kept name together, at most.
const PLACED_MAX: usize = 200_000;

/// How many events are handed out at once.
const AT_ONCE: usize = 256;

/// A place in the events; those before it have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor(pub(crate) u64);

/// Some events from a place on.
pub(crate) struct Page {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) next: Cursor,
    /// Whether others from before the next place were dropped.
    pub(crate) lost: bool,
}

/// Tells in which ring an event is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// What people did.
    Command,
    /// Everything else.
    Other,
}

/// Keeps the last events of each ring.
pub(crate) struct Kept {
    /// How many of each ring.
    max: usize,
    commands: VecDeque<Numbered>,
    others: VecDeque<Numbered>,
    /// How many shards the placements name.
    placed: usize,
    /// How many events there have been.
    count: u64,
    /// The place from which on every event is kept.
    whole: u64,
    /// The control offset of the last one that was dropped.
    dropped_at: Option<u64>,
}

struct Numbered {
    number: u64,
    event: Arc<Event>,
}

impl Kept {
    /// Returns no events, of which the last `max` of each ring are kept.
    pub(crate) fn new(max: usize) -> Self {
        let (commands, others) = (VecDeque::new(), VecDeque::new());
        Self { max, commands, others, placed: 0, count: 0, whole: 0, dropped_at: None }
    }

    /// Keeps an event; returns how many there have been.
    pub(crate) fn note(&mut self, ring: Ring, event: Event) -> u64 {
        self.placed += event.placed.len();
        let one = Numbered { number: self.count, event: Arc::new(event) };
        self.count += 1;
        match ring {
            Ring::Command => self.commands.push_back(one),
            Ring::Other => self.others.push_back(one),
        }
        while self.commands.len() > self.max
            && let Some(oldest) = self.commands.pop_front()
        {
            self.dropped(&oldest);
        }
        while (self.others.len() > self.max || self.placed > PLACED_MAX)
            && let Some(oldest) = self.others.pop_front()
        {
            self.dropped(&oldest);
        }
        self.count
    }

    fn dropped(&mut self, Numbered { number, event }: &Numbered) {
        self.placed -= event.placed.len();
        self.whole = self.whole.max(number + 1);
        self.dropped_at = self.dropped_at.max(Some(event.at));
    }

    /// Returns the place behind the events of a control offset, or of the first event.
    pub(crate) fn after(&self, at: Option<u64>) -> Cursor {
        let rings = [&self.commands, &self.others];
        let first_after = |ring: &VecDeque<Numbered>| {
            let seen = ring.partition_point(|one| at.is_some_and(|at| one.event.at <= at));
            ring.get(seen).map(|one| one.number)
        };
        let first = rings.into_iter().filter_map(first_after).min().unwrap_or(self.count);
        match at {
            // What was dropped after it comes before `whole`: the page says so.
            Some(at) if self.dropped_at > Some(at) => Cursor(first.min(self.whole - 1)),
            Some(_) | None => Cursor(first),
        }
    }

    /// Returns some events from a place on, none where there are no more.
    pub(crate) fn page(&self, from: Cursor) -> Page {
        let gap = from.0 < self.whole;
        let end = if gap { self.whole } else { self.count };
        let mut found: Vec<_> = [&self.commands, &self.others]
            .into_iter()
            .flat_map(|ring| {
                let skip = ring.partition_point(|one| one.number < from.0);
                ring.iter().skip(skip).take(AT_ONCE).take_while(|one| one.number < end)
            })
            .collect();
        found.sort_by_key(|one| one.number);
        found.truncate(AT_ONCE);
        let next = match found.last() {
            Some(last) if found.len() == AT_ONCE => last.number + 1,
            Some(_) | None => end,
        };
        let events = found.into_iter().map(|one| one.event.clone()).collect();
        Page { events, next: Cursor(next), lost: gap && next == end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::model::Placed;

    fn event(at: u64) -> Event {
        Event { at, ..Event::default() }
    }

    fn note(kept: &mut Kept, ring: Ring, at: impl IntoIterator<Item = u64>) {
        for at in at {
            kept.note(ring, event(at));
        }
    }

    fn others(max: usize, at: impl IntoIterator<Item = u64>) -> Kept {
        let mut kept = Kept::new(max);
        note(&mut kept, Ring::Other, at);
        kept
    }

    /// Reads everything from a place on: control offsets, and none where others are missing.
    fn read(kept: &Kept, mut from: Cursor) -> Vec<Option<u64>> {
        let mut seen = Vec::new();
        loop {
            let page = kept.page(from);
            seen.extend(page.events.iter().map(|event| Some(event.at)));
            seen.extend(page.lost.then_some(None));
            if page.next == from {
                return seen;
            }
            from = page.next;
        }
    }

    fn all(at: std::ops::Range<u64>) -> Vec<Option<u64>> {
        at.map(Some).collect()
    }

    #[test]
    fn events_are_read_page_by_page_and_the_oldest_are_dropped() {
        assert_eq!(Kept::new(300).after(None), Cursor(0));
        let kept = others(300, 0..310);
        let first = kept.page(kept.after(None));
        assert_eq!((first.events.len(), first.next, first.lost), (AT_ONCE, Cursor(266), false));
        assert_eq!(read(&kept, kept.after(None)), all(10..310));
        // Who was too slow, or asks for what is gone, is told.
        let whole = [vec![None], all(10..310)].concat();
        assert_eq!(read(&kept, Cursor(9)), whole);
        assert_eq!(read(&kept, kept.after(Some(8))), whole);
        assert_eq!(read(&kept, kept.after(Some(9))), all(10..310));
        assert_eq!(read(&kept, kept.after(Some(307))), all(308..310));
        assert_eq!(kept.after(Some(400)), Cursor(310));
    }

    #[test]
    fn events_of_one_record_stay_together() {
        let kept = others(300, [1, 1, 2, 2, 2, 3]);
        assert_eq!(read(&kept, kept.after(Some(1))), [2, 2, 2, 3].map(Some));
    }

    #[test]
    fn a_command_outlives_what_follows_from_it() {
        let mut kept = Kept::new(1_000);
        kept.note(Ring::Command, event(0));
        note(&mut kept, Ring::Other, 1..2_001);
        kept.note(Ring::Command, event(2_001));
        let whole = [vec![Some(0), None], all(1_001..2_002)].concat();
        assert_eq!(read(&kept, kept.after(None)), whole);
        assert_eq!(read(&kept, Cursor(0)), whole);
        assert_eq!(read(&kept, kept.after(Some(0)))[..2], [None, Some(1_001)]);
        assert_eq!(read(&kept, kept.after(Some(2_000))), all(2_001..2_002));
        // Commands push out commands.
        note(&mut kept, Ring::Command, 2_002..3_001);
        assert_eq!(read(&kept, kept.after(None)), all(1_001..3_001));
        kept.note(Ring::Command, event(3_001));
        // What was before a command that is gone is told, and that something is missing.
        let mut told = all(1_001..2_001);
        told.push(None);
        told.extend(all(2_002..3_002));
        assert_eq!(read(&kept, kept.after(None)), told);
    }

    #[test]
    fn placements_of_many_shards_take_bounded_room() {
        let mut kept = Kept::new(300);
        let placed = vec![Placed { shard: 0, node: None }; PLACED_MAX / 2];
        for at in 0..3 {
            kept.note(Ring::Other, Event { placed: placed.clone(), ..event(at) });
        }
        assert_eq!(read(&kept, kept.after(None)), [1, 2].map(Some));
    }
}
