//! Checkpoints in a real CQL store, named by the variable `CQL_HOSTS`.

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use quire::checkpoint::Store;
use quire::checkpoint::contract::CASES;
use quire::checkpoint::cql::{Config, Cql, OpenError};
use quire::types::{LogId, ShardId};
use scylla::client::session_builder::SessionBuilder;

use crate::server::{QUIRE, Server, free_port, quire};
use crate::service::Service;

pub(crate) fn hosts() -> Vec<String> {
    let hosts = env::var("CQL_HOSTS").ok().filter(|hosts| !hosts.is_empty());
    let hosts = hosts.expect(
        "CQL_HOSTS is not set: run tests/run, or tests/services/cassandra DIR start and set it",
    );
    hosts.split(',').map(str::to_owned).collect()
}

fn config() -> Config {
    Config { replication_factor: 1, ..Config::default() }
}

fn fresh_keyspace() -> String {
    format!("test_{:016x}", rand::random::<u64>())
}

async fn statement(text: String) {
    let session = SessionBuilder::new().known_nodes(hosts()).build().await.expect("it answers");
    session.query_unpaged(text, &[]).await.expect("it is carried out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_the_contract() {
    let keyspace = fresh_keyspace();
    let store = Cql::open(&hosts(), &keyspace, &config()).await.expect("it opens");
    let tables = ["manifests", "blobs", "chunks", "progress"];
    for case in CASES {
        for table in tables {
            statement(format!("TRUNCATE \"{keyspace}\".{table}")).await;
        }
        if case.name == "a closed store says so" {
            let other = Cql::open(&hosts(), &keyspace, &config()).await.expect("it opens");
            case.run(&other).await;
        } else {
            case.run(&store).await;
        }
    }
    statement(format!("DROP KEYSPACE \"{keyspace}\"")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_and_servers_that_do_not_answer_are_told_of() {
    let keyspace = fresh_keyspace();
    Cql::open(&hosts(), &keyspace, &config()).await.expect("it opens");
    let newer = format!("INSERT INTO \"{keyspace}\".meta (name, value) VALUES ('format', 99)");
    statement(newer).await;
    let refused = Cql::open(&hosts(), &keyspace, &config()).await.expect_err("it is newer");
    assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused}");
    statement(format!("DROP KEYSPACE \"{keyspace}\"")).await;
    let short = Config { open_timeout: Duration::from_secs(1), ..config() };
    let nowhere = ["127.0.0.1:1".to_owned()];
    let refused = Cql::open(&nowhere, "k", &short).await.expect_err("nobody is there");
    assert!(refused.to_string().contains("no CQL server answers at 127.0.0.1:1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_an_error_and_no_hang() {
    let (cassandra, address) = Service::start("cassandra").await;
    let hosts = [address];
    // The tables are made at leisure: a busy machine takes longer for them than is waited below.
    Cql::open(&hosts, "frozen", &config()).await.expect("it opens").close().await.expect("it ends");
    let short = Config { request_timeout: Duration::from_secs(1), ..config() };
    let store = Cql::open(&hosts, "frozen", &short).await.expect("it opens again");
    let progress = async || store.progress(ShardId(0), LogId(1)).await;
    assert!(matches!(progress().await, Ok(None)));
    cassandra.run("freeze").await;
    progress().await.expect_err("nobody answers");
    cassandra.run("thaw").await;
    while progress().await.is_err() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_trusted_by_their_certificates_where_these_are_named() {
    let tls = &[("CASSANDRA_TLS", "on")];
    let (cassandra, address) = Service::start_with("cassandra", tls).await;
    let short = Config { open_timeout: Duration::from_secs(2), ..config() };
    let plain = Cql::open(std::slice::from_ref(&address), "tls", &short).await;
    assert!(matches!(plain, Err(OpenError::Unreachable { .. })), "it must be TLS");
    let trusting = |tls_ca_file| Config { tls_ca_file, ..short.clone() };
    let ca = cassandra.folder().join("ca.pem");
    let store = Cql::open(std::slice::from_ref(&address), "tls", &trusting(ca)).await;
    let store = store.expect("it is the server's own");
    assert!(matches!(store.progress(ShardId(0), LogId(1)).await, Ok(None)));
    let none = cassandra.folder().join("cassandra.yaml");
    let refused = Cql::open(&[address], "tls", &trusting(none)).await.map(drop);
    assert!(matches!(refused, Err(OpenError::Certificates { .. })), "{refused:?}");
}

#[test]
fn the_tables_are_made_by_a_command_of_their_own() {
    let keyspace = fresh_keyspace();
    let url = format!("cql://{}/{keyspace}", hosts().join(","));
    let replicas = ["--set", "cql.replication-factor=1"];
    for _ in 0..2 {
        let args = [&["checkpoints", "init", "--checkpoints", &url], &replicas[..]].concat();
        assert_eq!(quire(&args).trim(), format!("the store of checkpoints is ready: {url}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_logs_in_is_served_and_who_cannot_is_told_at_once() {
    let asking = &[("CASSANDRA_LOGIN", "on")];
    let (_cassandra, address) = Service::start_with("cassandra", asking).await;
    let admin = SessionBuilder::new().known_node(&address).user("cassandra", "cassandra");
    let admin = admin.build().await.expect("it is the server's own");
    for statement in [
        "CREATE ROLE quire WITH PASSWORD = 'right' AND LOGIN = true",
        "CREATE ROLE guest WITH PASSWORD = 'right' AND LOGIN = true",
        "GRANT CREATE ON ALL KEYSPACES TO quire",
    ] {
        admin.query_unpaged(statement, &[]).await.expect("it is carried out");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let [right, wrong] = ["right", "wrong"].map(|password| {
        let file = folder.path().join(password);
        // As an editor leaves it.
        std::fs::write(&file, format!("{password}\n")).expect("it can be written");
        file.display().to_string()
    });
    let store = format!("checkpoints=cql://{address}/login");
    let own = ["log=memory", &store, "cql.replication-factor=1", "cql.open-timeout=20s"];
    let refused = |user: &str, file: &str| {
        let set = own.iter().flat_map(|setting| ["--set", setting]);
        let mut serve = Command::new(QUIRE);
        serve.args(["serve", "--listen", "127.0.0.1:0"]).args(set).stdin(Stdio::null());
        serve.env("QUIRE_CQL__USER", user).env("QUIRE_CQL__PASSWORD_FILE", file);
        let ended = serve.output().expect("the binary runs");
        assert_eq!(ended.status.code(), Some(1));
        String::from_utf8(ended.stderr).expect("it is text")
    };
    let named = ["cql.user=quire", &format!("cql.password-file={right}")];
    let server = Server::start(folder.path(), free_port(), &[&own[..], &named].concat());
    quire(&["doc", "import", "a", &right, "--url", &server.url]);
    server.stop();
    let said = refused("quire", &wrong);
    assert!(said.contains("do not let quire in"), "{said}");
    assert!(said.contains("correct cql.user, or the password in cql.password-file"), "{said}");
    let said = refused("", &right);
    assert!(said.contains("ask for a log-in: set cql.user and cql.password-file"), "{said}");
    let said = refused("guest", &right);
    assert!(said.contains("the keyspace login cannot be used"), "{said}");
    let missing = folder.path().join("missing").display().to_string();
    let said = refused("quire", &missing);
    assert!(said.contains("cannot be read") && said.contains("cql.password-file"), "{said}");
}
