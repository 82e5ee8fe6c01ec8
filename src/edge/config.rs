//! The limits and times of the network edge; not how they are read or checked (`config` does that).

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// Holds the limits and times of the edge, section `[edge]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Time for a client's `hello` after the upgrade: 100 ms to 1 m; default 5 s.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// Bytes of one frame from a client: 1 KiB to 64 MiB; default 1 MiB.
    pub frame_bytes_max: ByteSize,
    /// Bytes of one operation from a client: 1 KiB to 16 MiB; default 256 KiB.
    pub op_bytes_max: ByteSize,
    /// Batches a second of one session, the burst is twice as many: 1 to 100,000; default 10,000.
    pub ops_per_second: u32,
    /// Cursor messages a second of one session, the rest is not looked at: 1 to 1,000; default 20.
    pub cursors_per_second: u32,
    /// Connections at once: 1 to 1,000,000; default 50,000.
    pub connections_max: usize,
    /// Bytes that may wait for one socket: 16 KiB to 1 GiB; default 1 MiB.
    pub outbox_bytes_max: ByteSize,
    /// Time for which they may wait: 100 ms to 10 m; default 10 s.
    #[serde(with = "humantime_serde")]
    pub outbox_age_max: Duration,
    /// Time after a catch-up in which a second one closes the connection, and for which a socket
    /// may stand still: 1 s to 1 h; default 30 s.
    #[serde(with = "humantime_serde")]
    pub outbox_grace: Duration,
    /// Time for connections to end at shutdown: 0 s to 10 m; default 10 s.
    #[serde(with = "humantime_serde")]
    pub shutdown_grace: Duration,
    /// Time for the head of an HTTP request: 100 ms to 5 m; default 10 s.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Bytes of the body of an HTTP request: 1 KiB to 1 GiB; default 32 MiB.
    pub body_bytes_max: ByteSize,
    /// Bytes of all bodies that are being read at once: 1 MiB to 1 TiB; default 256 MiB.
    pub bodies_bytes_max: ByteSize,
    /// Time for which caches keep the page of a public document: 1 s to 1 d; default 30 s. Whole
    /// seconds count.
    #[serde(with = "humantime_serde")]
    pub page_max_age: Duration,
    /// Time after it for which they may show it while they ask for the next: 0 s to 1 d; default
    /// 10 s. Whole seconds count.
    #[serde(with = "humantime_serde")]
    pub page_stale: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(5),
            frame_bytes_max: ByteSize::mib(1),
            op_bytes_max: ByteSize::kib(256),
            ops_per_second: 10_000,
            cursors_per_second: 20,
            connections_max: 50_000,
            outbox_bytes_max: ByteSize::mib(1),
            outbox_age_max: Duration::from_secs(10),
            outbox_grace: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_bytes_max: ByteSize::mib(32),
            bodies_bytes_max: ByteSize::mib(256),
            page_max_age: Duration::from_secs(30),
            page_stale: Duration::from_secs(10),
        }
    }
}
