//! What the links between nodes follow of the cluster: where its members are, and who is gone.

use std::sync::Arc;

use crate::cluster::member;
use crate::relay::{self, Peers};
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
