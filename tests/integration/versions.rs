//! Two versions of the program side by side: what fits serves together, what does not is refused
//! with the reason, and the rules go up when the last old node is replaced; records that nobody can
//! read are told of.

use std::time::Duration;

use quire::client::{Document, Options};
use quire::cluster::RULES;
use quire::log::Log;
use quire::node::Versions;
use quire::relay::SPEAKS;
use quire::types::ShardId;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::inner::{PATIENCE, id};
use crate::moves::type_in;
use crate::operators::Cluster;
use crate::plain::reaches;

/// What the next version of the program would say.
const NEXT: Versions = Versions { speaks: (SPEAKS.0, SPEAKS.1 + 1), rules: (RULES.0, RULES.1 + 1) };

/// Types into one document at each node, and waits until every replica has it all.
async fn type_everywhere(cluster: &Cluster, doc: &str) {
    let mut documents = Vec::new();
    for node in &cluster.nodes {
        let url = format!("http://{}", node.address);
        documents.push(Document::open(id(doc), Options::new(&url)));
    }
    for (document, letter) in documents.iter().zip('a'..) {
        type_in(document, std::iter::repeat_n(letter, 10)).await;
    }
    let equal = async {
        let whole = |document: &Document| document.text().len() == 10 * documents.len();
        while !documents.iter().all(whole) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, equal).await.expect("every replica gets there");
    assert!(documents.iter().all(|document| document.text() == documents[0].text()));
}

/// Checks that a node of other versions is refused with these words, and that nothing changes.
async fn refused(cluster: &mut Cluster, versions: Versions, words: &str) {
    let before = cluster.settled().await;
    let reason = cluster.start_as("stranger", versions).await.expect_err("it does not fit");
    assert!(format!("{reason:#}").contains(words), "{reason:#}");
    let after = cluster.settled().await;
    for what in ["rules", "owned", "waiting", "moving", "unreadable"] {
        assert_eq!(before[what], after[what], "{what}");
    }
    let names = |status: &serde_json::Value| -> Vec<_> {
        let nodes = status["nodes"].as_array().expect("a list");
        nodes.iter().map(|node| (node["node"].clone(), node["placed"].clone())).collect()
    };
    assert_eq!(names(&before), names(&after));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_serve_side_by_side_until_all_are_new() {
    let mut cluster = Cluster::of(&["old"]).await;
    cluster.start_as("new", NEXT).await.expect("it fits");
    let status = cluster.settled().await;
    assert_eq!(status["rules"], RULES.1, "the old one cannot follow newer ones");
    assert_eq!(status["nodes"][0]["speaks"], json!(NEXT.speaks));
    assert_eq!(status["nodes"][1]["rules"], json!(RULES));
    type_everywhere(&cluster, "together").await;

    let speaks = (SPEAKS.1 + 1, SPEAKS.1 + 1);
    let words = format!("node old speaks {} to {}: upgrade", SPEAKS.0, SPEAKS.1);
    refused(&mut cluster, Versions { speaks, ..NEXT }, &words).await;
    let rules = (RULES.1 + 1, RULES.1 + 1);
    let words = format!("start a version of the program that can follow {}", RULES.1);
    refused(&mut cluster, Versions { rules, ..NEXT }, &words).await;
    let rules = (RULES.0 - 1, RULES.0 - 1);
    refused(&mut cluster, Versions { rules, ..NEXT }, &words).await;

    let old = cluster.nodes.remove(0);
    old.stop().await.expect("everything is saved");
    cluster.start_as("old", NEXT).await.expect("it fits");
    let status = cluster.settled().await;
    assert_eq!(status["rules"], RULES.1 + 1, "all can follow them now");
    type_everywhere(&cluster, "afterwards").await;
    let words = format!("can follow {}", RULES.1 + 1);
    refused(&mut cluster, Versions::default(), &words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_told_of_records_that_cannot_be_read() {
    let cluster = Cluster::of(&["a"]).await;
    let garbage = b"no record".as_slice().into();
    cluster.control.append(ShardId(0), garbage).await.expect("it is written");
    cluster.until(0, |status| status["unreadable"] == 1).await;
    let table = cluster.done(0, &["status"]).await;
    assert!(table.contains("unreadable 1 control records"), "{table}");
    reaches(&cluster.nodes[0], "quire_cluster_control_unreadable_total", 1).await;
}
