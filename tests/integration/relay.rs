//! Documents of other nodes: clients of any node see the same protocol.

use std::sync::Arc;
use std::time::Duration;

use quire::client::{Document, Options, Status};
use quire::doc::{Join, Refusal};
use quire::relay;
use quire::shard::{PeerError, Peers};
use quire::text::Operation;
use quire::types::{Offset, SessionId, ShardId};
use quire::wire::Codec;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::inner::{PATIENCE, Told, id};
use crate::moves::type_in;
use crate::nodes::{Nodes, Settings, name};
use crate::protocol::all_are_told;
use crate::proxy::{Line, Proxy};
use crate::raw::{Raw, hello};

const EDITS: usize = 40;

fn open(nodes: &Nodes, node: usize, codec: Codec) -> Document {
    Document::open(id("shared"), Options { codec, ..Options::new(&nodes.url(node)) })
}

async fn online(document: &Document) {
    let mut status = document.status();
    let online = status.wait_for(|status| *status == Status::Online);
    timeout(PATIENCE, online).await.expect("it connects").expect("it is open");
}

/// Waits until what is counted says so.
pub(crate) async fn until(reached: impl Fn() -> bool) {
    let looking = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, looking).await.expect("it is reached");
}

async fn write(document: &Document, letter: char, edits: usize) {
    type_in(document, std::iter::repeat_n(letter, edits)).await;
}

/// Waits until every replica is equal and returns the text.
async fn agree(documents: &[Document]) -> String {
    let text = documents[0].text();
    for document in documents {
        let mut shown = document.subscribe();
        let equal = async {
            while document.text().chars().count() < text.chars().count() {
                shown.recv().await.expect("it is open");
            }
        };
        timeout(PATIENCE, equal).await.expect("every replica gets there");
    }
    let text = documents.iter().map(Document::text).max_by_key(String::len).expect("some");
    for document in documents {
        let mut shown = document.subscribe();
        let equal = async {
            while document.text() != text {
                shown.recv().await.expect("it is open");
            }
        };
        timeout(PATIENCE, equal).await.expect("every replica gets there");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_different_nodes_type_into_one_document() {
    let nodes = Nodes::start(2, Settings::default()).await;
    let documents: Vec<_> = (0..6)
        .map(|n| open(&nodes, n % 3, if n < 3 { Codec::Json } else { Codec::Binary }))
        .collect();
    for document in &documents {
        online(document).await;
    }
    let all = documents.iter().zip('a'..).map(|(document, letter)| write(document, letter, EDITS));
    timeout(PATIENCE, futures_util::future::join_all(all)).await.expect("all is durable");
    let text = agree(&documents).await;
    assert_eq!(text.chars().count(), documents.len() * EDITS, "every edit is there once");
    for letter in ('a'..).take(documents.len()) {
        assert_eq!(text.chars().filter(|one| *one == letter).count(), EDITS, "{letter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_tells_each_node_once_however_many_clients_are_behind_it() {
    let nodes = Nodes::start(2, Settings::default()).await;
    let documents: Vec<_> = (0..12).map(|n| open(&nodes, n % 2 + 1, Codec::Binary)).collect();
    for document in &documents {
        online(document).await;
    }
    write(&documents[0], 'a', EDITS).await;
    agree(&documents).await;
    let owner = &nodes.all[0].relay;
    assert_eq!(owner.subscriptions.get(), 2, "one for each node");
    let (encoded, updates) = (owner.encoded.get(), owner.updates.get());
    assert!((1..=EDITS as u64).contains(&encoded), "{encoded} encodings of {EDITS} edits");
    assert_eq!(updates, 2 * encoded, "each update is sent once to each node");
    for node in &nodes.all[1..] {
        assert_eq!((node.relay.copies.get(), node.relay.links_out.get()), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_has_sent_over_a_link_the_other_has_received() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let document = open(&nodes, 1, Codec::Binary);
    online(&document).await;
    write(&document, 'a', EDITS).await;
    let [owner, other] = &nodes.all[..] else { panic!("there are two") };
    let edits = EDITS as u64;
    let counted = |from: &relay::Metrics, to: &relay::Metrics| {
        from.sent.get() > edits && from.sent.get() == to.received.get()
    };
    until(|| counted(&owner.relay, &other.relay) && counted(&other.relay, &owner.relay)).await;
}

#[tokio::test]
async fn a_client_of_any_node_is_told_what_a_client_of_the_owner_is() {
    let nodes = Nodes::start(2, Settings::default()).await;
    let (here, there) = (&nodes.all[1], &nodes.all[2]);
    let mut writer = all_are_told(here, there).await;
    // A batch that came long ago is acknowledged again.
    writer.send(r#"{"t":"op","seq":3,"base":2,"op":[{"d":1}]}"#).await;
    assert_eq!(writer.hear("ack").await["rev"], 3);
}

#[tokio::test]
async fn a_session_that_goes_to_another_node_takes_over_and_resumes() {
    let nodes = Nodes::start(2, Settings::default()).await;
    let (here, there) = (&nodes.all[1], &nodes.all[2]);
    let (mut old, _) = Raw::join(here, "a", '1', "").await;
    old.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    old.hear("ack").await;
    for node in [there, &nodes.all[0], here] {
        let (mut new, welcome) = Raw::join(node, "a", '1', r#","rev":0"#).await;
        let (error, code) = old.end().await;
        assert_eq!((error["code"].as_str(), code), (Some("replaced"), 4410));
        assert_eq!((&welcome["seq"], &welcome["head"]), (&json!(1), &json!(1)));
        assert_eq!((&welcome["ops"][0]["own"], &welcome["text"]), (&json!(1), &Value::Null));
        new.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
        assert_eq!(new.hear("ack").await["rev"], 1, "acknowledged again");
        old = new;
    }
    old.send(r#"{"t":"op","seq":2,"base":1,"op":[1,"y"]}"#).await;
    assert_eq!(old.hear("ack").await["rev"], 2, "and not applied again");
    let (_, welcome) = Raw::join(there, "a", '2', "").await;
    assert_eq!((&welcome["text"], &welcome["rev"]), (&json!("xy"), &json!(2)));
}

#[tokio::test]
async fn what_is_refused_at_the_owner_is_refused_alike_at_any_node() {
    let mut settings = Settings::default();
    settings.doc.doc_chars_max = 10;
    let nodes = Nodes::start(1, settings).await;
    let said = [
        r#"{"t":"op","seq":1,"base":1,"op":[4,"x"]}"#,
        r#"{"t":"op","seq":1,"base":2,"op":["x"]}"#,
        r#"{"t":"op","seq":1,"base":1,"op":["eleven char"]}"#,
        r#"{"t":"op","seq":5,"base":1,"op":["x"]}"#,
        r#"{"t":"sing"}"#,
    ];
    let mut told = Vec::new();
    for (number, node) in nodes.all.iter().enumerate() {
        let doc = format!("doc-{number}");
        let (mut first, _) = Raw::join(node, &doc, '1', "").await;
        first.send(r#"{"t":"op","seq":1,"base":0,"op":["abc"]}"#).await;
        first.hear("ack").await;
        let mut ends = Vec::new();
        for bad in said {
            let (mut raw, _) = Raw::join(node, &doc, '2', "").await;
            raw.send(bad).await;
            ends.push(raw.end().await);
        }
        let mut never = Raw::say(node, "never", &hello('3', r#","mode":"view""#)).await;
        ends.push(never.end().await);
        let gone = reqwest::Client::new()
            .delete(format!("http://{}/v1/docs/{doc}", node.address))
            .send()
            .await;
        assert_eq!(gone.expect("it answers").status().as_u16(), 200);
        ends.push(first.end().await);
        ends.push(Raw::say(node, &doc, &hello('4', "")).await.end().await);
        told.push(ends);
    }
    assert_eq!(told[0], told[1]);
    let codes: Vec<_> = told[1].iter().map(|(_, code)| *code).collect();
    assert_eq!(codes, [4400, 4400, 4413, 4409, 4400, 4404, 4404, 4404]);
}

#[tokio::test]
async fn presence_reaches_the_clients_of_other_nodes() {
    let mut settings = Settings::default();
    settings.doc.presence_interval = Duration::from_millis(20);
    let nodes = Nodes::start(2, settings).await;
    let user = r##","user":{"name":"Ada","color":"#0066cc"}"##;
    let (mut ada, welcome) = Raw::join(&nodes.all[1], "a", '1', user).await;
    ada.send(r#"{"t":"op","seq":1,"base":0,"op":["hello"]}"#).await;
    ada.hear("ack").await;
    ada.send(r#"{"t":"cursor","rev":1,"sel":[1,4]}"#).await;
    let id = &welcome["you"];
    let row = |message: &Value| {
        let list = message["list"].as_array().expect("a list").clone();
        list.into_iter().find(|row| row["id"] == *id).unwrap_or_default()
    };
    let (mut bob, _) = Raw::join(&nodes.all[2], "a", '2', "").await;
    loop {
        let row = row(&bob.hear("presence").await);
        if row["sel"] == json!([1, 4]) {
            assert_eq!(row["user"]["name"], "Ada");
            break;
        }
    }
    bob.send(r#"{"t":"op","seq":1,"base":1,"op":["12"]}"#).await;
    bob.hear("ack").await;
    let (mut late, _) = Raw::join(&nodes.all[2], "a", '3', "").await;
    let all = late.hear("presence").await;
    assert_eq!(row(&all)["sel"], json!([3, 6]), "the caret moved with the text: {all}");
    drop(ada);
    loop {
        let message = late.hear("presence").await;
        if row(&message)["gone"] == true {
            assert_eq!(message["n"], 2);
            break;
        }
    }
}

#[tokio::test]
async fn a_client_resumes_at_a_copy_or_gets_the_text() {
    let mut settings = Settings::default();
    settings.doc.window_revisions = 3;
    let nodes = Nodes::start(1, settings).await;
    let node = &nodes.all[1];
    let (mut writer, _) = Raw::join(node, "a", '1', "").await;
    for n in 0..6 {
        let op = format!(r#"{{"t":"op","seq":{},"base":{n},"op":["x"]}}"#, n + 1);
        writer.send(&op).await;
        writer.hear("ack").await;
    }
    let (_, welcome) = Raw::join(node, "a", '2', r#","rev":4"#).await;
    assert_eq!((&welcome["rev"], &welcome["head"]), (&json!(4), &json!(6)));
    assert_eq!(welcome["ops"].as_array().map(Vec::len), Some(2));
    for gone in [r#","rev":1"#, r#","rev":99"#] {
        let (_, welcome) = Raw::join(node, "a", '3', gone).await;
        assert_eq!(welcome["text"], "xxxxxx", "{gone}");
    }
    let (mut late, _) = Raw::join(node, "a", '4', "").await;
    late.send(r#"{"t":"op","seq":1,"base":1,"op":[1,"L"]}"#).await;
    let ack = late.hear("ack").await;
    assert_eq!((&ack["rev"], &ack["op"]), (&json!(7), &json!([6, "L"])));
}

#[tokio::test]
async fn requests_are_answered_by_the_owner_wherever_they_come_in() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let client = reqwest::Client::new();
    let (owner, other) = (nodes.url(0), nodes.url(1));
    let put =
        client.put(format!("{other}/v1/docs/a")).json(&json!({"text": "né", "author": "Ada"}));
    assert_eq!(put.send().await.expect("it answers").text().await.expect("text"), r#"{"rev":1}"#);
    for target in [
        "/v1/docs/a",
        "/v1/docs/a?rev=0",
        "/v1/docs/a?rev=9",
        "/v1/docs/a?rev=x",
        "/v1/docs/a/history?from=1&limit=5",
        "/v1/docs/a/blame",
        "/v1/docs/a/diff?from=0",
        "/v1/docs/a/verify",
        "/v1/docs/never",
    ] {
        let get = async |url: &str| {
            let answer = client.get(format!("{url}{target}")).send().await.expect("it answers");
            let header = |name| answer.headers().get(name).cloned();
            let (kind, cache) = (header("content-type"), header("cache-control"));
            (answer.status(), kind, cache, answer.text().await.expect("text"))
        };
        let (status, kind, _, text) = get(&owner).await;
        let carried = get(&other).await;
        assert_eq!((carried.0, carried.1, &carried.3), (status, kind, &text), "{target}");
        assert_eq!(carried.2.expect("it is told"), "private, no-store");
    }
    assert_eq!(nodes.all[1].relay.carried.get(), 10);
    let foreign = client.get(format!("{other}/v1/docs/a")).header("origin", "http://evil.example");
    assert_eq!(foreign.send().await.expect("it answers").status().as_u16(), 403);
    *nodes.owner_at.lock() = None;
    nodes.all[1].peers.give_up(&name(0));
    let gone = timeout(PATIENCE, async {
        loop {
            let asked = client.get(format!("{other}/v1/docs/a")).send().await.expect("it answers");
            if asked.status().as_u16() == 503 {
                return asked;
            }
        }
    });
    let gone = gone.await.expect("the link is given up");
    assert_eq!(gone.headers()["retry-after"], "1");
    let detail = gone.text().await.expect("text");
    assert!(detail.contains("the document's owner does not answer"), "{detail}");
}

#[tokio::test]
async fn a_node_hands_shards_over_by_the_same_link() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let (owner, other) = (&nodes.all[0], &nodes.all[1]);
    other.peers.warm(&name(0), ShardId(0)).await.expect("it warms up");
    other.peers.released(&name(0), ShardId(0), Offset(7)).await.expect("it claims");
    let refused = other.peers.warm(&name(0), ShardId(1)).await;
    assert_eq!(refused, Err(PeerError::Refused("é".repeat(64))), "128 bytes of the reason");
    let of = |shard, offset| (name(1), ShardId(shard), offset);
    let asked = [of(0, None), of(0, Some(Offset(7))), of(1, None)];
    assert_eq!(*owner.heirs.asked.lock(), asked);
    *nodes.owner_at.lock() = None;
    owner.peers.give_up(&name(9));
    let never = owner.peers.warm(&name(9), ShardId(0)).await;
    assert_eq!(never, Err(PeerError::Gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_cut_again_and_again_sends_nobody_away() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let proxy = Proxy::to(nodes.all[0].peer, Line::Open).await;
    *nodes.owner_at.lock() = Some(proxy.address().to_owned());
    let documents: Vec<_> = (0..4).map(|n| open(&nodes, n % 2, Codec::Binary)).collect();
    for document in &documents {
        online(document).await;
    }
    let mut statuses: Vec<_> = documents.iter().map(Document::status).collect();
    statuses.iter_mut().for_each(|status| drop(status.borrow_and_update()));
    let all = documents.iter().zip('a'..).map(|(one, letter)| write(one, letter, 5 * EDITS));
    let writing = futures_util::future::join_all(all);
    let cutting = async {
        let resumed = nodes.all[1].relay.subscribed.with_label_values(&["changes"]);
        for cuts in 1..=8 {
            proxy.cut().await;
            // The next link is used before it is cut, too.
            until(|| resumed.get() >= cuts).await;
        }
    };
    let both = async { tokio::join!(writing, cutting) };
    timeout(PATIENCE, both).await.expect("all is durable");
    let text = agree(&documents).await;
    assert_eq!(text.chars().count(), documents.len() * 5 * EDITS, "nothing is lost or doubled");
    let never = statuses.iter().all(|status| !status.has_changed().expect("it is open"));
    assert!(never, "nobody was sent away");
    for node in &nodes.all {
        assert_eq!(node.edge.waiting.oldest(), None, "every batch is known to have been taken");
    }
    let metrics = &nodes.all[1].relay;
    assert!(metrics.lost.get() >= 8, "{} links lost", metrics.lost.get());
    assert_eq!(metrics.subscribed.with_label_values(&["text"]).get(), 1, "once, at the beginning");
    assert_eq!(metrics.broken.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_is_deaf_is_given_up_and_clients_go_on_when_it_hears() {
    let mut settings = Settings::default();
    settings.relay.silence_max = Duration::from_millis(300);
    let nodes = Nodes::start(1, settings).await;
    let proxy = Proxy::to(nodes.all[0].peer, Line::Open).await;
    *nodes.owner_at.lock() = Some(proxy.address().to_owned());
    let document = open(&nodes, 1, Codec::Json);
    online(&document).await;
    write(&document, 'a', 3).await;
    proxy.set(Line::Deaf);
    document.edit(&Operation::builder().insert("b").build()).expect("it fits");
    timeout(PATIENCE, proxy.wait(|calls| calls.ended >= 1)).await.expect("it is given up");
    proxy.set(Line::Open);
    timeout(PATIENCE, document.wait_durable()).await.expect("it goes on").expect("it is taken");
    assert_eq!(document.text(), "baaa");
}

#[tokio::test]
async fn a_copy_that_nobody_uses_is_dropped() {
    let mut settings = Settings::default();
    settings.relay.copy_idle = Duration::from_millis(100);
    let nodes = Nodes::start(1, settings).await;
    let (raw, _) = Raw::join(&nodes.all[1], "a", '1', "").await;
    let (copies, subscriptions) = (&nodes.all[1].relay.copies, &nodes.all[0].relay.subscriptions);
    assert_eq!((copies.get(), subscriptions.get()), (1, 1));
    drop(raw);
    until(|| copies.get() + subscriptions.get() == 0).await;
    let (_, welcome) = Raw::join(&nodes.all[1], "a", '1', "").await;
    assert_eq!(welcome["head"], 0);
}

#[tokio::test]
async fn a_copy_without_clients_does_not_keep_its_document_open_and_goes_on_where_it_was() {
    let mut settings = Settings::default();
    settings.doc.idle_after = Duration::from_millis(50);
    let nodes = Nodes::start(1, settings).await;
    let (owner, node) = (&nodes.all[0].relay, &nodes.all[1]);
    let (mut raw, _) = Raw::join(node, "a", '1', "").await;
    raw.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    raw.hear("ack").await;
    drop(raw);
    until(|| owner.subscriptions.get() == 0).await;
    assert_eq!(node.relay.copies.get(), 1, "text and window are kept");
    let (_, welcome) = Raw::join(node, "a", '2', "").await;
    assert_eq!(welcome["text"], "x");
    let begun = |content| node.relay.subscribed.with_label_values(&[content]).get();
    assert_eq!((begun("text"), begun("changes")), (1, 1));
}

#[tokio::test]
async fn a_try_to_reach_a_node_ends_when_that_is_gone() {
    let patient = relay::Config { hello_timeout: PATIENCE * 10, ..relay::Config::default() };
    let nodes = Nodes::start(1, Settings { relay: patient, ..Settings::default() }).await;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    *nodes.owner_at.lock() = Some(address.to_string());
    let peers = &nodes.all[1].peers;
    let (gone, shard) = (name(0), ShardId(0));
    let asking = futures_util::future::join(peers.warm(&gone, shard), peers.warm(&gone, shard));
    let ending = async {
        let dialled = timeout(PATIENCE, silent.accept()).await.expect("it is dialled");
        *nodes.owner_at.lock() = None;
        peers.give_up(&gone);
        dialled.expect("a connection")
    };
    let both = timeout(PATIENCE, futures_util::future::join(asking, ending)).await;
    let ((one, other), _) = both.expect("nobody waits for it any more");
    assert_eq!((one, other), (Err(PeerError::Gone), Err(PeerError::Gone)));
    // It is reached again where it comes back.
    *nodes.owner_at.lock() = Some(nodes.all[0].peer.to_string());
    let reached = async {
        while peers.warm(&gone, shard).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("it is reached again");
}

#[tokio::test]
async fn links_of_a_node_that_is_down_are_ended_and_not_taken_until_it_is_up() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let (owner, node) = (&nodes.all[0], &nodes.all[1]);
    let (owned, doc) = (name(0), id("a"));
    let enter = async || {
        let join = || Join::new(SessionId([7; 16]), Arc::new(Told::default()));
        let entered = timeout(PATIENCE, node.peers.join(&owned, &doc, join)).await;
        entered.expect("in time").map(drop)
    };
    assert_eq!(enter().await, Ok(()));
    // Of its runs, this is the other one.
    owner.down.send_replace([(name(1), 9)].into());
    assert_eq!((enter().await, owner.relay.links_in.get()), (Ok(()), 1));
    owner.down.send_replace([(name(1), 1)].into());
    until(|| owner.relay.links_in.get() == 0 && node.relay.links_out.get() == 0).await;
    assert_eq!(enter().await, Err(Refusal::Moved));
    let refused = |reason| owner.relay.refused.with_label_values(&[reason]).get();
    until(|| refused("down") > 0).await;
    assert_eq!(owner.relay.links_in.get(), 0);
    owner.down.send_replace([].into());
    let entering = async {
        while enter().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, entering).await.expect("it is taken again");
}
