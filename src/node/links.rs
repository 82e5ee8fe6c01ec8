//! What the links between nodes follow of the cluster: where its members are, who is gone, and who
//! has come.

use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::{Control, Status, member};
use crate::edge::{Shared, doors};
use crate::relay::{self, Peers, Runs};
use crate::types::NodeId;

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
/// others where this node is one.
pub async fn catch_up(member: member::Handle, mut control: Arc<Control>, shared: Arc<Shared>) {
    while let Ok(newer) = member.newer(control.at()).await {
        let come = newer.up().filter(|(node, now)| !control.is_up(node, now.boot));
        let mut come: Vec<_> = come.map(|(node, _)| node.clone()).collect();
        if come.contains(member.node()) {
            come = shared.router.others();
        }
        doors::catch_up(&shared, come).await;
        control = newer;
    }
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
