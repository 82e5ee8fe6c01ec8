//! What a log in Kafka is opened with, and how Kafka's client is set up for it.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::log::RECORD_BYTES_MAX;
use crate::log::kafka::config::Config;

/// What a message may have beside the record: Kafka's framing of a batch with one record.
pub(crate) const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + (64 << 10);

/// How a log in Kafka is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The brokers to begin with, `host:port` each.
    pub hosts: Vec<String>,
    /// The topic; its partitions are the shards.
    pub topic: String,
    /// How many shards the topic must have; none takes as many as there are.
    pub shards: Option<u32>,
    /// Settings of librdkafka, which win over those here but not over those that the log's
    /// contract rests on.
    pub properties: Vec<(String, String)>,
    /// Everything else.
    pub config: Config,
    /// Whether one reader follows the topic, which then waits at the brokers for what comes, and
    /// nobody reads elsewhere in it meanwhile.
    pub is_followed: bool,
}

impl Options {
    /// Returns the options for a topic.
    ///
    /// # Errors
    /// The piece of `properties` that is none.
    pub fn new(
        hosts: Vec<String>,
        topic: &str,
        shards: Option<u32>,
        config: &Config,
    ) -> Result<Self, String> {
        Ok(Self {
            hosts,
            topic: topic.to_owned(),
            shards,
            properties: config.properties()?,
            config: config.clone(),
            is_followed: false,
        })
    }

    /// Returns the brokers as they are named in messages.
    pub(crate) fn brokers(&self) -> String {
        self.hosts.join(",")
    }

    /// What every client shares.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config.set("client.id", "quire");
        // A broker that comes back is to be found at once; the default waits up to 10 s.
        config.set("reconnect.backoff.ms", "50");
        config.set("reconnect.backoff.max.ms", "500");
        // A frozen leader must not hold appends for the default of 60 s.
        config.set("socket.timeout.ms", millis(self.config.request_timeout * 4 / 3));
        config.set("socket.keepalive.enable", "true");
        // Requests are small and wait for nothing.
        config.set("socket.nagle.disable", "true");
        // A leader that moved is to be found soon after the first error.
        config.set("topic.metadata.refresh.fast.interval.ms", "100");
        config.set("metadata.max.age.ms", "60000");
        // A record is as long as the log says; Kafka's own default is 1 MB.
        config.set("message.max.bytes", MESSAGE_BYTES_MAX.to_string());
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config.set("bootstrap.servers", self.brokers());
        config
    }

    /// What appends: durable at every replica in sync, in the order of the calls, once.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        let default = |config: &mut ClientConfig, key: &str, value: String| {
            if !self.properties.iter().any(|(set, _)| set == key) {
                config.set(key, value);
            }
        };
        default(&mut config, "linger.ms", millis(self.config.linger));
        default(&mut config, "request.timeout.ms", millis(self.config.request_timeout));
        default(&mut config, "retry.backoff.ms", "50".to_owned());
        default(&mut config, "retry.backoff.max.ms", "500".to_owned());
        // What waits has one bound, in bytes; there is no second one in messages.
        default(&mut config, "queue.buffering.max.messages", "0".to_owned());
        // No record is acknowledged by fewer replicas than are in sync.
        config.set("acks", "all");
        // A retry neither doubles a record nor overtakes the one before it.
        config.set("enable.idempotence", "true");
        // After that an outcome is unknown, and the shard is claimed again.
        config.set("message.timeout.ms", millis(self.config.append_timeout));
        config.set(
            "queue.buffering.max.kbytes",
            (self.config.queue_bytes.as_u64() >> 10).max(1).to_string(),
        );
        config
    }

    /// What reads: assigned to partitions, never in a group, from an offset that must be there.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        let default = |config: &mut ClientConfig, key: &str, value: &str| {
            if !self.properties.iter().any(|(set, _)| set == key) {
                config.set(key, value);
            }
        };
        // Reads are for claims, gaps and tails: whoever reads is waited for.
        // A read of another place waits for the one that is at the broker.
        let wait = if self.is_followed { "500" } else { "10" };
        default(&mut config, "fetch.wait.max.ms", wait);
        default(&mut config, "fetch.error.backoff.ms", "50");
        default(&mut config, "fetch.queue.backoff.ms", "20");
        // What is read ahead is bounded.
        default(&mut config, "queued.max.messages.kbytes", "8192");
        // librdkafka wants the name of a group; nothing is ever committed under it.
        config.set("group.id", "quire");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        // An offset that is not there is an error and never another offset.
        config.set("auto.offset.reset", "error");
        config.set("enable.partition.eof", "true");
        config.set("check.crcs", "true");
        // Quire writes no transactions; an open one of somebody else must not hide the end.
        config.set("isolation.level", "read_uncommitted");
        config
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
