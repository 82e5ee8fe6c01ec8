//! The tables, and the statements on them.
//!
//! ```text
//! manifests  ((doc), revision desc, at desc)          -> manifest
//! blobs      ((doc), kind, revision, hash)            so that listing reads no chunk
//! chunks     ((doc, kind, revision, hash), chunk)     -> bytes      one partition a blob
//! progress   ((shard, log))                           -> value      written with a timestamp
//! meta       ((name))                                 -> value
//! ```

use std::time::Duration;

use scylla::client::session::Session;
use scylla::errors::{ExecutionError, PrepareError};
use scylla::statement::prepared::PreparedStatement;
use tokio::time::sleep;
use tracing::warn;

use crate::checkpoint::cql::error::OpenError;

/// The newest format that this program reads and writes.
pub(crate) const FORMAT: i64 = 1;

/// Tombstones are dropped after a day: a row that comes back is an old one, never a wrong one, and
/// is removed again.
const TABLES: [&str; 5] = [
    "meta (name text PRIMARY KEY, value bigint)",
    "manifests (doc text, revision varint, at varint, manifest blob, \
     PRIMARY KEY ((doc), revision, at)) \
     WITH CLUSTERING ORDER BY (revision DESC, at DESC) AND gc_grace_seconds = 86400",
    "blobs (doc text, kind tinyint, revision bigint, hash bigint, \
     PRIMARY KEY ((doc), kind, revision, hash)) WITH gc_grace_seconds = 86400",
    "chunks (doc text, kind tinyint, revision bigint, hash bigint, chunk int, bytes blob, \
     PRIMARY KEY ((doc, kind, revision, hash), chunk)) WITH gc_grace_seconds = 86400",
    "progress (shard int, log blob, value blob, PRIMARY KEY ((shard, log)))",
];

/// How often it is tried to make something on which all servers agree, and the pause in between.
const AGREED: (usize, Duration) = (10, Duration::from_secs(1));

/// Creates what is missing, and checks the format of what is there.
pub(crate) async fn prepare(
    session: &Session,
    keyspace: &str,
    replication_factor: u32,
) -> Result<(), OpenError> {
    let failed = |error: ExecutionError| unusable(keyspace, &error);
    if let Ok(Some(found)) = format(session, keyspace).await {
        // Whoever may not create anything can use what is there.
        return check_format(keyspace, found);
    }
    let create = format!(
        "CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" WITH replication = \
         {{'class': 'NetworkTopologyStrategy', 'replication_factor': {replication_factor}}}"
    );
    make(session, &create).await.map_err(failed)?;
    for table in TABLES {
        let create = format!("CREATE TABLE IF NOT EXISTS \"{keyspace}\".{table}");
        make(session, &create).await.map_err(failed)?;
    }
    if let Some(found) = format(session, keyspace).await? {
        return check_format(keyspace, found);
    }
    // Last: where it is there, everything is.
    let write = format!("INSERT INTO \"{keyspace}\".meta (name, value) VALUES ('format', ?)");
    session.query_unpaged(write, (FORMAT,)).await.map_err(failed)?;
    Ok(())
}

/// Makes something where it is missing. Where several nodes do so at once, or a connection was only
/// just lost, it may not be known yet whether all servers agree: then it is asked for again.
async fn make(session: &Session, create: &str) -> Result<(), ExecutionError> {
    let mut tries = 1;
    loop {
        match session.query_unpaged(create, &[]).await {
            Err(ExecutionError::SchemaAgreementError(reason)) if tries < AGREED.0 => {
                warn!(%reason, "the servers do not agree on the tables yet");
                tries += 1;
                sleep(AGREED.1).await;
            }
            made => return made.map(drop),
        }
    }
}

/// Returns the format of what is there.
async fn format(session: &Session, keyspace: &str) -> Result<Option<i64>, OpenError> {
    let read = format!("SELECT value FROM \"{keyspace}\".meta WHERE name = 'format'");
    let rows = session.query_unpaged(read, &[]).await;
    let rows = rows.map_err(|error| unusable(keyspace, &error))?;
    let rows = rows.into_rows_result().map_err(|error| unusable(keyspace, &error))?;
    let found = rows.maybe_first_row::<(i64,)>().map_err(|error| unusable(keyspace, &error))?;
    Ok(found.map(|(found,)| found))
}

fn check_format(keyspace: &str, found: i64) -> Result<(), OpenError> {
    if found <= FORMAT {
        return Ok(());
    }
    Err(OpenError::Newer { keyspace: keyspace.to_owned(), found, known: FORMAT })
}

fn unusable(keyspace: &str, error: &impl std::fmt::Display) -> OpenError {
    OpenError::Keyspace { keyspace: keyspace.to_owned(), reason: error.to_string() }
}

/// The statements, prepared; every one may be repeated.
pub(crate) struct Statements {
    pub(crate) put_chunk: PreparedStatement,
    pub(crate) put_blob: PreparedStatement,
    pub(crate) chunk: PreparedStatement,
    pub(crate) blobs: PreparedStatement,
    pub(crate) remove_chunks: PreparedStatement,
    pub(crate) remove_blob: PreparedStatement,
    pub(crate) put_manifest: PreparedStatement,
    pub(crate) manifests: PreparedStatement,
    pub(crate) remove_manifest: PreparedStatement,
    pub(crate) progress: PreparedStatement,
    pub(crate) advance: PreparedStatement,
    pub(crate) logs: PreparedStatement,
    pub(crate) first_docs: PreparedStatement,
    pub(crate) docs_after: PreparedStatement,
}

impl Statements {
    /// Prepares them; a table is written as `@table` below.
    pub(crate) async fn prepare(session: &Session, keyspace: &str) -> Result<Self, PrepareError> {
        let prepare = async |text: &str| {
            let text = text.replace('@', &format!("\"{keyspace}\"."));
            let mut statement = session.prepare(text).await?;
            // A write names its whole row, so that a second one changes nothing.
            statement.set_is_idempotent(true);
            Ok::<_, PrepareError>(statement)
        };
        let blob = "doc = ? AND kind = ? AND revision = ? AND hash = ?";
        Ok(Self {
            put_chunk: prepare(
                "INSERT INTO @chunks (doc, kind, revision, hash, chunk, bytes) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .await?,
            put_blob: prepare("INSERT INTO @blobs (doc, kind, revision, hash) VALUES (?, ?, ?, ?)")
                .await?,
            chunk: prepare(&format!("SELECT bytes FROM @chunks WHERE {blob} AND chunk = ?"))
                .await?,
            blobs: prepare("SELECT kind, revision, hash FROM @blobs WHERE doc = ?").await?,
            remove_chunks: prepare(&format!("DELETE FROM @chunks WHERE {blob}")).await?,
            remove_blob: prepare(&format!("DELETE FROM @blobs WHERE {blob}")).await?,
            put_manifest: prepare(
                "INSERT INTO @manifests (doc, revision, at, manifest) VALUES (?, ?, ?, ?)",
            )
            .await?,
            manifests: prepare(
                "SELECT revision, at, manifest FROM @manifests WHERE doc = ? LIMIT ?",
            )
            .await?,
            remove_manifest: prepare(
                "DELETE FROM @manifests WHERE doc = ? AND revision = ? AND at = ?",
            )
            .await?,
            progress: prepare("SELECT value FROM @progress WHERE shard = ? AND log = ?").await?,
            // The highest timestamp wins, whoever writes last.
            advance: prepare(
                "INSERT INTO @progress (shard, log, value) VALUES (?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            logs: prepare("SELECT DISTINCT shard, log FROM @progress").await?,
            first_docs: prepare("SELECT DISTINCT doc FROM @manifests LIMIT ?").await?,
            docs_after: prepare(
                "SELECT DISTINCT doc FROM @manifests WHERE token(doc) > token(?) LIMIT ?",
            )
            .await?,
        })
    }
}
