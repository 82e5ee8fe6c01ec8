//! What the links between nodes follow of the cluster: where its members are, who is gone, and who
//! has come.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cluster::{Control, Status, member};
use crate::edge::{Shared, doors};
use crate::relay::{self, Peers, Runs};
use crate::types::NodeId;

/// How long it takes until a node is asked again that did not answer: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// The members that are up, as this one has read it from the control log.
pub struct Up(pub member::Handle);

impl relay::Members for Up {
    fn address(&self, node: &NodeId) -> Option<String> {
        let control = self.0.control();
        let known = control.member(node).filter(|member| member.is_up())?;
        Some(known.addresses.peer.to_string())
    }

    fn up(&self) -> Vec<NodeId> {
        self.0.control().up().map(|(node, _)| node.clone()).collect()
    }
}

/// Gives up the links to nodes that are gone: whoever waits behind one joins elsewhere. Those that
/// they have made themselves are ended by who is told which are down; one that has left goes on to
/// reach documents for its clients until it ends.
pub async fn give_up(member: member::Handle, peers: Peers, down: watch::Sender<Runs>) {
    let mut control = member.control();
    tell(&down, &control);
    while let Ok(newer) = member.newer(control.at()).await {
        for (node, before) in control.up() {
            if !newer.is_up(node, before.boot) {
                peers.give_up(node);
            }
        }
        control = newer;
        tell(&down, &control);
    }
}

/// Asks who has signed out whenever a node has come up since `control`: the newcomers, or all
/// others where this node is one. Those that did not answer, `silent` ones before, are asked again;
/// these, and those that were not told that somebody has signed out, are told again, too.
pub async fn catch_up(
    member: member::Handle,
    mut control: Arc<Control>,
    silent: Vec<NodeId>,
    shared: Arc<Shared>,
) {
    let mut silent = Silent::new(silent);
    loop {
        let again = tokio::select! {
            newer = member.newer(control.at()) => {
                let Ok(newer) = newer else { return };
                let come = newer.up().filter(|(node, now)| !control.is_up(node, now.boot));
                let mut come: Vec<_> = come.map(|(node, _)| node.clone()).collect();
                if come.contains(member.node()) {
                    come = shared.router.others();
                }
                control = newer;
                silent.have_come(&come);
                doors::catch_up(&shared, come).await
            }
            behind = doors::behind(&shared) => {
                silent.missed(behind);
                continue;
            }
            () = sleep_until(silent.due), if !silent.nodes.is_empty() => {
                // By what newcomers are told from: whoever is left out here comes once more.
                let up: Vec<NodeId> = control.up().map(|(node, _)| node.clone()).collect();
                let nodes = silent.again(&up);
                let telling = doors::tell_all(&shared, nodes.clone());
                let (untold, unheard) = tokio::join!(telling, doors::catch_up(&shared, nodes));
                [untold, unheard].concat()
            }
        };
        silent.add(again);
    }
}

/// Nodes that did not answer, and when they are asked again.
struct Silent {
    nodes: BTreeSet<NodeId>,
    due: Instant,
    pause: Duration,
}

impl Silent {
    fn new(nodes: Vec<NodeId>) -> Self {
        let mut silent = Self { nodes: BTreeSet::new(), due: Instant::now(), pause: AGAIN.0 };
        silent.add(nodes);
        silent
    }

    /// Has nodes asked again that have just not answered.
    fn add(&mut self, nodes: Vec<NodeId>) {
        if !nodes.is_empty() {
            self.nodes.extend(nodes);
            self.due = Instant::now() + jittered(self.pause);
        }
    }

    /// Has nodes asked soon that were not told just now, where they are not among those that are
    /// silent anyway.
    fn missed(&mut self, behind: Vec<NodeId>) {
        if behind.iter().any(|node| !self.nodes.contains(node)) {
            (self.pause, self.due) = (AGAIN.0, Instant::now() + jittered(AGAIN.0));
        }
        self.nodes.extend(behind);
    }

    /// Forgets nodes that are asked now, because they have come: whoever is silent then is asked
    /// soon.
    fn have_come(&mut self, come: &[NodeId]) {
        if !come.is_empty() {
            self.nodes.retain(|node| !come.contains(node));
            (self.pause, self.due) = (AGAIN.0, Instant::now() + jittered(AGAIN.0));
        }
    }

    /// Returns those that are asked once more, where they are still up; the next pause is longer.
    fn again(&mut self, up: &[NodeId]) -> Vec<NodeId> {
        self.pause = (self.pause * 2).min(AGAIN.1);
        let nodes = mem::take(&mut self.nodes);
        nodes.into_iter().filter(|node| up.contains(node)).collect()
    }
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

fn tell(down: &watch::Sender<Runs>, control: &Control) {
    let members = control.members().iter();
    let runs = members.filter(|(_, member)| member.status == Status::Down);
    let runs: Runs = runs.map(|(node, member)| (node.clone(), member.boot)).collect();
    down.send_if_modified(|told| {
        let new = *told != runs;
        *told = runs;
        new
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_asked_again_less_and_less_often() {
        let [a, b, c] = ["a", "b", "c"].map(|name| NodeId(name.parse().unwrap()));
        let mut silent = Silent::new(vec![b.clone(), a.clone(), c]);
        let check = |silent: &Silent, seconds| {
            let (full, wait) = (Duration::from_secs(seconds), silent.due - Instant::now());
            assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
        };
        check(&silent, 1);
        let up = vec![a, b.clone()];
        assert_eq!(silent.again(&up), up, "c is gone");
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            // It takes a while until it is known that it does not answer.
            tokio::time::advance(Duration::from_secs(2)).await;
            silent.add(vec![b.clone()]);
            check(&silent, seconds);
            assert_eq!(silent.again(&up), up[1..]);
        }
        assert!(silent.nodes.is_empty(), "all have answered");
        silent.add(up.clone());
        silent.have_come(&[]);
        check(&silent, 60);
        silent.have_come(&up[1..]);
        check(&silent, 1);
        assert_eq!(silent.again(&up), up[..1], "the other one is asked as it has come");
        silent.add(up.clone());
        check(&silent, 2);
        silent.again(&up);
        silent.add(up.clone());
        check(&silent, 4);
        silent.missed(up.clone());
        check(&silent, 4);
        assert_eq!(silent.again(&up), up, "they are told then, too");
        silent.missed(up.clone());
        check(&silent, 1);
        assert_eq!(silent.again(&up), up);
    }
}
