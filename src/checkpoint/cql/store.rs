//! The store over a session of the driver.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind as SetupFailure, DbError,
    ExecutionError, MetadataError, NewSessionError,
};
use scylla::policies::timestamp_generator::TimestampGenerator;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency as Level;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlVarint;

use crate::checkpoint::Store;
use crate::checkpoint::cql::config::{Config, Consistency};
use crate::checkpoint::cql::error::{OpenError, failed};
use crate::checkpoint::cql::schema::{Statements, prepare};
use crate::checkpoint::error::StoreError;
use crate::checkpoint::key::{BlobId, BlobKind, CheckpointId, Progress, StoredManifest};
use crate::clock::Clock;
use crate::types::{DocId, Epoch, LogId, Offset, Revision, ShardId};

/// How often a request is tried that nobody answers in time.
const TRIES: usize = 2;

/// How often a silent server is asked whether it is there, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(3);

/// How long is waited between two tries to connect, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Where the bytes of rows are that were removed.
const IN_TABLES: &str = "nobody reads what was removed; the servers drop its bytes when they \
     compact, after gc_grace_seconds (1 day), and from their commit logs when these are recycled; \
     snapshots of theirs keep them";

/// Keeps checkpoints in a keyspace of ScyllaDB or Cassandra; any number of processes may use it.
pub struct Cql {
    session: Session,
    statements: Statements,
    closed: AtomicBool,
}

/// Dates what is written, each time later: a row that is removed and put again within a
/// microsecond is there.
struct Stamps {
    clock: Clock,
    last: AtomicI64,
}

impl TimestampGenerator for Stamps {
    fn next_timestamp(&self) -> i64 {
        let now = i64::try_from(self.clock.micros()).unwrap_or(i64::MAX);
        let later = |last: i64| Some(now.max(last.saturating_add(1)));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        last.map_or(now, |last| now.max(last.saturating_add(1)))
    }
}

type BlobKey<'a> = (&'a str, i8, i64, i64);

impl Cql {
    /// Connects, and makes the keyspace and its tables where they are missing.
    ///
    /// # Errors
    /// [`OpenError`]: why the keyspace cannot be used, and what to do about it.
    pub async fn open(
        hosts: &[String],
        keyspace: &str,
        config: &Config,
    ) -> Result<Self, OpenError> {
        Self::open_by(hosts, keyspace, config, Clock::wall()).await
    }

    /// Does the same, and dates what is written by a clock.
    ///
    /// # Errors
    /// Those of [`Cql::open`].
    pub async fn open_by(
        hosts: &[String],
        keyspace: &str,
        config: &Config,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let session = connect(hosts, config, clock).await?;
        prepare(&session, keyspace, config.replication_factor).await?;
        let statements = Statements::prepare(&session, keyspace).await;
        let statements = statements.map_err(|error| OpenError::Keyspace {
            keyspace: keyspace.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { session, statements, closed: AtomicBool::new(false) })
    }

    async fn execute(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        // A coordinator that stands still takes the whole time of a request along: the next try
        // goes to another one. Every statement may be repeated.
        let mut tries = 1;
        loop {
            match self.session.execute_unpaged(statement, &values).await {
                Err(ExecutionError::RequestTimeout(_)) if tries < TRIES => tries += 1,
                result => return result.map_err(failed),
            }
        }
    }

    async fn write(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), StoreError> {
        self.execute(statement, values).await.map(drop)
    }

    async fn select(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryRowsResult, StoreError> {
        self.execute(statement, values).await?.into_rows_result().map_err(failed)
    }
}

/// Connects to any of the hosts, which may not be there yet.
async fn connect(hosts: &[String], config: &Config, clock: Clock) -> Result<Session, OpenError> {
    let stamps = Arc::new(Stamps { clock, last: AtomicI64::new(0) });
    let password = match config.user.as_str() {
        "" => String::new(),
        _ => {
            let path = &config.password_file;
            let read = std::fs::read_to_string(path);
            read.map_err(|source| OpenError::Password { path: path.clone(), source })?
        }
    };
    let tls = tls(config)?;
    let (began, mut backoff) = (Instant::now(), BACKOFF.0);
    loop {
        let error =
            match try_connect(hosts, config, (password.trim_end(), &tls), stamps.clone()).await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
        let hosts = hosts.join(",");
        if let Some(kind) = setup_failure(&error) {
            // Who is not let in now is not let in later, either.
            let user = config.user.clone();
            match kind {
                SetupFailure::MissingAuthentication => return Err(OpenError::NoLogIn { hosts }),
                SetupFailure::DbError(DbError::AuthenticationError, reason) => {
                    return Err(OpenError::LogIn { hosts, user, reason: reason.clone() });
                }
                _ => {}
            }
        }
        if began.elapsed() >= config.open_timeout {
            return Err(OpenError::Unreachable { hosts, reason: error.to_string() });
        }
        tracing::warn!(%hosts, reason = %error, "no CQL server answers, trying again");
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Returns what a server had against a connection that was being set up.
fn setup_failure(error: &NewSessionError) -> Option<&SetupFailure> {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
        ConnectionPoolError::Broken {
            last_connection_error: ConnectionError::ConnectionSetupRequestError(failed),
        },
    )) = error
    else {
        return None;
    };
    Some(failed.get_error())
}

/// Reads whose certificates are trusted; none where connections are plain.
fn tls(config: &Config) -> Result<Option<Arc<ClientConfig>>, OpenError> {
    let path = &config.tls_ca_file;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let bad = |reason: String| OpenError::Certificates { path: path.clone(), reason };
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(Arc::new(config)))
}

async fn try_connect(
    hosts: &[String],
    config: &Config,
    (password, tls): (&str, &Option<Arc<ClientConfig>>),
    stamps: Arc<Stamps>,
) -> Result<Session, NewSessionError> {
    let consistency = match config.consistency {
        Consistency::Quorum => Level::Quorum,
        Consistency::LocalQuorum => Level::LocalQuorum,
        Consistency::One => Level::One,
    };
    // The driver tries idempotent requests elsewhere where a server fails; it never asks two at
    // once.
    let profile = ExecutionProfile::builder()
        .consistency(consistency)
        .request_timeout(Some(config.request_timeout))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(hosts)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(config.request_timeout)
        // A server that stands still is to be left soon.
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .tls_context(tls.clone())
        .timestamp_generator(stamps);
    if !config.user.is_empty() {
        builder = builder.user(&config.user, password);
    }
    builder.build().await
}

#[async_trait]
impl Store for Cql {
    async fn put_chunk(&self, blob: &BlobId, index: u32, bytes: Bytes) -> Result<(), StoreError> {
        let (doc, kind, revision, hash) = blob_key(blob);
        // The list first: a chunk that nothing lists would never be removed.
        self.write(&self.statements.put_blob, (doc, kind, revision, hash)).await?;
        let row = (doc, kind, revision, hash, index.cast_signed(), bytes);
        self.write(&self.statements.put_chunk, row).await
    }

    async fn chunk(&self, blob: &BlobId, index: u32) -> Result<Option<Bytes>, StoreError> {
        let (doc, kind, revision, hash) = blob_key(blob);
        let key = (doc, kind, revision, hash, index.cast_signed());
        let rows = self.select(&self.statements.chunk, key).await?;
        let row = rows.maybe_first_row::<(Bytes,)>().map_err(failed)?;
        Ok(row.map(|(bytes,)| bytes))
    }

    async fn blobs(&self, doc: &DocId) -> Result<Vec<BlobId>, StoreError> {
        let rows = self.select(&self.statements.blobs, (doc.as_str(),)).await?;
        let mut blobs = Vec::new();
        for row in rows.rows::<(i8, i64, i64)>().map_err(failed)? {
            let (kind, revision, hash) = row.map_err(failed)?;
            let Some(kind) = kind_of(kind) else { continue };
            let (revision, hash) = (Revision(revision.cast_unsigned()), hash.cast_unsigned());
            blobs.push(BlobId { doc: doc.clone(), kind, revision, hash });
        }
        Ok(blobs)
    }

    async fn remove_blob(&self, blob: &BlobId) -> Result<(), StoreError> {
        let key = blob_key(blob);
        self.write(&self.statements.remove_chunks, key).await?;
        self.write(&self.statements.remove_blob, key).await
    }

    async fn put_manifest(&self, id: &CheckpointId, bytes: Bytes) -> Result<(), StoreError> {
        let (doc, revision, at) = checkpoint_key(id);
        self.write(&self.statements.put_manifest, (doc, revision, at, bytes)).await
    }

    async fn manifests(
        &self,
        doc: &DocId,
        limit: usize,
    ) -> Result<Vec<StoredManifest>, StoreError> {
        let values = (doc.as_str(), limit_of(limit));
        let rows = self.select(&self.statements.manifests, values).await?;
        let mut manifests = Vec::new();
        for row in rows.rows::<(CqlVarint, CqlVarint, Bytes)>().map_err(failed)? {
            let (revision, at, bytes) = row.map_err(failed)?;
            let (revision, offset) = (Revision(number(&revision)?), Offset(number(&at)?));
            let id = CheckpointId { doc: doc.clone(), revision, offset };
            manifests.push(StoredManifest { id, bytes });
        }
        Ok(manifests)
    }

    async fn remove_manifest(&self, id: &CheckpointId) -> Result<(), StoreError> {
        self.write(&self.statements.remove_manifest, checkpoint_key(id)).await
    }

    async fn progress(&self, shard: ShardId, log: LogId) -> Result<Option<Progress>, StoreError> {
        let key = (shard_of(shard)?, log.0.to_be_bytes().to_vec());
        let rows = self.select(&self.statements.progress, key).await?;
        let row = rows.maybe_first_row::<(Bytes,)>().map_err(failed)?;
        row.map(|(value,)| read_progress(log, &value)).transpose()
    }

    async fn advance(&self, shard: ShardId, progress: Progress) -> Result<(), StoreError> {
        // The same offset has the same epoch at every owner, so that a tie changes nothing.
        let rank = i64::try_from(progress.low_water.0).unwrap_or(i64::MAX - 1).min(i64::MAX - 1);
        let log = progress.log.0.to_be_bytes().to_vec();
        let row = (shard_of(shard)?, log, write_progress(&progress), rank + 1);
        self.write(&self.statements.advance, row).await
    }

    async fn logs(&self) -> Result<Vec<LogId>, StoreError> {
        let rows = self.select(&self.statements.logs, ()).await?;
        let mut logs = BTreeSet::new();
        for row in rows.rows::<(i32, Bytes)>().map_err(failed)? {
            let (_, log) = row.map_err(failed)?;
            let bytes = <[u8; 16]>::try_from(&*log).map_err(failed)?;
            logs.insert(LogId(u128::from_be_bytes(bytes)));
        }
        Ok(logs.into_iter().collect())
    }

    async fn docs(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        let limit = limit_of(limit);
        let rows = match after {
            Some(after) => {
                self.select(&self.statements.docs_after, (after.as_str(), limit)).await?
            }
            None => self.select(&self.statements.first_docs, (limit,)).await?,
        };
        let mut docs = Vec::new();
        for row in rows.rows::<(&str,)>().map_err(failed)? {
            docs.extend(row.map_err(failed)?.0.parse::<DocId>());
        }
        Ok(docs)
    }

    async fn scrub(&self) -> Result<Option<&'static str>, StoreError> {
        Ok(Some(IN_TABLES))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Spells progress: low-water, whether there is an epoch, the epoch, whether it was released.
fn write_progress(progress: &Progress) -> Vec<u8> {
    let mut bytes = progress.low_water.0.to_be_bytes().to_vec();
    bytes.push(u8::from(progress.epoch.is_some()));
    bytes.extend_from_slice(&progress.epoch.unwrap_or_default().0.to_be_bytes());
    bytes.push(u8::from(progress.released));
    bytes
}

fn read_progress(log: LogId, bytes: &[u8]) -> Result<Progress, StoreError> {
    let fields = || {
        let (low_water, rest) = bytes.split_first_chunk()?;
        let (has_epoch, rest) = rest.split_first()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (released, []) = rest.split_first()? else { return None };
        let epoch = (*has_epoch == 1).then(|| Epoch(u64::from_be_bytes(*epoch)));
        let low_water = Offset(u64::from_be_bytes(*low_water));
        Some(Progress { log, low_water, epoch, released: *released == 1 })
    };
    fields().ok_or_else(|| failed("a row of progress is damaged: restore it from a backup"))
}

fn blob_key(blob: &BlobId) -> BlobKey<'_> {
    let kind = match blob.kind {
        BlobKind::Body => 0,
        BlobKind::Segment => 1,
    };
    // Blobs and chunks have no order there, so that the numbers may wrap.
    let (revision, hash) = (blob.revision.0.cast_signed(), blob.hash.cast_signed());
    (blob.doc.as_str(), kind, revision, hash)
}

fn kind_of(kind: i8) -> Option<BlobKind> {
    match kind {
        0 => Some(BlobKind::Body),
        1 => Some(BlobKind::Segment),
        _ => None,
    }
}

fn checkpoint_key(id: &CheckpointId) -> (&str, CqlVarint, CqlVarint) {
    (id.doc.as_str(), varint(id.revision.0), varint(id.offset.0))
}

/// Spells a number as the server orders numbers, whatever its size.
fn varint(number: u64) -> CqlVarint {
    CqlVarint::from_signed_bytes_be(i128::from(number).to_be_bytes().to_vec())
}

fn shard_of(shard: ShardId) -> Result<i32, StoreError> {
    i32::try_from(shard.0).map_err(failed)
}

fn limit_of(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX).max(1)
}

fn number(varint: &CqlVarint) -> Result<u64, StoreError> {
    let mut number = 0_u128;
    for byte in varint.as_signed_bytes_be_slice() {
        number = (number << 8) | u128::from(*byte);
    }
    u64::try_from(number).map_err(failed)
}

impl std::fmt::Debug for Cql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cql")
    }
}
