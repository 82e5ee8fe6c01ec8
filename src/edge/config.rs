//! The limits and times of the network edge; not how they are read or checked (`config` does that).

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer};
use tokio::sync::Semaphore;

use crate::edge::port::networks::Networks;

/// Holds the limits and times of the edge, section `[edge]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Time for a client's `hello` after the upgrade: 100 ms to 1 m; default 5 s.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// Bytes that come over a socket before the end of its `hello`, and of any after its farewell:
    /// 1 KiB to 1 MiB; default 16 KiB.
    pub hello_bytes_max: ByteSize,
    /// Bytes of one frame from a client: 1 KiB to 64 MiB; default 1 MiB.
    pub frame_bytes_max: ByteSize,
    /// Bytes of one operation from a client: 1 KiB to 16 MiB; default 256 KiB.
    pub op_bytes_max: ByteSize,
    /// Batches a second of one session, the burst is twice as many: 1 to 100,000; default 10,000.
    pub ops_per_second: u32,
    /// Cursor messages a second of one session, the rest is not looked at: 1 to 1,000; default 20.
    pub cursors_per_second: u32,
    /// Bytes a second of one session, the burst is twice as many: 64 KiB to 1 GiB; default 512 KiB.
    pub bytes_per_second: ByteSize,
    /// Bytes a second of all sessions and HTTP requests of one user, the burst is twice as many; 0:
    /// any number; to 1 TiB; default 512 KiB.
    pub user_bytes_per_second: ByteSize,
    /// Sockets of one user at once; 0: any number; to 1,000,000; default 1,000.
    pub sockets_per_user: usize,
    /// Documents that one user's sockets have open at once; 0: any number; to 1,000,000; default
    /// 1,000.
    pub documents_per_user: usize,
    /// HTTP requests a second of one user, the burst is twice as many; 0: any number; to 100,000;
    /// default 1,000.
    pub requests_per_second: u32,
    /// HTTP requests a second of one address (in IPv6 of one /64) by whom nobody is known, and of
    /// its credentials those that are refused; the burst is twice as many; 0: any number; to
    /// 100,000; default 200.
    pub address_requests_per_second: u32,
    /// Connections at once: 1 to 1,000,000; default 50,000.
    pub connections_max: usize,
    /// Those of one address (in IPv6 of one /64), 0: any number; to 1,000,000; default 1,000.
    pub connections_per_address: usize,
    /// Connections that one address makes in a second, the burst is twice as many; 0: any number;
    /// to 100,000; default 100.
    pub handshakes_per_second: u32,
    /// How often a socket is asked whether it is there: 100 ms to 10 m; default 30 s.
    #[serde(with = "humantime_serde")]
    pub ping_every: Duration,
    /// Time after it was asked in which it has to say something to the end: 100 ms to 1 h; default
    /// 45 s.
    #[serde(with = "humantime_serde")]
    pub silence_max: Duration,
    /// Bytes that may wait for one socket: 16 KiB to 1 GiB; default 1 MiB.
    pub outbox_bytes_max: ByteSize,
    /// Time for which they may wait: 100 ms to 10 m; default 10 s.
    #[serde(with = "humantime_serde")]
    pub outbox_age_max: Duration,
    /// Time after a catch-up in which a second one closes the connection, and for each of which a
    /// socket that is behind takes 4 KiB a second: 1 s to 1 h; default 30 s.
    #[serde(with = "humantime_serde")]
    pub outbox_grace: Duration,
    /// Time for connections to end at shutdown: 0 s to 10 m; default 10 s.
    #[serde(with = "humantime_serde")]
    pub shutdown_grace: Duration,
    /// Time for what a proxy says first and for the handshake of TLS: 100 ms to 5 m; default 5 s.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Time for the head of an HTTP request: 100 ms to 5 m; default 10 s.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Bytes of one: 8 KiB to 1 MiB; default 32 KiB.
    pub head_bytes_max: ByteSize,
    /// Time for the body of one: 100 ms to 1 h; default 60 s.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// Time after the head of the last request for which a connection is kept: 100 ms to 1 h;
    /// default 75 s.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Requests at once of a connection over HTTP/2: 1 to 1,000; default 100.
    pub streams_max: u32,
    /// Bytes of the body of an HTTP request: 1 KiB to 1 GiB; default 32 MiB.
    pub body_bytes_max: ByteSize,
    /// Bytes of all bodies that are being read at once: 1 MiB to 1 TiB; default 256 MiB.
    pub bodies_bytes_max: ByteSize,
    /// Bytes of all answers that are being sent at once: 1 MiB to 1 TiB; default 256 MiB.
    pub answers_bytes_max: ByteSize,
    /// Proxies whose word on their clients is taken; none by default.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Networks,
    /// Whether they begin each connection with the PROXY protocol; default false.
    pub proxy_protocol: bool,
    /// How they tell of a client in its requests; default: they do not.
    pub proxy_header: ProxyHeader,
    /// The certificate of the port and what stands between it and the CA, in PEM; none: it is
    /// plain.
    pub tls_certificate_file: PathBuf,
    /// The key of that certificate, in PEM.
    pub tls_key_file: PathBuf,
    /// Time for which caches keep the page of a public document: 1 s to 1 d; default 25 s. Whole
    /// seconds count.
    #[serde(with = "humantime_serde")]
    pub page_max_age: Duration,
    /// Time after it for which they may show it while they ask for the next: 0 s to 1 d; default
    /// 5 s. Whole seconds count.
    #[serde(with = "humantime_serde")]
    pub page_stale: Duration,
}

/// Names the header by which trusted proxies tell of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// They do not.
    #[default]
    None,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    XForwarded,
}

fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Networks, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

impl Config {
    /// Returns the room of all bodies in KiB: at least as much as one may take.
    pub(crate) fn bodies_kib(&self) -> usize {
        let kib = self.bodies_bytes_max.as_u64().div_ceil(1_024);
        usize::try_from(kib).unwrap_or(usize::MAX).clamp(self.body_kib(), Semaphore::MAX_PERMITS)
    }

    /// Returns the room of all answers in KiB.
    pub(crate) fn answers_kib(&self) -> usize {
        let kib = self.answers_bytes_max.as_u64().div_ceil(1_024);
        usize::try_from(kib).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
    }

    /// Returns the room of the longest body, in KiB.
    pub(crate) fn body_kib(&self) -> usize {
        let kib = self.body_bytes_max.as_u64().div_ceil(1_024);
        usize::try_from(kib).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(5),
            hello_bytes_max: ByteSize::kib(16),
            frame_bytes_max: ByteSize::mib(1),
            op_bytes_max: ByteSize::kib(256),
            ops_per_second: 10_000,
            cursors_per_second: 20,
            bytes_per_second: ByteSize::kib(512),
            user_bytes_per_second: ByteSize::kib(512),
            sockets_per_user: 1_000,
            documents_per_user: 1_000,
            requests_per_second: 1_000,
            address_requests_per_second: 200,
            connections_max: 50_000,
            connections_per_address: 1_000,
            handshakes_per_second: 100,
            ping_every: Duration::from_secs(30),
            silence_max: Duration::from_secs(45),
            outbox_bytes_max: ByteSize::mib(1),
            outbox_age_max: Duration::from_secs(10),
            outbox_grace: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            head_bytes_max: ByteSize::kib(32),
            body_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(75),
            streams_max: 100,
            body_bytes_max: ByteSize::mib(32),
            bodies_bytes_max: ByteSize::mib(256),
            answers_bytes_max: ByteSize::mib(256),
            trusted_proxies: Networks::default(),
            proxy_protocol: false,
            proxy_header: ProxyHeader::None,
            tls_certificate_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            page_max_age: Duration::from_secs(25),
            page_stale: Duration::from_secs(5),
        }
    }
}
