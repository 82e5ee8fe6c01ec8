//! The Rust client, and the commands that are clients, against a node over TLS that takes tokens.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use quire::client::{Credentials, Document, Error, Options, Status, Tls, Token};
use quire::node::Node;
use quire::wire::{Codec, Mode};
use tokio::time::timeout;

use crate::certificates::{Authority, Folder};
use crate::client::{append, durable, reach};
use crate::doors::{guarded, hour, token};
use crate::inner::PATIENCE;
use crate::proxy::{Line, Proxy};
use crate::server::QUIRE;

/// A node over TLS with keys, and files for those who want to come in.
struct Site {
    node: Node,
    folder: Folder,
    _keys: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        let ca = Authority::new("clients");
        let folder = Folder::new(&ca.issue(&["127.0.0.1"]), &ca.pem);
        let keys = tempfile::tempdir().expect("a folder");
        let node = guarded(keys.path(), |config| {
            config.edge.tls_certificate_file = folder.path("node.pem");
            config.edge.tls_key_file = folder.path("node.key");
        })
        .await;
        Self { node, folder, _keys: keys }
    }

    fn url(&self) -> String {
        format!("https://{}", self.node.address)
    }

    /// Writes a token into its file, as a whole, and returns where it is.
    fn renew(&self, token: &str) -> PathBuf {
        self.folder.write("token.new", &format!("{token}\n"));
        let path = self.folder.path("token");
        std::fs::rename(self.folder.path("token.new"), &path).expect("it is there");
        path
    }

    fn tls(&self) -> Tls {
        Tls::trusting(&self.folder.path("ca.pem")).expect("a CA")
    }

    fn options(&self, token: Option<Token>) -> Options {
        Options { credentials: Credentials { token, tls: self.tls() }, ..Options::new(&self.url()) }
    }

    /// Runs a command of the binary that is a client.
    fn quire(&self, args: &[&str], more: &[&str], variables: &[(&str, &str)]) -> Output {
        Command::new(QUIRE)
            .args(args)
            .args(["--url", &self.url()])
            .args(more)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs")
    }
}

fn open(options: Options) -> Document {
    Document::open("a".parse().expect("an id"), options)
}

/// Returns why a document is not open.
async fn failed(options: Options) -> Error {
    match reach(&open(options), |status| *status != Status::Offline).await {
        Status::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Waits until a replica shows a text.
async fn show(document: &Document, text: &str) {
    let mut shown = document.subscribe();
    let equal = async {
        while document.text() != text {
            shown.recv().await.expect("the document is open");
        }
    };
    timeout(PATIENCE, equal).await.expect("it shows the text");
}

#[tokio::test]
async fn a_client_comes_in_over_tls_with_its_token() {
    let site = Site::new().await;
    let file = site.renew(&hour("anna", &[("a", "write,read")]));
    let anna = open(site.options(Some(Token::File(file))));
    append(&anna, "text");
    durable(&anna).await;
    let fixed = Token::Fixed(hour("anna", &[("a", "read")]).into());
    let urls = vec![site.url().replace("https", "wss")];
    let options = site.options(Some(fixed));
    let reader = open(Options { urls, codec: Codec::Json, mode: Mode::View, ..options });
    show(&reader, "text").await;
    append(&anna, " and more");
    show(&reader, "text and more").await;
    site.node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_client_without_a_good_token_is_told_why_and_asks_once() {
    let site = Site::new().await;
    let proxy = Proxy::to(site.node.address, Line::Open).await;
    let (other, past) = (hour("eve", &[("b", "write")]), token("eve", &[], Duration::ZERO));
    let cases = [
        (None, 4401, "sign in"),
        (Some((&*past, true)), 4401, "expired"),
        (Some((&*past, false)), 4401, "expired"),
        (Some(("a.b.c", false)), 4401, "no JWT"),
        (Some((&*other, false)), 4403, "ask the document's owner"),
    ];
    for (asked, (token, close_code, why)) in (1..).zip(cases) {
        let token = token.map(|(token, fixed)| match fixed {
            true => Token::Fixed(token.into()),
            false => Token::File(site.renew(token)),
        });
        let shown = format!("{:?}", site.options(token.clone()));
        let urls = vec![proxy.url.replace("http", "https")];
        let error = failed(Options { urls, ..site.options(token) }).await;
        let refused = matches!(&error, Error::Refused { close_code: told, reason }
            if *told == close_code && reason.contains(why));
        assert!(refused, "{error}");
        for told in [shown, format!("{error:?} {error}")] {
            assert!(!told.contains(&past[20..]) && !told.contains(&other[20..]), "{told}");
        }
        proxy.wait(|calls| calls.ended == asked && calls.begun == asked).await;
    }
    let missing = Some(Token::File(site.folder.path("nowhere")));
    let error = failed(site.options(missing)).await;
    assert!(matches!(&error, Error::Token { detail } if detail.contains("nowhere")), "{error}");
    site.node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_the_right_one_is_shown_nothing() {
    let site = Site::new().await;
    let file = Some(Token::File(site.renew(&hour("anna", &[("a", "write")]))));
    let right = site.options(file);
    let strange = site.folder.path("strange.pem");
    site.folder.write("strange.pem", &Authority::new("strangers").pem);
    let strange = Tls::trusting(&strange).expect("a CA");
    let by_name = vec![site.url().replace("127.0.0.1", "localhost")];
    for (tls, urls, why) in [
        (strange, right.urls.clone(), "name the CA"),
        (site.tls(), by_name, "use a name"),
        // The system knows nothing of a CA of this test, if it knows any.
        (Tls::default(), right.urls.clone(), "CA"),
    ] {
        let credentials = Credentials { tls, ..right.credentials.clone() };
        let error = failed(Options { credentials, urls, ..right.clone() }).await;
        let told = matches!(&error, Error::Certificate { detail } if detail.contains(why));
        assert!(told, "{error}");
    }
    assert_eq!(open(right).text(), "", "nothing was written");
    site.node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_token_that_expires_while_somebody_types_is_renewed_and_nothing_is_lost() {
    let site = Site::new().await;
    let rights = [("a", "write")];
    let file = site.renew(&token("anna", &rights, Duration::from_secs(2)));
    let anna = open(site.options(Some(Token::File(file))));
    append(&anna, ".");
    durable(&anna).await;
    // So that there is a batch under way when it ends.
    let mut status = anna.status();
    let mut keys = 1;
    while *status.borrow_and_update() == Status::Online {
        append(&anna, "x");
        keys += 1;
        // Only a pause between two keys.
        let _ = timeout(Duration::from_millis(5), status.changed()).await;
    }
    append(&anna, "!");
    assert_eq!(*anna.status().borrow(), Status::Offline, "it waits for another token");
    site.renew(&hour("anna", &rights));
    durable(&anna).await;
    reach(&anna, |status| *status == Status::Online).await;
    let text = format!(".{}!", "x".repeat(keys - 1));
    assert_eq!(anna.text(), text);
    // Another one, who reads it from the node.
    let bob = Token::Fixed(hour("bob", &[("a", "read")]).into());
    show(&open(Options { mode: Mode::View, ..site.options(Some(bob)) }), &text).await;
    site.node.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_are_clients_show_a_token_from_a_file() {
    let site = Site::new().await;
    let anna = hour("anna", &[("a", "read,write,history"), ("load-**", "read,write")]);
    let (file, ca) = (site.renew(&anna), site.folder.path("ca.pem"));
    let (file, ca) = (file.to_str().expect("text"), ca.to_str().expect("text"));
    let both = ["--token-file", file, "--ca-file", ca];
    site.folder.write("text", "hello");
    let text = site.folder.path("text");
    let done = |output: Output| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        String::from_utf8(output.stdout).expect("text")
    };
    done(site.quire(&["doc", "import", "a", text.to_str().expect("text")], &both, &[]));
    assert_eq!(done(site.quire(&["doc", "cat", "a"], &both, &[])), "hello");
    let variables = [("QUIRE_TOKEN_FILE", file), ("QUIRE_CA_FILE", ca)];
    assert_eq!(done(site.quire(&["doc", "cat", "a"], &[], &variables)), "hello");
    let typing = ["load", "--profile", "typing", "--clients", "2", "--seconds", "1"];
    done(site.quire(&typing, &both, &[]));
    let trace = "tests/fixtures/traces/two-writers.json";
    done(site.quire(&["load", "--trace", trace], &both, &[]));

    let refused = |args: &[&str], more: &[&str], why: &[&str]| {
        let output = site.quire(args, more, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        for why in why {
            assert!(stderr.contains(why), "{stderr}");
        }
        assert!(!stderr.contains(&anna), "{stderr}");
    };
    let cat = ["doc", "cat", "a"];
    refused(&cat, &["--ca-file", ca], &["sign in", "--token-file"]);
    refused(&typing, &["--ca-file", ca], &["4401", "--token-file"]);
    refused(&cat, &["--token-file", file], &["CA"]);
    refused(&cat, &["--token-file", ca, "--ca-file", ca], &["not one token"]);
    refused(&cat, &["--token-file", &anna, "--ca-file", ca], &["write it into a file"]);
    refused(&cat, &["--token-file", "/nowhere", "--ca-file", ca], &["/nowhere could not be read"]);
    refused(&cat, &["--token-file", file, "--ca-file", file], &["no usable CA"]);
    refused(&["doc", "history", "b"], &both, &["ask the document's owner"]);
    site.node.stop().await.expect("it stops");
}
