//! The engines that need servers, against real ones: `tests/run` starts them.

mod kafka;
mod kill;
#[path = "../integration/server.rs"]
mod server;
#[path = "../integration/storm.rs"]
mod storm;
