//! The limits and times of links between nodes; not how they are read or checked (`config` does
//! that).

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// Holds the limits and times of links between nodes, section `[relay]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Bytes of one message between nodes: 1 MiB to 1 GiB; default 64 MiB.
    pub frame_bytes_max: ByteSize,
    /// Bytes that may wait for one link: 1 MiB to 4 GiB; default 16 MiB.
    pub queue_bytes: ByteSize,
    /// Bytes of one document's batches that may wait at its owner for its queue: 64 KiB to 1 GiB;
    /// default 4 MiB.
    pub document_queue_bytes: ByteSize,
    /// Time for the first message of a peer: 100 ms to 1 m; default 5 s.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// Time after which a silent link is given up; it is asked three times as often: 300 ms to
    /// 1 m; default 3 s.
    #[serde(with = "humantime_serde")]
    pub silence_max: Duration,
    /// Time without clients after which a copy of a document is dropped: 100 ms to 1 d; default
    /// 60 s.
    #[serde(with = "humantime_serde")]
    pub copy_idle: Duration,
    /// Time for the answer to a request that is carried to another node: 100 ms to 10 m; default
    /// 30 s.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// The file of the node's certificate, in PEM, and of those between it and the cluster's CA;
    /// empty where links are plain, as by default.
    pub tls_certificate_file: PathBuf,
    /// The file of the key of that certificate, in PEM.
    pub tls_key_file: PathBuf,
    /// The file of the certificates, in PEM, that sign those of the cluster's nodes.
    pub tls_ca_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            frame_bytes_max: ByteSize::mib(64),
            queue_bytes: ByteSize::mib(16),
            document_queue_bytes: ByteSize::mib(4),
            hello_timeout: Duration::from_secs(5),
            silence_max: Duration::from_secs(3),
            copy_idle: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            tls_certificate_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            tls_ca_file: PathBuf::new(),
        }
    }
}
