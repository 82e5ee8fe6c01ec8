//! The engines that need servers, against real ones: `tests/run` starts them.

#[path = "../integration/audited.rs"]
mod audited;
mod backup;
mod brokers;
mod choices;
mod clocks;
mod cluster;
mod cql;
mod erase;
mod faults;
mod fight;
mod kafka;
mod kill;
mod large;
mod local;
mod migrate;
mod outage;
#[path = "../integration/proxy.rs"]
#[expect(dead_code, reason = "the tests of clients use more of it")]
mod proxy;
#[path = "../integration/raw.rs"]
#[expect(dead_code, reason = "the tests of the protocol say more")]
mod raw;
mod replay;
mod secured;
#[path = "../integration/server.rs"]
#[expect(dead_code, reason = "the tests of limits ask more of it")]
mod server;
mod service;
mod shards;
mod shifted;
#[path = "../integration/storm.rs"]
mod storm;
mod trim;
