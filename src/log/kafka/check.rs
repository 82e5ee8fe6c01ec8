//! What is checked before a topic is trusted: that it is there, is kept often enough, and never
//! loses a record by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::log::kafka::error::OpenError;
use crate::log::kafka::quiet::Quiet;
use crate::log::kafka::refusal::why_refused;
use crate::log::kafka::settings::{MESSAGE_BYTES_MAX, Options};
use crate::log::kafka::topic_id::{Told, topic_id};
use crate::task::Tasks;
use crate::types::LogId;

/// How many replicas a topic has, and how many of them must have a record.
const REPLICAS: i32 = 3;
const IN_SYNC: i32 = 2;

/// How many partitions a topic has that is created where nothing is said.
const SHARDS: u32 = 256;

/// How long one question may take.
const ASK_MAX: Duration = Duration::from_secs(5);

/// How often the topic's id is asked for: an answer may be lost.
const IDENTIFY_TRIES: usize = 3;

/// How long is waited between two tries, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long a topic that was created just now may stay unknown.
const CREATED_MAX: Duration = Duration::from_secs(15);

pub(crate) type Admin = AdminClient<Quiet>;

/// A setting that the topic must have.
struct Rule {
    key: &'static str,
    wanted: &'static str,
    why: &'static str,
}

const RULES: [Rule; 4] = [
    Rule {
        key: "cleanup.policy",
        wanted: "delete",
        why: "compaction removes records that are needed",
    },
    Rule {
        key: "retention.ms",
        wanted: "-1",
        why: "records are removed below the checkpoints, never by age",
    },
    Rule {
        key: "retention.bytes",
        wanted: "-1",
        why: "records are removed below the checkpoints, never by size",
    },
    Rule {
        key: "unclean.leader.election.enable",
        wanted: "false",
        why: "a replica that lags would lose what was acknowledged",
    },
];

/// What the time of a record is, and how far it may be from the brokers' where it is the node's:
/// without a bound. A broker before 3.6 knows none.
const TIME: &str = "message.timestamp.type";
const TIME_OF_BROKER: &str = "LogAppendTime";
const TIME_APART: [&str; 2] = ["message.timestamp.after.max.ms", "message.timestamp.before.max.ms"];

/// Finds the topic, or creates it, checks it, and returns the id of the log and its shards. Brokers
/// that do not answer, or do not know of the topic what others know, are asked again.
///
/// # Errors
/// [`OpenError`]; nothing but a missing topic was created.
pub(crate) async fn check(
    admin: &Arc<Admin>,
    options: &Options,
) -> Result<(LogId, u32), OpenError> {
    let (began, mut backoff) = (Instant::now(), BACKOFF.0);
    let mut is_new = false;
    loop {
        let error = match check_once(admin, options, &mut is_new).await {
            Err(error) if error.passes() => error,
            checked => return checked,
        };
        let patience = match error {
            OpenError::Unsettled { .. } => CREATED_MAX.min(options.config.open_timeout),
            _ => options.config.open_timeout,
        };
        if began.elapsed() >= patience {
            return Err(error);
        }
        tracing::warn!(%error, "Kafka is not ready, trying again");
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Does it once; takes note whether the topic is new, as it is where it was missing the first time.
async fn check_once(
    admin: &Arc<Admin>,
    options: &Options,
    is_new: &mut bool,
) -> Result<(LogId, u32), OpenError> {
    let mut replicas = find(admin, options).await?;
    *is_new |= replicas.is_none();
    if replicas.is_none() && options.config.create_topics {
        create(admin, options).await?;
        replicas = find_created(admin, options).await?;
    }
    let replicas = replicas.ok_or_else(|| OpenError::NoTopic {
        topic: options.topic.clone(),
        hosts: options.brokers(),
        shards: options.shards.unwrap_or(SHARDS),
    })?;
    check_replicas(&replicas, options)?;
    check_settings(admin, options).await?;
    if *is_new {
        check_leaders(options, replicas.len()).await?;
    }
    let shards = u32::try_from(replicas.len()).unwrap_or(u32::MAX);
    Ok((identify(admin, options).await?, shards))
}

/// Returns the number of replicas of each partition; none where there is no such topic.
async fn find(
    admin: &Arc<Admin>,
    options: &Options,
) -> Result<Option<Vec<(i32, usize)>>, OpenError> {
    let error = match ask(admin, options).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let hosts = options.brokers();
    let asked = options.clone();
    match Tasks::offload(move || why_refused(&asked, ASK_MAX)).await {
        Some(reason) => Err(OpenError::Refused { hosts, reason }),
        None => Err(OpenError::Unreachable { hosts, reason: error.to_string() }),
    }
}

/// Returns why a request failed: by what passes, and it may have been done all the same, or by
/// what is the matter with it.
fn failure(
    error: &KafkaError,
    options: &Options,
    matter: impl FnOnce(String) -> OpenError,
) -> OpenError {
    let passes = [
        RDKafkaErrorCode::AllBrokersDown,
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::NetworkException,
        RDKafkaErrorCode::NotController,
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::RequestTimedOut,
    ];
    let reason = error.to_string();
    match *error {
        KafkaError::AdminOp(code) if passes.contains(&code) => {
            OpenError::Unreachable { hosts: options.brokers(), reason }
        }
        _ => matter(reason),
    }
}

/// Asks for all topics: asking for one that is missing could make the broker create it.
async fn ask(
    admin: &Arc<Admin>,
    options: &Options,
) -> Result<Option<Vec<(i32, usize)>>, KafkaError> {
    let (admin, topic) = (Arc::clone(admin), options.topic.clone());
    let metadata = Tasks::offload(move || admin.inner().fetch_metadata(None, ASK_MAX)).await?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    if let Some(error) = found.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let partitions = found.partitions().iter();
    Ok(Some(partitions.map(|partition| (partition.id(), partition.replicas().len())).collect()))
}

async fn create(admin: &Admin, options: &Options) -> Result<(), OpenError> {
    let failed = |reason: String| OpenError::NotCreated { topic: options.topic.clone(), reason };
    let partitions = i32::try_from(options.shards.unwrap_or(SHARDS))
        .map_err(|error| failed(error.to_string()))?;
    let (replicas, in_sync) =
        if options.config.allow_single_replica { (1, 1) } else { (REPLICAS, IN_SYNC) };
    let (in_sync, longest) = (in_sync.to_string(), MESSAGE_BYTES_MAX.to_string());
    let mut topic = NewTopic::new(&options.topic, partitions, TopicReplication::Fixed(replicas))
        .set("min.insync.replicas", &in_sync)
        .set("max.message.bytes", &longest)
        .set(TIME, TIME_OF_BROKER);
    for Rule { key, wanted, .. } in &RULES {
        topic = topic.set(key, wanted);
    }
    let asked = AdminOptions::new()
        .operation_timeout(Some(CREATED_MAX))
        .request_timeout(Some(CREATED_MAX + ASK_MAX));
    let created = admin.create_topics([&topic], &asked).await;
    match created.map_err(|error| failure(&error, options, failed))?.pop() {
        Some(Ok(_)) => tracing::info!(topic = options.topic, partitions, "topic created"),
        // Another node was first: what it created is checked like any other.
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
        Some(Err((_, RDKafkaErrorCode::InvalidReplicationFactor))) => {
            let reason = format!(
                "fewer than {replicas} of them are up; one machine can do with \
                 --allow-single-replica"
            );
            return Err(unsettled(options, &reason));
        }
        Some(Err((_, code))) => {
            return Err(failure(&KafkaError::AdminOp(code), options, failed));
        }
        None => return Err(failed("the broker did not answer".to_owned())),
    }
    Ok(())
}

/// Waits until a topic that was created just now is known with all its partitions.
async fn find_created(
    admin: &Arc<Admin>,
    options: &Options,
) -> Result<Option<Vec<(i32, usize)>>, OpenError> {
    let began = Instant::now();
    loop {
        let found = find(admin, options).await?;
        let whole =
            |found: &Vec<_>| u32::try_from(found.len()) == Ok(options.shards.unwrap_or(SHARDS));
        if found.as_ref().is_some_and(whole) || began.elapsed() >= CREATED_MAX {
            return Ok(found);
        }
        tokio::time::sleep(BACKOFF.0).await;
    }
}

/// Asks the leaders of all partitions where they end. Brokers tell of a topic that was created just
/// now before a busy one of them has heard that it leads a partition, and refuses all reads of it.
async fn check_leaders(options: &Options, partitions: usize) -> Result<(), OpenError> {
    let asked = options.clone();
    let told = Tasks::offload(move || ask_leaders(&asked, partitions)).await;
    told.map_err(|error| OpenError::Unled {
        topic: options.topic.clone(),
        hosts: options.brokers(),
        reason: error.to_string(),
    })
}

/// Asks with a client that has not heard of a partition without a leader, which it would believe
/// for minutes. Blocks.
fn ask_leaders(options: &Options, partitions: usize) -> Result<(), KafkaError> {
    let consumer: BaseConsumer<Quiet> = options.consumer().create_with_context(Quiet)?;
    let mut ends = TopicPartitionList::with_capacity(partitions);
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        ends.add_partition_offset(&options.topic, partition, Offset::End)?;
    }
    let told = consumer.offsets_for_times(ends, ASK_MAX)?;
    told.elements().iter().try_for_each(|partition| partition.error())
}

fn check_replicas(replicas: &[(i32, usize)], options: &Options) -> Result<(), OpenError> {
    let topic = options.topic.clone();
    let found = u32::try_from(replicas.len()).unwrap_or(u32::MAX);
    if let Some(asked) = options.shards.filter(|asked| *asked != found) {
        return Err(OpenError::Shards { topic, found, asked });
    }
    let least = if options.config.allow_single_replica { 1 } else { REPLICAS as usize };
    match replicas.iter().find(|(_, replicas)| *replicas < least) {
        Some(&(partition, found)) => Err(OpenError::Replicas { topic, partition, found, least }),
        None => Ok(()),
    }
}

async fn check_settings(admin: &Admin, options: &Options) -> Result<(), OpenError> {
    let refused = |reason: String| OpenError::Refused { hosts: options.brokers(), reason };
    let topic = options.topic.as_str();
    let asked = AdminOptions::new().request_timeout(Some(ASK_MAX));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &asked).await;
    let described = described.map_err(|error| failure(&error, options, refused))?.pop();
    let described = described.ok_or_else(|| refused("no settings were told".to_owned()))?;
    let described =
        described.map_err(|code| failure(&KafkaError::AdminOp(code), options, refused))?;
    if described.entries.is_empty() {
        // So says a broker that has not heard of the topic, which another one has told of; where
        // the right to ask is missing it is the same, because the binding does not pass it on.
        return Err(unsettled(options, "one of them tells none of its settings"));
    }
    let value = |key: &str| described.get(key).and_then(|entry| entry.value.clone());
    let setting = |key, found: Option<String>, wanted: String, why| OpenError::Setting {
        topic: topic.to_owned(),
        key,
        found: found.unwrap_or_else(|| "nothing".to_owned()),
        wanted,
        why,
    };
    for Rule { key, wanted, why } in &RULES {
        let found = value(key);
        if found.as_deref() != Some(*wanted) {
            return Err(setting(key, found, (*wanted).to_owned(), why));
        }
    }
    let unbounded = |key: &&str| value(key).is_none_or(|apart| apart == i64::MAX.to_string());
    let time = value(TIME);
    if time.as_deref() != Some(TIME_OF_BROKER) && !TIME_APART.iter().all(unbounded) {
        let why = "the records of a node whose clock is wrong are refused otherwise";
        return Err(setting(TIME, time, TIME_OF_BROKER.to_owned(), why));
    }
    let at_least = |key, least: usize, why| {
        let found = value(key);
        let number = found.as_deref().and_then(|found| found.parse::<usize>().ok());
        if number.is_some_and(|number| number >= least) {
            return Ok(());
        }
        Err(setting(key, found, format!("{least} or more"), why))
    };
    let in_sync = if options.config.allow_single_replica { 1 } else { IN_SYNC as usize };
    let why = "what one replica has is lost with it";
    at_least("min.insync.replicas", in_sync, why)?;
    at_least("max.message.bytes", MESSAGE_BYTES_MAX, "a record may be so long")
}

async fn identify(admin: &Arc<Admin>, options: &Options) -> Result<LogId, OpenError> {
    let mut told = Told::Nothing;
    for _ in 0..IDENTIFY_TRIES {
        told = ask_id(admin, &options.topic).await;
        if told != Told::Nothing {
            break;
        }
    }
    identified(told, options)
}

fn identified(told: Told, options: &Options) -> Result<LogId, OpenError> {
    match told {
        Told::Id(id) => Ok(LogId(id)),
        Told::NoIds => Err(OpenError::TooOld { hosts: options.brokers() }),
        Told::Nothing => Err(unsettled(options, "one of them does not tell its id")),
    }
}

fn unsettled(options: &Options, reason: &str) -> OpenError {
    let (topic, hosts) = (options.topic.clone(), options.brokers());
    OpenError::Unsettled { topic, hosts, reason: reason.to_owned() }
}

/// Asks for the id that the topic has now.
pub(crate) async fn ask_id(admin: &Arc<Admin>, topic: &str) -> Told {
    let (admin, topic) = (Arc::clone(admin), topic.to_owned());
    Tasks::offload(move || topic_id(admin.inner(), &topic, ASK_MAX)).await
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    #[tokio::test]
    async fn a_new_topic_is_there_once_each_partition_is_known_to_its_leader() {
        let brokers = MockCluster::new(1).unwrap();
        brokers.create_topic("t", 4, 1).unwrap();
        let config = crate::log::kafka::Config::default();
        let options = Options::new(vec![brokers.bootstrap_servers()], "t", None, &config).unwrap();
        check_leaders(&options, 4).await.unwrap();

        let unled = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
        brokers.request_errors(RDKafkaApiKey::ListOffsets, &[unled; 100]);
        let error = check_leaders(&options, 4).await.unwrap_err();
        assert!(matches!(&error, OpenError::Unled { .. } if error.passes()), "{error}");
        brokers.clear_request_errors(RDKafkaApiKey::ListOffsets);
        check_leaders(&options, 4).await.unwrap();

        brokers.partition_leader("t", 3, None).unwrap();
        let error = check_leaders(&options, 4).await.unwrap_err();
        assert!(matches!(error, OpenError::Unled { .. }), "{error}");
        brokers.partition_leader("t", 3, Some(1)).unwrap();
        check_leaders(&options, 4).await.unwrap();
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let config = crate::log::kafka::Config::default();
        let options = Options::new(vec!["h:1".to_owned()], "t", None, &config).unwrap();
        let because = |code| {
            let matter = |reason| OpenError::NotCreated { topic: "t".to_owned(), reason };
            failure(&KafkaError::AdminOp(code), &options, matter)
        };
        let passes = because(RDKafkaErrorCode::OperationTimedOut);
        assert!(matches!(passes, OpenError::Unreachable { .. }), "{passes}");
        let denied = because(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert!(matches!(denied, OpenError::NotCreated { .. }), "{denied}");
    }

    #[test]
    fn a_topic_without_an_id_is_refused_by_what_is_the_matter() {
        let config = crate::log::kafka::Config::default();
        let options = Options::new(vec!["h:1".to_owned()], "t", None, &config).unwrap();
        let check = |told, says: &str| {
            let said = identified(told, &options).map_err(|error| error.to_string());
            assert_eq!(said.map(|id| id.0), Err(says.to_owned()));
        };
        assert_eq!(identified(Told::Id(7), &options).ok(), Some(LogId(7)));
        check(
            Told::NoIds,
            "the brokers at h:1 are too old, they know no ids of topics: use Kafka 3.1 or newer",
        );
        check(
            Told::Nothing,
            "the brokers at h:1 are not ready for the topic t (one of them does not tell its id): \
             wait until all of them are up; where that does not help, check the rights",
        );
    }
}
