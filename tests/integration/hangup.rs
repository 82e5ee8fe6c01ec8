//! The real binary at SIGHUP: it reads its certificate and its keys again, and goes on.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use quire::auth::SigningKey;
use rcgen::date_time_ymd;
use reqwest::Method;
use rustls::version::TLS13;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::certificates::{Authority, Folder, Shown};
use crate::doors::{Browser, SECRET, bearer, closed, enter, guarded_process, knock, signed};
use crate::https::{NAME, der, dial};
use crate::inner::PATIENCE;
use crate::plain::until;
use crate::server::{Server, free_port};

const USED: &str = "a new certificate is used from now on";
const NOT_USED: &str = "a new certificate is not used";

fn hang_up(server: &Server) {
    let pid = server.child.id().to_string();
    let told = Command::new("kill").args(["-HUP", &pid]).status().expect("kill runs");
    assert!(told.success());
}

/// Waits until the server has logged something so often; nobody connects to it meanwhile.
async fn logged(log: &Path, text: &str, times: usize) {
    let seen = || fs::read_to_string(log).expect("it is text").matches(text).count();
    let waiting = async {
        while seen() < times {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{text}: not {times}"));
    assert_eq!(seen(), times, "{text}");
}

#[tokio::test]
async fn a_process_that_is_hung_up_on_shows_its_new_certificate_and_goes_on() {
    let ca = Authority::new("clients");
    let folder = Folder::new(&ca.issue(&[NAME]), &ca.pem);
    let log = folder.path("log");
    let set = [
        format!("edge.tls-certificate-file={}", folder.path("node.pem").display()),
        format!("edge.tls-key-file={}", folder.path("node.key").display()),
        "telemetry.log-format=json".to_owned(),
    ];
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let to = File::create(&log).expect("it is made");
    let server = Server::start_with((&[], to.into()), &folder.path("data"), free_port(), &set);
    assert!(server.url.starts_with("https://"), "it speaks TLS");
    let address = server.address();
    let shown = async || {
        let stream = dial(&ca, address, &["http/1.1"], &[&TLS13]).await.expect("they agree");
        stream.get_ref().1.peer_certificates().expect("TLS shows one")[0].to_vec()
    };
    let write = |shown: &Shown| {
        folder.write("node.pem", &shown.certificate);
        folder.write("node.key", &shown.key);
    };
    let mut open = dial(&ca, address, &["http/1.1"], &[&TLS13]).await.expect("they agree");
    let issue =
        |year: i32| ca.issue_with(&[NAME], |params| params.not_after = date_time_ymd(year, 1, 1));
    let next = issue(2050);
    write(&next);
    hang_up(&server);
    logged(&log, USED, 1).await;
    assert_eq!(shown().await, der(&next));
    // A bad one is not used.
    write(&issue(2020));
    hang_up(&server);
    logged(&log, NOT_USED, 1).await;
    assert_eq!(shown().await, der(&next));
    let last = issue(2051);
    write(&last);
    hang_up(&server);
    logged(&log, USED, 2).await;
    logged(&log, NOT_USED, 1).await;
    assert_eq!(shown().await, der(&last));
    // Who was there before notices nothing.
    let ask = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    open.write_all(ask).await.expect("it is open");
    until(&mut open, "ok\n").await;
    server.stop();
}

#[test]
fn a_process_without_a_certificate_is_not_ended_by_it() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), free_port(), &[]);
    hang_up(&server);
    // It comes before the signal that this one sends.
    server.stop();
}

#[tokio::test]
async fn a_process_that_is_hung_up_on_trusts_the_keys_that_are_there_now() {
    const OTHER: &str = "another secret of these tests, long enough";
    let folder = tempfile::tempdir().expect("a folder");
    let (server, log) = guarded_process(folder.path(), &["telemetry.log-format=json"]);
    let file = folder.path().join("key");
    let token = |secret: &str| {
        let key = SigningKey::read(None, secret.as_bytes()).expect("a key");
        signed(&key, "anna", &[("a", "write")], Duration::from_hours(1))
    };
    let (old, new) = (token(SECRET), token(OTHER));
    let enters = async |token: &str| {
        let (header, value) = bearer(token);
        knock(&server, "/ws/a", &[(header, &*value)]).await
    };
    let browser = Browser::sign_in(&server, &old).await;
    let session = async || {
        let answer = browser.ask(&server, Method::GET, "/auth/session", &[]).await;
        answer.status().as_u16()
    };
    let (header, value) = bearer(&old);
    let mut open = enter(&server, "/ws/a", '2', &[(header, &value)]).await;
    // A bad one changes nothing.
    fs::write(&file, "short").expect("it is written");
    hang_up(&server);
    logged(&log, "new keys are not used", 1).await;
    assert_eq!(enters(&old).await.0, "welcome");
    assert_eq!((enters(&new).await, session().await), (closed("unauthenticated", 4401), 200));
    fs::write(&file, OTHER).expect("it is written");
    hang_up(&server);
    assert_eq!(open.end().await.1, 4401, "nobody asked anything");
    logged(&log, "the files of keys were read again", 1).await;
    assert_eq!(enters(&new).await.0, "welcome");
    assert_eq!((enters(&old).await, session().await), (closed("unauthenticated", 4401), 401));
    server.stop();
}
