//! The limits of one shard; not how they are read or checked (`config` does that).

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// Holds the limits of a shard, section `[shard]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Documents open at once on one shard: 1 to 10,000,000; default 20,000.
    pub documents_open_max: usize,
    /// Bytes of log past the low-water mark above which the janitor checkpoints: 64 KiB to 1 TiB;
    /// default 16 MiB.
    pub tail_bytes_max: ByteSize,
    /// Bytes of log past the low-water marks of all shards above which new edits are put off: 1 MiB
    /// to 16 TiB; default 4 GiB.
    pub tail_bytes_limit: ByteSize,
    /// Age of the oldest record past the low-water mark at which it does: 1 s to 30 d; default
    /// 10 m.
    #[serde(with = "humantime_serde")]
    pub tail_age_max: Duration,
    /// Records kept below the low-water mark when the log is trimmed: 0 to 1,000,000,000; default
    /// 1,000.
    pub trim_margin: u64,
    /// Age of a low-water mark below which the log is trimmed: 0 s to 1 d; default 30 s. Longer
    /// than what the checkpoint store may forget in a crash.
    #[serde(with = "humantime_serde")]
    pub trim_delay: Duration,
    /// Bytes of one read while a shard recovers: 64 KiB to 1 GiB; default 4 MiB.
    pub recovery_read_bytes: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            documents_open_max: 20_000,
            tail_bytes_max: ByteSize::mib(16),
            tail_bytes_limit: ByteSize::gib(4),
            tail_age_max: Duration::from_mins(10),
            trim_margin: 1_000,
            trim_delay: Duration::from_secs(30),
            recovery_read_bytes: ByteSize::mib(4),
        }
    }
}
