//! The limits and times of one document; not how they are read or checked (`config` does that).

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// Holds the limits and times of a document, section `[document]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Revisions kept in memory for rebase and resume: 1 to 1,000,000; default 5,000.
    pub window_revisions: usize,
    /// Bytes of those revisions at most: 4 KiB to 1 GiB; default 1 MiB.
    pub window_bytes: ByteSize,
    /// Frames of one document in the log at once; later batches join the next: 1 to 64; default 2.
    pub frames_in_flight: usize,
    /// Bytes of one log frame: 4 KiB to 16 MiB; default 1 MiB.
    pub frame_bytes_max: ByteSize,
    /// Bytes of batches that may wait for one document: 64 KiB to 1 GiB; default 4 MiB.
    pub queue_bytes: ByteSize,
    /// Bytes of batches that may wait for all documents of the node: 1 MiB to 4 GiB; default
    /// 256 MiB.
    pub queue_bytes_total: ByteSize,
    /// Time without connections after which it is checkpointed and stopped: 1 s to 1 d; default
    /// 60 s.
    #[serde(with = "humantime_serde")]
    pub idle_after: Duration,
    /// Time between two presence messages: 20 ms to 10 s; default 150 ms.
    #[serde(with = "humantime_serde")]
    pub presence_interval: Duration,
    /// Participants listed by name; above, a sample and the count: 1 to 10,000; default 100.
    pub participants_listed_max: usize,
    /// Sessions remembered for one document: 1 to 10,000,000; default 10,000.
    pub sessions_max: usize,
    /// Time after its last batch for which a session is remembered: 1 m to 365 d; default 7 d.
    #[serde(with = "humantime_serde")]
    pub session_expiry: Duration,
    /// Bytes of stored operations below which a segment is not sealed: 1 KiB to 1 GiB; default
    /// 64 KiB.
    pub segment_bytes_min: ByteSize,
    /// Scalar values of a document: 1 to 1,000,000,000; default 10,000,000.
    pub doc_chars_max: u64,
    /// Bytes of log since the last checkpoint below which none is due: 4 KiB to 1 GiB; default
    /// 2 MiB.
    pub checkpoint_log_bytes_min: ByteSize,
    /// Bytes of log for each byte of the last checkpoint at which the next is due: 1 to 1,000;
    /// default 16. The larger of the two rules holds.
    pub checkpoint_log_factor: u64,
    /// Connections above which revisions are told in ticks: 1 to 1,000,000; default 100.
    pub tick_subscribers: usize,
    /// Length of a tick: 1 ms to 1 s; default 15 ms.
    #[serde(with = "humantime_serde")]
    pub tick: Duration,
    /// Connections above which ticks are long: 1 to 1,000,000; default 1,000.
    pub tick_large_subscribers: usize,
    /// Length of a long tick: 1 ms to 5 s; default 75 ms.
    #[serde(with = "humantime_serde")]
    pub tick_large: Duration,
    /// Time over which revisions are composed for viewers: 10 ms to 10 s; default 250 ms.
    #[serde(with = "humantime_serde")]
    pub viewer_tick: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_revisions: 5_000,
            window_bytes: ByteSize::mib(1),
            frames_in_flight: 2,
            frame_bytes_max: ByteSize::mib(1),
            queue_bytes: ByteSize::mib(4),
            queue_bytes_total: ByteSize::mib(256),
            idle_after: Duration::from_secs(60),
            presence_interval: Duration::from_millis(150),
            participants_listed_max: 100,
            sessions_max: 10_000,
            session_expiry: Duration::from_hours(7 * 24),
            segment_bytes_min: ByteSize::kib(64),
            doc_chars_max: 10_000_000,
            checkpoint_log_bytes_min: ByteSize::mib(2),
            checkpoint_log_factor: 16,
            tick_subscribers: 100,
            tick: Duration::from_millis(15),
            tick_large_subscribers: 1_000,
            tick_large: Duration::from_millis(75),
            viewer_tick: Duration::from_millis(250),
        }
    }
}

/// What a shard's documents can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// They are read and written.
    Full,
    /// They are read: the log has lost records, and nobody may write on top of that.
    ReadOnly,
}
