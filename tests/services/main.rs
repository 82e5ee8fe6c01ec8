//! The engines that need servers, against real ones: `tests/run` starts them.

mod brokers;
mod choices;
mod clock;
mod cql;
mod faults;
mod fight;
mod kafka;
mod kill;
mod large;
mod migrate;
mod outage;
mod queue;
mod replay;
mod secured;
#[path = "../integration/server.rs"]
mod server;
mod service;
mod shards;
#[path = "../integration/storm.rs"]
mod storm;
mod trim;
