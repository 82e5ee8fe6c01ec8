//! Every decoder on foreign bytes: a bounded run here, an endless one by hand (docs/TESTING.md).

mod auth;
mod checkpoint;
mod crdt;
mod record;
mod relay;
mod wire;
