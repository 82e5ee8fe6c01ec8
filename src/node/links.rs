//! What the links between nodes follow of the cluster: where its members are, and who is gone.

use crate::cluster::member;
use crate::relay::{self, Peers};
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

/// Gives up the links to nodes that are gone: whoever waits behind one joins elsewhere.
pub async fn give_up(member: member::Handle, peers: Peers) {
    let mut control = member.control();
    while let Ok(newer) = member.newer(control.at()).await {
        for (node, before) in control.up() {
            if !newer.is_up(node, before.boot) {
                peers.give_up(node);
            }
        }
        control = newer;
    }
}
