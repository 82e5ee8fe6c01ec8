//! The headers of every route, asked for one by one, and held against docs/HTTP.md.

use std::collections::BTreeMap;

use quire::node::Node;
use reqwest::{Client, Method, Response};

use crate::doors::{Browser, guarded, hour};
use crate::raw;

/// What docs/HTTP.md says of a route.
struct Row {
    methods: Vec<String>,
    path: String,
    caching: String,
    policy: String,
}

/// Reads both tables of docs/HTTP.md.
fn documented() -> Vec<Row> {
    let text = include_str!("../../docs/HTTP.md");
    let cells = |line: &str| -> Vec<String> {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("| ")).map(cells).collect();
    let policies: BTreeMap<_, _> =
        lines.iter().filter(|cells| cells.len() == 2).map(|cells| (&cells[0], &cells[1])).collect();
    let rows = lines.iter().filter(|cells| cells.len() == 4 && cells[1].starts_with('/'));
    rows.map(|cells| Row {
        methods: cells[0].split(", ").map(str::to_owned).collect(),
        path: cells[1].clone(),
        caching: cells[2].clone(),
        policy: policies[&cells[3]].clone(),
    })
    .collect()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

async fn ask(node: &Node, method: &str, path: &str) -> Response {
    ask_with(node, method, path, &[]).await
}

async fn ask_with(node: &Node, method: &str, path: &str, with: &[(&str, &str)]) -> Response {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = Client::new().request(method, format!("http://{}{path}", node.address));
    for (name, value) in with {
        request = request.header(*name, *value);
    }
    request.send().await.expect("it answers")
}

/// Returns the path of an asset whose name ends so.
async fn asset(node: &Node, ending: &str) -> String {
    let page = ask(node, "GET", "/").await.text().await.expect("text");
    let named = page.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(ending));
    named.expect("the page names it").to_owned()
}

/// Looks at what every answer has.
fn check_always(answer: &Response, policy: &str, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("content-security-policy", policy),
        ("strict-transport-security", ""),
    ] {
        assert_eq!(header(answer, name), value, "{what}: {name}");
    }
    let permissions = header(answer, "permissions-policy");
    assert!(permissions.contains("camera=()"), "{what}: {permissions}");
    assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'"), "{what}");
}

/// Prints an answer's head, as `curl -I` does.
fn print(method: &str, path: &str, answer: &Response) {
    println!("{method} {path}\n{:?} {}", answer.version(), answer.status());
    for (name, value) in answer.headers() {
        println!("{name}: {}", value.to_str().unwrap_or("?"));
    }
    println!();
}

#[tokio::test]
async fn every_route_answers_with_the_headers_of_the_table() {
    let node = raw::node(|_| {}).await;
    let put = Client::new().put(format!("http://{}/v1/docs/notes", node.address));
    let put = put.header("content-type", "application/json");
    let put = put.body(r##"{"text":"# Notes"}"##).send().await.expect("it answers");
    assert!(put.status().is_success());
    let asset = asset(&node, ".css").await;
    let rows = documented();
    assert!(rows.len() > 10, "the table was not found");
    for Row { methods, path, caching, policy } in rows {
        let path = path.replace("/assets/{name}", &asset).replace("{doc}", "notes");
        let mut asked = methods.clone();
        if methods.iter().any(|method| method == "GET") && !path.starts_with("/ws/") {
            asked.push("HEAD".to_owned());
        }
        // What deletes the document comes last.
        asked.sort_by_key(|method| method == "DELETE");
        for method in asked.iter().filter(|method| *method != "DELETE") {
            let answer = ask(&node, method, &path).await;
            print(method, &path, &answer);
            let what = format!("{method} {path}");
            check_always(&answer, &policy, &what);
            let status = answer.status();
            let as_it_should_be = status.is_success() || status.as_u16() == 304;
            let expected = match &*caching {
                "by the page" => "public, max-age=25, stale-while-revalidate=5",
                keeping if keeping.ends_with("no-store") || as_it_should_be => keeping,
                _ => "no-store",
            };
            assert_eq!(header(&answer, "cache-control"), expected, "{what}");
        }
        // No other method is answered, and that is kept by nobody.
        let answer = ask(&node, "PROPFIND", &path).await;
        assert_eq!(answer.status().as_u16(), 405, "{path}");
        let mut allowed: Vec<_> = header(&answer, "allow").split(',').collect();
        allowed.retain(|method| *method != "HEAD");
        allowed.sort_unstable();
        assert_eq!(allowed, methods, "{path}");
        check_always(&answer, &policy, &path);
        assert!(header(&answer, "cache-control").ends_with("no-store"), "{path}");
    }
    let answer = ask(&node, "DELETE", "/v1/docs/notes").await;
    assert_eq!(header(&answer, "cache-control"), "private, no-store");
}

/// A page of another site can have a browser send its cookies, and no more.
#[tokio::test]
async fn a_login_alone_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let browser = Browser::sign_in(&node, &hour("anna", &[("*", "admin")])).await;
    let mut tried = 0;
    for Row { methods, path, .. } in documented() {
        let path = path.replace("{doc}", "notes");
        for method in methods.iter().filter(|method| *method != "GET") {
            if (&**method, &*path) == ("POST", "/auth/session") {
                // It takes a token in a header, which no other site has.
                continue;
            }
            let what = format!("{method} {path}");
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = browser.ask(&node, method, &path, &[]).await;
            assert_eq!(answer.status().as_u16(), 403, "{what}");
            let problem: serde_json::Value = answer.json().await.expect("a problem");
            let detail = problem["detail"].as_str().expect("text");
            assert!(detail.starts_with("the CSRF token is missing"), "{what}: {detail}");
            tried += 1;
        }
    }
    assert!(tried >= 10, "{tried} routes change something");
    // With the token beside it, it is who it says.
    let csrf = [browser.csrf_header()];
    let answer = browser.ask(&node, Method::POST, "/auth/ticket", &csrf).await;
    assert_eq!(answer.status().as_u16(), 200);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn what_is_wrong_is_kept_by_nobody() {
    let node = raw::node(|_| {}).await;
    let nothing = "default-src 'none'; frame-ancestors 'none'";
    for (path, with, status) in [
        ("/nowhere", &[][..], 404),
        ("/v1", &[], 404),
        ("/assets/none.js", &[], 404),
        ("/assets/..%2Findex.html", &[], 404),
        ("/d/a%2Fb", &[], 404),
        ("/v1/docs/never", &[], 404),
        ("/v1/docs/a%20b", &[], 404),
        ("/ws/a", &[], 426),
        ("/", &[("origin", "http://elsewhere.example")], 403),
    ] {
        let answer = ask_with(&node, "GET", path, with).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert!(header(&answer, "cache-control").ends_with("no-store"), "{path}");
        assert_eq!(header(&answer, "etag"), "", "{path}");
        let policy = header(&answer, "content-security-policy").to_owned();
        assert!(path == "/" || path.starts_with("/d/") || policy == nothing, "{path}: {policy}");
        check_always(&answer, &policy, path);
    }
}

#[tokio::test]
async fn pages_that_a_client_has_are_not_sent_again() {
    let node = raw::node(|_| {}).await;
    for path in ["/", "/d/notes"] {
        let first = ask(&node, "GET", path).await;
        let tag = header(&first, "etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() > 20, "{path}: {tag}");
        let page = first.bytes().await.expect("a body");
        let again = ask_with(&node, "GET", path, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, &*tag));
        assert_eq!(header(&again, "cache-control"), "no-cache");
        assert_eq!(again.bytes().await.expect("a body").len(), 0);
        let other = ask_with(&node, "GET", path, &[("if-none-match", "\"other\"")]).await;
        assert_eq!(other.status().as_u16(), 200);
        assert_eq!(other.bytes().await.expect("a body"), page);
    }
}

#[tokio::test]
async fn assets_come_in_the_coding_that_the_client_takes() {
    let node = raw::node(|_| {}).await;
    for ending in [".js", ".css", ".svg"] {
        let path = asset(&node, ending).await;
        let get = async |accepted: &str| {
            let answer = ask_with(&node, "GET", &path, &[("accept-encoding", accepted)]).await;
            assert_eq!(answer.status().as_u16(), 200, "{path}");
            let varies = answer.headers().get_all("vary").iter().any(|by| by == "accept-encoding");
            assert!(varies, "{path}");
            let coding = header(&answer, "content-encoding").to_owned();
            let kind = header(&answer, "content-type").to_owned();
            (coding, kind, answer.bytes().await.expect("a body"))
        };
        let (coding, kind, plain) = get("identity").await;
        assert_eq!(coding, "");
        let (coding, same_kind, packed) = get("br;q=0, gzip").await;
        assert_eq!((&*coding, &same_kind), ("gzip", &kind));
        let mut unpacked = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
        std::io::Read::read_to_end(&mut decoder, &mut unpacked).expect("it is gzip");
        assert_eq!(unpacked, plain);
        let (coding, same_kind, packed) = get("gzip, deflate, br").await;
        assert_eq!((&*coding, &same_kind), ("br", &kind));
        assert!(packed.len() < plain.len(), "{path}: {} bytes", packed.len());
        // A coded file has no address of its own.
        let answer = ask(&node, "GET", &format!("{path}.br")).await;
        assert_eq!(answer.status().as_u16(), 404);
    }
}
