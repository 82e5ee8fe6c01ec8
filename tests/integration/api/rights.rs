//! Who may do what over HTTP, as tokens and documents say it.

use quire::node::Node;
use serde_json::{Value, json};

use crate::api::{Api, Told};
use crate::doors::{guarded, hour};
use crate::rights::Guarded;

/// Asks a node with a token.
struct Who {
    api: Api,
    token: String,
}

impl Who {
    fn with(node: &Node, subject: &str, rights: &[(&str, &str)]) -> Self {
        Self { api: Api::of(node), token: format!("Bearer {}", hour(subject, rights)) }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Told {
        self.api.json(method, path, &[("authorization", &self.token)], body).await
    }

    async fn get(&self, path: &str) -> Told {
        self.api.send("GET", path, &[("authorization", &self.token)], "").await
    }
}

#[tokio::test]
async fn a_document_says_who_may_do_what_and_who_asks_is_held_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let olga = Who::with(&node, "olga", &[("a", "write")]);
    let (mia, nobody) = (Who::with(&node, "mia", &[]), Api::of(&node));
    let (doc, ops, rights) = ("/v1/docs/a", "/v1/docs/a/ops", "/v1/docs/a/rights");
    mia.ask("POST", doc, json!({})).await.problem(403, "forbidden");
    nobody.send("POST", doc, &[], "").await.problem(401, "unauthenticated");
    olga.ask("POST", doc, json!({"text": "abc", "author": "somebody else"})).await.is(201);
    // Who creates a document owns it.
    let told = olga.get(rights).await.is(200).value();
    assert_eq!(told, json!({"owner": "olga", "public": false, "members": {}}));
    let history = olga.get("/v1/docs/a/history").await.is(200).value();
    assert_eq!(history["revisions"][0]["author"], "olga", "the token says who writes");
    let op = |base: u64| json!({"base": base, "op": ["x"]});
    for (method, path, body) in [
        ("GET", doc, Value::Null),
        ("GET", rights, Value::Null),
        ("POST", ops, op(1)),
        ("PUT", doc, json!({"text": "x"})),
        ("DELETE", doc, json!({})),
        ("GET", "/v1/docs/a/verify", Value::Null),
        ("PUT", rights, json!({"owner": "mia", "public": true, "members": {}})),
    ] {
        mia.ask(method, path, body).await.problem(403, "forbidden");
        let told = nobody.send(method, path, &[("content-type", "application/json")], "").await;
        assert_eq!(told.header("www-authenticate"), "Bearer", "{path}");
        told.problem(401, "unauthenticated");
    }
    let all = json!({"owner": "olga", "public": true,
        "members": {"mia": ["read", "write"], "max": ["read", "write", "history", "admin"]}});
    let wanted = json!({"owner": "olga", "public": true,
        "members": {"mia": ["write"], "max": ["admin"]}});
    assert_eq!(olga.ask("PUT", rights, wanted).await.is(200).value(), all);
    assert_eq!(olga.get(rights).await.is(200).value(), all);
    // All may read the newest text, and only that; a member may write.
    assert_eq!(nobody.text("a").await, "abc");
    nobody.get("/v1/docs/a?rev=0").await.problem(401, "unauthenticated");
    nobody.get("/v1/docs/a/export?format=json").await.problem(401, "unauthenticated");
    nobody.json("POST", ops, &[], op(1)).await.problem(401, "unauthenticated");
    nobody.json("PUT", doc, &[], json!({"text": "x"})).await.problem(401, "unauthenticated");
    mia.ask("POST", ops, op(1)).await.is(200);
    mia.get("/v1/docs/a/history").await.problem(403, "forbidden");
    mia.get(rights).await.problem(403, "forbidden");
    for bad in [
        json!({"owner": "a b", "public": true, "members": {}}),
        json!({"owner": null, "public": true, "members": {"é": []}}),
    ] {
        olga.ask("PUT", rights, bad).await.problem(422, "bad-subject");
    }
    for bad in [
        json!({}),
        json!({"owner": null, "public": true, "members": {"m": ["all"]}}),
        json!({"public": true, "members": {}}),
    ] {
        olga.ask("PUT", rights, bad).await.problem(400, "bad-body");
    }
    olga.ask("PUT", "/v1/docs/b/rights", json!({"owner": null, "public": true, "members": {}}))
        .await
        .problem(403, "forbidden");
    // Handing a document over is the last thing that its owner does.
    let handed = json!({"owner": "max", "public": false, "members": {"mia": ["read"]}});
    olga.ask("PUT", rights, handed.clone()).await.is(200);
    olga.get(rights).await.problem(403, "forbidden");
    let max = Who::with(&node, "max", &[]);
    assert_eq!(max.get(rights).await.is(200).value(), handed);
    mia.ask("POST", ops, op(2)).await.problem(403, "forbidden");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn an_idempotency_key_is_of_whoever_sends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let write = [("a", "write")];
    for (who, rev) in [("anna", 1), ("bob", 2), ("anna", 1), ("bob", 2)] {
        let Who { api, token } = Who::with(&node, who, &write);
        let headers = [("authorization", &*token), ("idempotency-key", "1")];
        let told = api.op("a", &headers, 0, json!(["x"])).await.is(200);
        assert_eq!(told.value(), json!({ "rev": rev }), "{who}");
    }
    node.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_somebody_else_has_changed_are_not_replaced_unseen() {
    let pair = Guarded::start("minutes").await;
    let rights = "/v1/docs/minutes/rights";
    for node in &pair.cluster.nodes {
        let ada = Who::with(node, "ada", &[("minutes", "admin")]);
        ada.ask("PUT", "/v1/docs/minutes", json!({"text": "x"})).await;
        let wanted =
            |member: &str| json!({"owner": "ada", "public": false, "members": {member: ["read"]}});
        let change = async |seen: &str, member: &str| {
            let headers = [("authorization", &*ada.token), ("if-match", seen)];
            ada.api.json("PUT", rights, &headers, wanted(member)).await
        };
        let begun = ada.ask("PUT", rights, wanted("mia")).await.is(200);
        let told = ada.get(rights).await.is(200);
        let seen = told.header("etag").to_owned();
        assert_eq!((begun.header("etag"), begun.value()), (&*seen, told.value()));
        let again = [("authorization", &*ada.token), ("if-none-match", &*seen)];
        let again = ada.api.send("GET", rights, &again, "").await.is(304);
        assert_eq!((again.header("etag"), &*again.text), (&*seen, ""));
        // All at once, with what all of them have seen.
        let all = ["a", "b", "c", "d", "e", "f"].map(|member| change(&seen, member));
        let all = futures_util::future::join_all(all).await;
        let (taken, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.status == 200);
        assert_eq!((taken.len(), refused.len()), (1, 5));
        for told in refused {
            told.problem(412, "precondition-failed");
        }
        let (taken, now) = (&taken[0], ada.get(rights).await.is(200));
        assert_eq!((taken.value(), taken.header("etag")), (now.value(), now.header("etag")));
        // The answer got lost: the same once more is right, and changes nothing.
        let granted = now.value();
        let member = granted["members"].as_object().and_then(|all| all.keys().next());
        let member = member.expect("one of them");
        assert_eq!(change(&seen, member).await.is(200).header("etag"), now.header("etag"));
        for stale in [&*seen, "\"rev-1\"", &format!("W/{}", now.header("etag")), ""] {
            change(stale, "zoe").await.problem(412, "precondition-failed");
        }
        let listed = format!("{seen}, {}", now.header("etag"));
        change(&listed, "mia").await.is(200);
        change("*", "zoe").await.is(200);
        assert_eq!(ada.get(rights).await.value(), wanted("zoe"));
    }
}
