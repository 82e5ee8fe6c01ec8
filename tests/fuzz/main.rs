//! Every decoder on foreign bytes, and the sockets under enemies: a bounded run here, an endless
//! one by hand (docs/TESTING.md).

#[path = "../integration/audited.rs"]
mod audited;
mod auth;
mod checkpoint;
mod crdt;
mod mutation;
mod record;
mod relay;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../integration/server.rs"]
mod server;
mod socket;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../integration/storm.rs"]
mod storm;
mod wire;
