//! Members over one log in memory, whose way to it can be cut, in paused time.

use bytes::Bytes;
use tokio::time::timeout;

use super::*;
use crate::cluster::RULES;
use crate::cluster::testing::{node, text};
use crate::log::Memory;
use crate::testing::Way;
use crate::types::{LogId, ShardId, Timestamp};

const SHARDS: u32 = 16;

/// A guard against a test that hangs, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

fn identity(name: &str, boot: u64) -> Identity {
    Identity {
        node: node(name),
        boot,
        addresses: Addresses { client: text("c"), peer: text("p"), admin: text("a") },
        weight: 10,
        version: Version { software: text("0"), speaks: (1, 1), rules: RULES },
    }
}

fn ports(line: Arc<Way>, tasks: &Tasks, fatal: &Fatal) -> Ports {
    Ports {
        log: line,
        timing: Timing::default(),
        clock: Clock::fixed(Timestamp(1)),
        load: Arc::new(Load::default),
        tasks: tasks.clone(),
        fatal: fatal.clone(),
    }
}

/// A node of a test.
struct Node {
    handle: Handle,
    line: Arc<Way>,
    tasks: Tasks,
    fatal: Fatal,
}

impl Node {
    async fn start(log: &Arc<Memory>, name: &str, boot: u64) -> Result<Self, JoinError> {
        Self::start_with(log, identity(name, boot)).await
    }

    /// Waits until it is as is wanted.
    async fn comes(&self, wanted: impl Fn(&Handle) -> bool) {
        let coming = async {
            while !wanted(&self.handle) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, coming).await.expect("it comes to that");
    }

    /// Starts a node that can follow other rules than usual.
    async fn ruled(log: &Arc<Memory>, name: &str, rules: (u16, u16)) -> Result<Self, JoinError> {
        let mut identity = identity(name, 1);
        identity.version.rules = rules;
        Self::start_with(log, identity).await
    }

    /// Starts a node that speaks other versions of the messages than usual.
    async fn speaking(log: &Arc<Memory>, name: &str, speaks: (u16, u16)) -> Self {
        let mut identity = identity(name, 1);
        identity.version.speaks = speaks;
        Self::start_with(log, identity).await.unwrap()
    }

    async fn start_with(log: &Arc<Memory>, identity: Identity) -> Result<Self, JoinError> {
        let (line, tasks, fatal) = (Way::to(log.clone()), Tasks::new(), Fatal::default());
        let ports = ports(line.clone(), &tasks, &fatal);
        let handle = join(identity, (7, SHARDS), ports).await?;
        Ok(Self { handle, line, tasks, fatal })
    }

    /// Ends it as a crash does.
    fn crash(&self) {
        self.tasks.token().cancel();
    }

    async fn sees(&self, wanted: impl Fn(&Control) -> bool) -> Arc<Control> {
        let seeing = async {
            let mut at = None;
            loop {
                let control = self.handle.newer(at).await.unwrap();
                if wanted(&control) {
                    return control;
                }
                at = control.at();
            }
        };
        timeout(PATIENCE, seeing).await.expect("it comes to that")
    }
}

fn ups(control: &Control) -> Vec<String> {
    control.up().map(|(node, _)| node.0.to_string()).collect()
}

fn topic() -> Arc<Memory> {
    Arc::new(Memory::new(LogId(1), 1))
}

fn placed(control: &Control) -> Vec<Option<NodeId>> {
    (0..SHARDS).map(|shard| control.placement(ShardId(shard)).cloned()).collect()
}

async fn three(log: &Arc<Memory>) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(log, name, 1).await.unwrap());
    }
    nodes
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_voted_down_and_its_shards_are_placed_elsewhere() {
    let log = topic();
    let (mut nodes, names) = (Vec::new(), ["a", "b", "c"]);
    for name in names {
        nodes.push(Node::start(&log, name, 1).await.unwrap());
    }
    let all = nodes[0].sees(|control| ups(control) == names).await;
    assert!(placed(&all).iter().all(Option::is_some), "every shard has a place");
    assert!(placed(&all).contains(&Some(node("c"))));
    let began = Instant::now();
    nodes[2].crash();
    let left = nodes[0].sees(|control| ups(control) == ["a", "b"]).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(!placed(&left).contains(&Some(node("c"))));
    assert!(placed(&left).iter().all(Option::is_some));
    let other = nodes[1].sees(|control| control.at() >= left.at()).await;
    assert_eq!(ups(&other), ["a", "b"]);
    // Of two, one vote is enough.
    nodes[1].crash();
    nodes[0].sees(|control| ups(control) == ["a"]).await;
    nodes[0].handle.leave().await.unwrap();
    assert!(!nodes[0].handle.is_up());
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_from_a_silent_run_only() {
    let log = topic();
    let first = Node::start(&log, "a", 1).await.unwrap();
    let second = Node::start(&log, "a", 2).await.map(drop);
    let Err(JoinError::Refused(Refusal::NameTaken { boot: 1, .. })) = second else {
        panic!("the first one lives: {second:?}");
    };
    first.crash();
    let third = Node::start(&log, "a", 3).await.unwrap();
    assert!(third.handle.is_up());
    assert_eq!(third.handle.control().member(&node("a")).map(|member| member.boot), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_run_may_have_a_lower_number_than_the_one_before() {
    let log = topic();
    let before = Node::start(&log, "a", 9).await.unwrap();
    before.crash();
    let after = Node::start(&log, "a", 3).await.unwrap();
    assert!(timeout(Duration::from_secs(9), after.fatal.wait()).await.is_err(), "it stays");
    assert!(after.handle.is_up());
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_name_was_taken_ends() {
    for (first, second) in [(1, 2), (2, 1)] {
        the_first_ends(first, second).await;
    }
}

async fn the_first_ends(first: u64, second: u64) {
    let log = topic();
    let first = Node::start(&log, "a", first).await.unwrap();
    first.line.cut();
    let second = Node::start(&log, "a", second).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(first.handle.is_suspended(), "it has not heard of itself for long");
    first.line.mend();
    let reason = timeout(PATIENCE, first.fatal.wait()).await.expect("it is told");
    assert!(reason.contains("another process runs under this node's name"), "{reason}");
    assert!(second.handle.is_up());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_reach_the_topic_is_suspended_and_joins_again_when_it_can() {
    let log = topic();
    let nodes = three(&log).await;
    nodes[1].line.cut();
    nodes[0].sees(|control| ups(control) == ["a", "c"]).await;
    nodes[1].comes(Handle::is_suspended).await;
    nodes[1].line.mend();
    let back = nodes[0].sees(|control| ups(control) == ["a", "b", "c"]).await;
    assert_eq!(back.member(&node("b")).map(|member| member.boot), Some(1));
    nodes[1].comes(|node| !node.is_suspended() && node.is_up()).await;
}

#[tokio::test(start_paused = true)]
async fn who_was_away_until_it_was_forgotten_joins_again_unless_it_left() {
    let log = topic();
    let nodes = three(&log).await;
    nodes[1].line.cut();
    nodes[0].sees(|control| ups(control) == ["a", "c"]).await;
    nodes[2].handle.leave().await.unwrap();
    for number in 0..crate::cluster::MEMBERS_MAX {
        let Identity { node, boot, addresses, weight, version } =
            identity(&format!("n{number}"), 1);
        let gone = Leave { node: node.clone(), boot };
        let (replaces, at) = (None, Timestamp(2));
        let join = Join { node, boot, replaces, addresses, weight, version, at };
        for record in [Record::Join(join), Record::Leave(gone)] {
            nodes[0].handle.write(&record).await.unwrap();
        }
    }
    let forgotten = nodes[0].handle.control();
    for name in ["b", "c"] {
        assert!(forgotten.member(&node(name)).is_none(), "{name} made room");
    }
    nodes[1].line.mend();
    let back = nodes[0].sees(|control| ups(control).contains(&"b".to_owned())).await;
    assert_eq!(back.member(&node("b")).map(|member| member.boot), Some(1));
    nodes[1].comes(|node| !node.is_suspended() && node.is_up()).await;
    assert_eq!(ups(&nodes[0].handle.control()), ["a", "b"], "who has left stays away");
}

#[tokio::test(start_paused = true)]
async fn without_the_topic_nobody_is_voted_down_and_all_go_on_after_it() {
    let log = topic();
    let nodes = three(&log).await;
    nodes[0].sees(|control| ups(control).len() == 3).await;
    nodes.iter().for_each(|node| node.line.cut());
    sleep(Duration::from_secs(20)).await;
    assert!(nodes.iter().all(|node| node.handle.is_suspended()), "nobody serves");
    nodes.iter().for_each(|node| node.line.mend());
    sleep(Duration::from_secs(5)).await;
    let after = nodes[0].handle.control();
    assert_eq!(ups(&after), ["a", "b", "c"]);
    assert!(nodes.iter().all(|node| !node.handle.is_suspended()), "everybody serves again");
    // At one offset all have the same state.
    let at = nodes.iter().filter_map(|node| node.handle.control().at()).max();
    let mut same = Vec::new();
    for node in &nodes {
        same.push(node.sees(|control| control.at() >= at).await);
    }
    assert_eq!(placed(&same[0]), placed(&same[1]));
    assert_eq!(placed(&same[0]), placed(&same[2]));
}

struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &Record, _: &Result<Vec<Change>, Void>, _: &Control) {}
}

/// A record of a format that only a later program knows.
fn newer() -> Bytes {
    let body = [99, 1, 2, 3];
    Bytes::from([&body[..], &crc32fast::hash(&body).to_le_bytes()].concat())
}

#[tokio::test(start_paused = true)]
async fn records_in_newer_words_are_void_and_counted_and_all_agree_on_the_state() {
    let log = topic();
    let nodes =
        [Node::start(&log, "a", 1).await.unwrap(), Node::start(&log, "b", 1).await.unwrap()];
    let mut at = None;
    for bytes in [newer(), Bytes::from_static(b"garbage"), newer()] {
        at = Some(log.append(ShardId(0), bytes).await.unwrap());
    }
    let mut same = Vec::new();
    for node in &nodes {
        same.push(node.sees(|control| control.at() > at).await);
        assert_eq!(node.handle.unread(), Unread { records: 3, newer: 2 });
        assert!(node.handle.is_up());
    }
    assert_eq!(placed(&same[0]), placed(&same[1]));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_begins_in_newer_words_is_not_taken_for_a_new_one() {
    let log = topic();
    log.append(ShardId(0), newer()).await.unwrap();
    let joined = Node::start(&log, "a", 1).await.map(drop);
    assert!(matches!(joined, Err(JoinError::Obscure)), "{joined:?}");
    // Nor is one of which nothing is left that says how the cluster is.
    let log = topic();
    Node::start(&log, "a", 1).await.unwrap().crash();
    let end = log.marks(ShardId(0)).await.unwrap().high;
    log.trim(ShardId(0), end).await.unwrap();
    let joined = Node::start(&log, "b", 1).await.map(drop);
    assert!(matches!(joined, Err(JoinError::Obscure)), "{joined:?}");
    // Damage before the beginning says nothing about a cluster.
    let log = topic();
    log.append(ShardId(0), Bytes::from_static(b"garbage")).await.unwrap();
    assert!(Node::start(&log, "a", 1).await.unwrap().handle.is_up());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_follow_the_rules_any_more_ends_and_does_not_come_back() {
    let log = topic();
    let old = Node::ruled(&log, "old", (2, 2)).await.unwrap();
    let new = Node::ruled(&log, "new", (2, 3)).await.unwrap();
    assert_eq!(new.handle.control().rules(), Some(2));
    // It is silent, and while it is, the others go on without it.
    old.line.cut();
    new.sees(|control| ups(control) == ["new"]).await;
    let third = Node::ruled(&log, "third", (2, 3)).await.unwrap();
    assert_eq!(third.handle.control().rules(), Some(3));
    old.line.mend();
    let reason = timeout(PATIENCE, old.fatal.wait()).await.expect("it is told");
    assert!(reason.contains("start a version of the program that can follow 3"), "{reason}");
    let again = Node::ruled(&log, "older", (2, 2)).await.map(drop);
    let other = Void::OtherRules { node: (2, 2), cluster: 3 };
    assert!(matches!(&again, Err(JoinError::Rules(void)) if *void == other), "{again:?}");
    let control = third.sees(|control| ups(control) == ["new", "third"]).await;
    assert_eq!(control.rules(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_words_in_common_with_the_others_any_more_ends() {
    let log = topic();
    let old = Node::speaking(&log, "old", (1, 1)).await;
    let new = Node::speaking(&log, "new", (1, 2)).await;
    old.line.cut();
    new.sees(|control| ups(control) == ["new"]).await;
    let newer = Node::speaking(&log, "newer", (2, 3)).await;
    old.line.mend();
    let reason = timeout(PATIENCE, old.fatal.wait()).await.expect("it is told");
    assert!(reason.contains("node newer speaks 2 to 3: upgrade one step"), "{reason}");
    newer.sees(|control| ups(control) == ["new", "newer"]).await;
}

#[tokio::test(start_paused = true)]
async fn how_far_a_node_is_behind_is_known() {
    let log = topic();
    let nodes =
        [Node::start(&log, "a", 1).await.unwrap(), Node::start(&log, "b", 1).await.unwrap()];
    nodes[1].sees(|control| ups(control).len() == 2).await;
    let reader = Topic::new(log.clone());
    let high = log.marks(ShardId(0)).await.unwrap().high;
    assert_eq!(reader.behind().await.unwrap(), high.0, "it has read nothing");
    reader.catch_up(&Nobody).await.unwrap();
    assert_eq!(reader.behind().await.unwrap(), 0);
    timeout(PATIENCE, async {
        while nodes[0].handle.behind().await.unwrap() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it reads everything");
}

#[tokio::test(start_paused = true)]
async fn a_control_topic_of_another_log_is_refused() {
    let log = topic();
    let node = Node::start(&log, "a", 1).await.unwrap();
    node.crash();
    let line = Way::to(log.clone());
    let (tasks, fatal) = (Tasks::new(), Fatal::default());
    let identity = identity("b", 1);
    let joined = join(identity, (8, SHARDS), ports(line, &tasks, &fatal)).await;
    assert!(matches!(joined.map(drop), Err(JoinError::OtherLog)));
}

#[tokio::test(start_paused = true)]
async fn who_was_away_while_the_topic_was_trimmed_joins_again() {
    let log = topic();
    let nodes =
        [Node::start(&log, "a", 1).await.unwrap(), Node::start(&log, "b", 1).await.unwrap()];
    nodes[1].line.cut();
    let (node, boot) = (node("a"), 1);
    let beat = Heartbeat { node, boot, ack_p99_ms: 0, sessions: 0, documents: 0 };
    for _ in 0..crate::cluster::SNAPSHOT_EVERY + 1 {
        nodes[0].handle.shared.topic.append(&Record::Heartbeat(beat.clone())).await.unwrap();
    }
    nodes[0].sees(|control| ups(control) == ["a"]).await;
    let trimmed = async {
        while log.marks(ShardId(0)).await.unwrap().low == Offset(0) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, trimmed).await.expect("a snapshot is written, and what is before it goes");
    nodes[1].line.mend();
    let control = nodes[0].sees(|control| ups(control) == ["a", "b"]).await;
    let same = nodes[1].sees(|own| own.at() >= control.at()).await;
    assert_eq!(ups(&same), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn who_goes_and_cannot_say_so_is_silent_from_then_on() {
    let log = topic();
    let nodes = three(&log).await;
    nodes[0].sees(|control| ups(control).len() == 3).await;
    nodes[1].line.cut();
    let leaving = timeout(Duration::from_millis(10), nodes[1].handle.leave()).await;
    assert!(leaving.is_err(), "it waits");
    // What it would have written is lost with it.
    nodes[1].line.mend();
    nodes[0].sees(|control| ups(control) == ["a", "c"]).await;
}
