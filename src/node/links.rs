//! What the links between nodes follow of the cluster: where its members are, and who is gone.

use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::{Control, Status, member};
use crate::relay::{self, Peers, Runs};
use crate::types::NodeId;

/// Tells where the peer port of a member is.
pub fn addresses(member: &member::Handle) -> relay::Addresses {
    let member = member.clone();
    Arc::new(move |node: &NodeId| {
        let control = member.control();
        let known = control.member(node).filter(|member| member.is_up())?;
        Some(known.addresses.peer.to_string())
    })
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
