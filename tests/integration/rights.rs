//! Who may do what with a document, and what becomes of those who may not any more: over real
//! sockets of two nodes, and of a document by itself.

use std::time::Duration;

use quire::access::{Access, AccessChange, Asker, Denied, Right, Rights, Subject, Visibility};
use quire::config::Config;
use quire::doc::{self, Closed, EventKind, Failure, Handle, Mode, Refusal, Write};
use quire::node::Node;
use quire::types::{Author, DocId, Revision, SessionId};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::doors::{SECRET, hour};
use crate::inner::{PATIENCE, Under, id, join_as, router, write};
use crate::operators::Cluster;
use crate::raw::{Raw, hello};

fn known(name: &str) -> Asker {
    Asker { subject: name.parse().ok(), granted: Rights::NONE }
}

fn subject(name: &str) -> Subject {
    name.parse().expect("a subject")
}

async fn change(handle: &Handle, asker: Asker, change: AccessChange) -> Result<Revision, Failure> {
    let kind = EventKind::AccessChanged(change);
    let write = Write::Event { author: Author::anonymous(), kind };
    handle.write(SessionId(rand::random()), asker, write).await
}

/// Two nodes that take tokens, and a document of which one of them is the owner.
pub(crate) struct Guarded {
    pub(crate) cluster: Cluster,
    doc: DocId,
    owner: usize,
    _folder: tempfile::TempDir,
}

impl Guarded {
    pub(crate) async fn start(doc: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, SECRET).expect("it is written");
        let mut config = Config::default();
        config.auth.keys = file.display().to_string();
        config.auth.secret_file = file.display().to_string();
        config.document.presence_interval = Duration::from_millis(20);
        let cluster = Cluster::with(&["a", "b"], config).await;
        let owns = |node: &Node| node.router().elsewhere(&id(doc)).is_none();
        let owner = cluster.nodes.iter().position(owns).expect("one of them owns it");
        Self { cluster, doc: id(doc), owner, _folder: folder }
    }

    /// Opens the document at its owner.
    async fn open(&self) -> Handle {
        let router = self.cluster.nodes[self.owner].router();
        router.open(&self.doc).await.expect("it opens")
    }

    /// Connects somebody to the document's owner, or to the other node.
    async fn come(
        &self,
        at_owner: bool,
        digit: char,
        name: &str,
        patterns: &[(&str, &str)],
    ) -> Raw {
        let node = if at_owner { self.owner } else { 1 - self.owner };
        let bearer = (!name.is_empty()).then(|| format!("Bearer {}", hour(name, patterns)));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", &**bearer)).collect();
        let path = format!("/ws/{}", self.doc);
        let raw = Raw::upgrade_with(&self.cluster.nodes[node], &path, &headers).await;
        let mut raw = raw.expect("it is told inside");
        let user = r##","user":{"name":"x","color":"#0066cc"}"##;
        raw.send(&hello(digit, user)).await;
        raw
    }

    /// Returns how somebody is not taken.
    async fn refused(&self, at_owner: bool, name: &str, patterns: &[(&str, &str)]) -> (Value, u16) {
        let (error, code) = end(&mut self.come(at_owner, 'f', name, patterns).await).await;
        (error["code"].clone(), code)
    }

    async fn olga_does(&self, to: AccessChange) {
        change(&self.open().await, known("olga"), to).await.expect("she is the owner");
    }

    async fn admit(&self, name: &str, rights: &str) {
        let rights = rights.parse().unwrap_or_default();
        self.olga_does(AccessChange::Member(subject(name), rights)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_http_api_judges_who_asks_whichever_node_is_asked() {
    let guarded = Guarded::start("minutes").await;
    write(&guarded.open().await, 0).await;
    let asked = async |node: &Node, bearer: &str| {
        let url = format!("http://{}/v1/docs/minutes", node.address);
        let mut asked = reqwest::Client::new().get(url);
        if !bearer.is_empty() {
            asked = asked.bearer_auth(bearer);
        }
        asked.send().await.expect("it answers").status().as_u16()
    };
    for node in &guarded.cluster.nodes {
        assert_eq!(asked(node, &hour("ada", &[("minutes", "admin")])).await, 200);
        for (name, pattern) in [("", ""), ("eve", "others")] {
            let bearer =
                if name.is_empty() { String::new() } else { hour(name, &[(pattern, "admin")]) };
            assert!(matches!(asked(node, &bearer).await, 401 | 403), "{name:?}");
        }
    }
}

fn op(seq: u64, base: u64, letter: &str) -> String {
    json!({ "t": "op", "seq": seq, "base": base, "op": [letter] }).to_string()
}

/// Waits for the end of a connection, over which pings may come for as long as it lasts.
async fn end(raw: &mut Raw) -> (Value, u16) {
    timeout(PATIENCE, raw.end()).await.expect("it ends")
}

/// Waits until somebody is told that a participant is gone.
async fn gone(raw: &mut Raw, id: &Value) {
    let is_gone = |message: &Value| {
        let list = message["list"].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().any(|row| row["id"] == *id && row["gone"] == true)
    };
    let waiting = async { while !is_gone(&raw.next().await) {} };
    timeout(PATIENCE, waiting).await.expect("it is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_withdrawn_ends_sockets_at_every_node() {
    let guarded = Guarded::start("minutes").await;
    let forbidden = || (json!("forbidden"), 4403);
    let unknown = || (json!("unauthenticated"), 4401);
    for at_owner in [true, false] {
        assert_eq!(guarded.refused(at_owner, "mia", &[]).await, forbidden(), "never used");
        assert_eq!(guarded.refused(at_owner, "", &[]).await, unknown());
    }
    let mut olga = guarded.come(false, '1', "olga", &[("*", "write")]).await;
    assert_eq!(olga.hear("welcome").await["mode"], "edit");
    olga.send(&op(1, 0, "x")).await;
    olga.hear("ack").await;
    for at_owner in [true, false] {
        assert_eq!(guarded.refused(at_owner, "mia", &[]).await, forbidden(), "hers");
        assert_eq!(guarded.refused(at_owner, "", &[]).await, unknown());
    }
    guarded.admit("mia", "write").await;
    for (at_owner, digit, seq, rights) in [(false, '2', 1, "read"), (true, '3', 2, "history")] {
        let mut mia = guarded.come(at_owner, digit, "mia", &[]).await;
        let welcome = mia.hear("welcome").await;
        assert_eq!(welcome["mode"], "edit");
        mia.send(&op(1, seq, "m")).await;
        mia.hear("ack").await;
        // To read is left: the socket stays, and takes no more.
        guarded.admit("mia", rights).await;
        mia.send(&op(2, seq + 1, "n")).await;
        let (error, code) = end(&mut mia).await;
        assert_eq!((&error["code"], &error["seq"], code), (&json!("forbidden"), &json!(2), 4403));
        let mut reader = guarded.come(at_owner, digit, "mia", &[]).await;
        let welcome = reader.hear("welcome").await;
        assert_eq!((&welcome["mode"], &welcome["seq"]), (&json!("view"), &json!(1)));
        reader.send(&op(2, seq + 1, "n")).await;
        assert_eq!(end(&mut reader).await.0["code"], "forbidden");
        let mut reader = guarded.come(at_owner, digit, "mia", &[]).await;
        let you = reader.hear("welcome").await["you"].clone();
        // Nothing is left.
        guarded.admit("mia", "").await;
        let (error, code) = end(&mut reader).await;
        assert_eq!((error["code"].clone(), code), forbidden());
        gone(&mut olga, &you).await;
        assert_eq!(guarded.refused(at_owner, "mia", &[]).await, forbidden());
        guarded.admit("mia", "write").await;
    }
    guarded.olga_does(AccessChange::Visibility(Visibility::Public)).await;
    let mut all = Vec::new();
    for at_owner in [true, false] {
        let mut anybody = guarded.come(at_owner, if at_owner { '4' } else { '5' }, "", &[]).await;
        assert_eq!(anybody.hear("welcome").await["mode"], "view");
        all.push(anybody);
    }
    guarded.olga_does(AccessChange::Visibility(Visibility::Private)).await;
    for mut anybody in all {
        let (error, code) = end(&mut anybody).await;
        assert_eq!((error["code"].clone(), code), unknown());
    }
    let past = guarded.open().await.past(&known("olga"), Right::Read).await.expect("it is hers");
    assert_eq!(past.text_at(past.head()).await, Ok("mmx".to_owned()), "nothing else is applied");
}

#[tokio::test]
async fn a_document_answers_those_who_have_the_right() {
    let router = router(Under::default()).await;
    let handle = router.open(&id("a")).await.expect("it opens");
    let olga = known("olga");
    let writes = Asker { granted: Right::Write.into(), ..olga.clone() };
    let created = Write::Event { author: Author::anonymous(), kind: EventKind::Created };
    handle.write(SessionId([1; 16]), writes, created).await.expect("she may write there");
    write(&handle, 0).await;
    write(&handle, 1).await;
    let member = AccessChange::Member(subject("rita"), Right::Read.into());
    change(&handle, olga.clone(), member.clone()).await.expect("it is hers");
    let denied = |right| Failure::Refused(Refusal::Denied(Denied::Forbidden(right)));
    let unknown = |right| Failure::Refused(Refusal::Denied(Denied::Unknown(right)));
    for right in Right::ALL {
        assert_eq!(handle.past(&known("eve"), right).await.err(), Some(denied(right)));
        assert_eq!(handle.past(&Asker::default(), right).await.err(), Some(unknown(right)));
        assert!(handle.past(&olga, right).await.is_ok());
    }
    let rita = known("rita");
    let past = handle.past(&rita, Right::Read).await.expect("she may read");
    assert_eq!(past.text_at(Revision(2)).await, Ok("xx".to_owned()));
    assert_eq!(past.text_at(Revision(1)).await, Err(denied(Right::History)));
    assert_eq!(handle.past(&rita, Right::History).await.err(), Some(denied(Right::History)));
    assert_eq!(handle.access(&rita).await, Err(denied(Right::Admin)));
    assert_eq!(change(&handle, rita, member.clone()).await, Err(denied(Right::Admin)));
    let mut access = Access::default();
    for change in [&AccessChange::Owner(olga.subject.clone()), &member] {
        access.apply(change).expect("there is room");
    }
    assert_eq!(handle.access(&olga).await, Ok(access.clone()));
    // A checkpoint keeps it, and so does the log.
    handle.save().await.expect("it is saved");
    let public = AccessChange::Visibility(Visibility::Public);
    change(&handle, olga.clone(), public.clone()).await.expect("it is hers");
    access.apply(&public).expect("it needs no room");
    let rebuilt = router.rebuild(&id("a")).await.expect("it is rebuilt");
    assert_eq!(rebuilt.access(), &access);
    router.drain().await;
}

#[tokio::test]
async fn whoever_was_sent_away_is_not_caught_up() {
    let hour = Duration::from_secs(3_600);
    let config = doc::Config { viewer_tick: hour, ..doc::Config::default() };
    let router = router(Under { config, ..Under::default() }).await;
    let handle = router.open(&id("a")).await.expect("it opens");
    write(&handle, 0).await;
    let anything = Asker::anything;
    change(&handle, anything(), AccessChange::Visibility(Visibility::Public)).await.expect("done");
    let (welcome, told) = join_as(&handle, Asker::default(), Mode::Edit).await;
    let welcome = welcome.expect("all may read");
    assert_eq!(welcome.mode, Mode::View);
    let private = AccessChange::Visibility(Visibility::Private);
    change(&handle, anything(), private).await.expect("done");
    assert_eq!(told.closed().await, Refusal::Denied(Denied::Unknown(Right::Read)));
    write(&handle, 1).await;
    assert_eq!(handle.missed(welcome.conn, Revision(1)).await, Err(Closed));
    let (again, _) = join_as(&handle, Asker::default(), Mode::View).await;
    assert_eq!(again.err(), Some(Refusal::Denied(Denied::Unknown(Right::Read))));
    router.drain().await;
}
