//! The limits and times of a log in Kafka; not how they are read or checked (`config` does that).

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// Holds the settings of a log in Kafka, section `[kafka]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Whether the topic is created where it is missing; default false.
    pub create_topics: bool,
    /// Whether one replica of each partition is enough, for one machine; default false.
    pub allow_single_replica: bool,
    /// How long unreachable brokers are tried at the start: 1 s to 1 h; default 60 s.
    #[serde(with = "humantime_serde")]
    pub open_timeout: Duration,
    /// How long a record may take until its outcome counts as unknown: 1 s to 5 m; default 10 s.
    #[serde(with = "humantime_serde")]
    pub append_timeout: Duration,
    /// How long a request may take until it is tried elsewhere: 100 ms to 1 m; default 1500 ms.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a record waits for others to share its request: 0 ms to 1 s; default 0 ms.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// Bytes of records that may wait for the brokers: 1 MiB to 8 GiB; default 320 MiB.
    pub queue_bytes: ByteSize,
    /// Settings of librdkafka, `key=value` separated by semicolons; default none.
    pub properties: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            create_topics: false,
            allow_single_replica: false,
            open_timeout: Duration::from_secs(60),
            append_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_millis(1_500),
            linger: Duration::ZERO,
            queue_bytes: ByteSize::mib(320),
            properties: String::new(),
        }
    }
}

impl Config {
    /// Returns the settings of librdkafka, in the order given.
    ///
    /// # Errors
    /// The piece that is no `key=value`.
    pub fn properties(&self) -> Result<Vec<(String, String)>, String> {
        let pieces = self.properties.split(';').map(str::trim).filter(|piece| !piece.is_empty());
        let pair = |piece: &str| {
            let (key, value) = piece.split_once('=').ok_or_else(|| piece.to_owned())?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        };
        pieces.map(pair).collect()
    }
}
