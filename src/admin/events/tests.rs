//! The history is bounded, and whoever reads it knows what is missing.

use tokio::time::timeout;

use super::*;
use crate::types::Timestamp;

fn events(kept: usize) -> Events {
    Events::new(kept, Clock::fixed(Timestamp(0)))
}

fn event(at: u64) -> Event {
    Event { at, ..Event::default() }
}

fn seen(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.at).collect()
}

#[test]
fn events_are_read_page_by_page_and_the_oldest_are_dropped() {
    let events = events(300);
    assert_eq!(events.after(None), (Cursor(0), false));
    (0..310).for_each(|at| events.note(event(at)));
    let (from, lost) = events.after(None);
    assert_eq!((from, lost), (Cursor(10), false));
    let first = events.page(from);
    assert_eq!((first.events.len(), first.next, first.lost), (AT_ONCE, Cursor(266), false));
    let second = events.page(first.next);
    assert_eq!(seen(&second), (266..310).collect::<Vec<_>>());
    assert!(events.page(second.next).events.is_empty());
    // Who was too slow is told.
    assert!(events.page(Cursor(9)).lost);
    assert_eq!(events.after(Some(307)), (Cursor(308), false));
    assert_eq!(events.after(Some(9)), (Cursor(10), false));
    assert_eq!(events.after(Some(8)), (Cursor(10), true));
    assert_eq!(events.after(Some(400)), (Cursor(310), false));
}

#[test]
fn events_of_one_record_stay_together() {
    let events = events(300);
    for at in [1, 1, 2, 2, 2, 3] {
        events.note(event(at));
    }
    assert_eq!(seen(&events.page(events.after(Some(1)).0)), [2, 2, 2, 3]);
}

#[test]
fn placements_of_many_shards_take_bounded_room() {
    let events = events(300);
    let placed = vec![Placed { shard: 0, node: None }; PLACED_MAX / 2];
    for at in 0..3 {
        events.note(Event { placed: placed.clone(), ..event(at) });
    }
    assert_eq!(seen(&events.page(events.after(None).0)), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_of_the_next_one() {
    let events = Arc::new(events(300));
    events.note(event(1));
    let (from, _) = events.after(Some(1));
    let waiting = Arc::clone(&events);
    let waiter = async move {
        waiting.more(from).await;
        seen(&waiting.page(from))
    };
    let noting = async { events.note(event(2)) };
    let both = async { tokio::join!(waiter, noting).0 };
    let heard = timeout(Duration::from_secs(1), both).await.expect("it is told");
    assert_eq!(heard, [2]);
}

#[test]
fn moves_are_measured_where_they_end_well() {
    let events = events(300);
    let node = |text: &str| NodeId(text.parse().unwrap());
    let (from, to, shard) = (node("a"), node("b"), ShardId(1));
    assert_eq!(events.move_took(), None);
    let ended = |outcome| Change::MoveEnded { shard, from: from.clone(), to: to.clone(), outcome };
    events.measure(&Change::MoveBegun { shard, from: from.clone(), to: to.clone() });
    events.measure(&ended(Outcome::Undone("late".parse().unwrap())));
    assert_eq!(events.move_took(), None);
    events.measure(&Change::MoveBegun { shard, from: from.clone(), to: to.clone() });
    events.measure(&ended(Outcome::Done));
    assert!(events.move_took().is_some());
}
