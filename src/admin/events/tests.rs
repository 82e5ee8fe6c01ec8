//! What is told of a record, in the events and in the log; who waits is told of the next one.

use std::sync::Arc;

use tokio::time::timeout;

use super::*;
use crate::cluster::Operator;
use crate::types::Timestamp;

fn events(kept: usize) -> Events {
    Events::new(kept, Clock::fixed(Timestamp(0)))
}

fn event(at: u64) -> Event {
    Event { at, ..Event::default() }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_of_the_next_one() {
    let events = Arc::new(events(300));
    events.note(Ring::Other, event(1));
    let from = events.after(Some(1));
    let waiting = Arc::clone(&events);
    let waiter = async move {
        waiting.more(from).await;
        waiting.page(from).events.iter().map(|event| event.at).collect::<Vec<_>>()
    };
    let noting = async { events.note(Ring::Other, event(2)) };
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

fn record(order: Order, why: &str) -> Record {
    let by = Operator {
        name: "ada".parse().unwrap(),
        why: why.parse().unwrap(),
        at: Timestamp(1_790_000_000_000),
    };
    Record::Command(Command { by, expected: None, order })
}

fn kinds(events: &Events) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    let mut from = events.after(None);
    loop {
        let page = events.page(from);
        kinds.extend(page.events.iter().map(|event| event.kind.clone()));
        if page.next == from {
            return kinds;
        }
        from = page.next;
    }
}

#[test]
fn a_command_outlives_what_nodes_do() {
    let (events, control) = (events(1_000), Control::default());
    events.observe(&record(Order::Pause, "looking"), &Ok(vec![Change::Paused]), &control);
    let void = Err(Void::NotPinned { shard: ShardId(3) });
    events.observe(&record(Order::Unpin { shard: ShardId(3) }, ""), &void, &control);
    for on in [true, false].repeat(1_000) {
        events.observe(&record(Order::Guard { on }, "slow"), &Ok(Vec::new()), &control);
    }
    let kinds = kinds(&events);
    assert_eq!((kinds.len(), &kinds[..2]), (1_002, &["command".into(), "refused".into()][..]));
    let first = &events.page(events.after(None)).events[0];
    assert_eq!(first.given_at.as_deref(), Some("2026-09-21T14:13:20Z"));
}

/// Takes log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn each_command_is_logged_with_who_gave_it_why_and_when() {
    let (events, control, lines) = (events(300), Control::default(), Lines::default());
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || written.clone()).finish();
    // While there is one subscriber alone, a place that is first reached in a thread without it
    // (another test) stays silent for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    tracing::subscriber::with_default(subscriber, || {
        events.observe(&record(Order::Pause, "looking"), &Ok(vec![Change::Paused]), &control);
        let void = Err(Void::NotPinned { shard: ShardId(3) });
        events.observe(&record(Order::Unpin { shard: ShardId(3) }, ""), &void, &control);
    });
    let lines = String::from_utf8(lines.0.lock().clone()).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fields = |what: &str, why: &str| {
        serde_json::json!({
            "message": "a command", "at": 0, "by": "ada", "what": what, "why": why,
            "given_at": "2026-09-21T14:13:20Z",
        })
    };
    let mut refused = fields("unpin 3", "");
    refused["refused"] = "shard 3 is not pinned: nothing is to be undone".into();
    let told: Vec<_> = lines.iter().map(|line| (&line["level"], &line["fields"])).collect();
    let level = serde_json::json!("INFO");
    assert_eq!(told, [(&level, &fields("pause", "looking")), (&level, &refused)]);
}
