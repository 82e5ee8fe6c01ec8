//! Links over TLS: who has no certificate of the cluster is not taken, and nothing else happens.

use std::sync::Arc;
use std::time::Duration;

use quire::client::{Document, Options};
use quire::relay::{Blob, Hello, HelloError, Network, PeerError, Request, SPEAKS, Tcp, Tls, Who};
use quire::types::NodeId;
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::{Authority, Folder, Shown};
use crate::inner::{PATIENCE, id};
use crate::moves::type_in;
use crate::nodes::{CLUSTER, Nodes, Settings, name};
use crate::raw::Raw;
use crate::strangers::framed;

/// The names of all nodes of a test: they share a certificate.
const NAMES: &[&str] = &["node-0", "node-1"];

const EDITS: usize = 20;

fn settings(folder: &Folder) -> Settings {
    Settings { relay: folder.config(), ..Settings::default() }
}

fn count(nodes: &Nodes, node: usize, reason: &str) -> u64 {
    nodes.all[node].relay.refused.with_label_values(&[reason]).get()
}

/// Waits until connections were refused so often for a reason.
async fn refused(nodes: &Nodes, node: usize, reason: &str, times: u64) {
    let looking = async {
        while count(nodes, node, reason) < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{reason}: not {times}"));
    assert_eq!(count(nodes, node, reason), times, "{reason}");
}

/// Checks that a client of a node that is no owner is served.
async fn served(nodes: &Nodes, doc: &str) {
    let (mut raw, _) = Raw::join(&nodes.all[1], doc, '1', "").await;
    raw.send(r#"{"t":"ping","n":1}"#).await;
    raw.hear("pong").await;
}

fn client(ca: &str, shown: Option<&Shown>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).expect("a certificate");
    roots.add(ca).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are some")
        .with_root_certificates(roots);
    let Some(Shown { certificate, key }) = shown else { return builder.with_no_client_auth() };
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    builder.with_client_auth_cert(chain, key).expect("they belong together")
}

/// Makes a connection over TLS as no node of Quire would.
async fn dial(nodes: &Nodes, config: ClientConfig) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(nodes.all[0].peer).await.expect("it listens");
    let name = ServerName::try_from("node-0").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("the server is right")
}

/// Says hello over TLS and returns what the connection ends with.
async fn greet(nodes: &Nodes, config: ClientConfig) -> String {
    let hello = Hello { cluster: CLUSTER, node: name(9), boot: 1, speaks: SPEAKS };
    let mut stream = dial(nodes, config).await;
    stream.write_all(&framed(&hello.encode())).await.expect("it is sent");
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
    read.map_or_else(|error| error.to_string(), |bytes| format!("{bytes} bytes"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_both_nodes_of_a_secured_link_type_into_one_document() {
    let ca = Authority::new("cluster");
    let folder = Folder::new(&ca.issue(NAMES), &ca.pem);
    let nodes = Nodes::start(1, settings(&folder)).await;
    let open = |node: usize| Document::open(id("shared"), Options::new(&nodes.url(node)));
    let documents = [open(0), open(1)];
    let all = documents.iter().zip(['a', 'b']);
    let all = all.map(|(document, letter)| type_in(document, std::iter::repeat_n(letter, EDITS)));
    timeout(PATIENCE, futures_util::future::join_all(all)).await.expect("all is durable");
    for document in &documents {
        let mut shown = document.subscribe();
        let whole = async {
            while document.text().len() < 2 * EDITS {
                shown.recv().await.expect("it is open");
            }
        };
        timeout(PATIENCE, whole).await.expect("both have everything");
    }
    assert_eq!(documents[0].text(), documents[1].text());
    assert_eq!((nodes.all[0].relay.links_in.get(), nodes.all[1].relay.links_out.get()), (1, 1));
    // Whoever does not speak TLS is no peer: the link of the two is not plain.
    let mut plain = TcpStream::connect(nodes.all[0].peer).await.expect("it listens");
    let hello = Hello { cluster: CLUSTER, node: name(9), boot: 1, speaks: SPEAKS };
    plain.write_all(&framed(&hello.encode())).await.expect("it is open");
    refused(&nodes, 0, "plain", 1).await;
}

#[tokio::test]
async fn who_has_no_certificate_of_the_cluster_is_not_taken() {
    let (ca, other) = (Authority::new("cluster"), Authority::new("other"));
    let folder = Folder::new(&ca.issue(NAMES), &ca.pem);
    let mut settings = settings(&folder);
    settings.relay.hello_timeout = Duration::from_millis(300);
    let nodes = Nodes::start(1, settings).await;
    served(&nodes, "a").await;
    let expired = ca.issue_with(&["node-9"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let for_servers = ca.issue_with(&["node-9"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (n, (shown, alert)) in [
        (None, "CertificateRequired"),
        (Some(other.issue(&["node-9"])), "UnknownCA"),
        (Some(expired), "CertificateExpired"),
        (Some(for_servers), "UnsupportedCertificate"),
    ]
    .into_iter()
    .enumerate()
    {
        let said = greet(&nodes, client(&ca.pem, shown.as_ref())).await;
        assert!(said.contains(alert), "{said}, not {alert}");
        refused(&nodes, 0, "certificate", n as u64 + 1).await;
    }
    // It is of the cluster, and says that it is another node.
    greet(&nodes, client(&ca.pem, Some(&ca.issue(&["node-8"])))).await;
    refused(&nodes, 0, "certificate", 5).await;
    // It is right, and taken.
    let right = client(&ca.pem, Some(&ca.issue(&["node-8", "node-9"])));
    let hello = Hello { cluster: CLUSTER, node: name(9), boot: 1, speaks: SPEAKS };
    let mut stream = dial(&nodes, right).await;
    stream.write_all(&framed(&hello.encode())).await.expect("it is open");
    let length = timeout(PATIENCE, stream.read_u32()).await.expect("in time");
    assert!(length.expect("a greeting comes") > 0);

    for said in [&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], &[7; 2_000]] {
        let mut stream = TcpStream::connect(nodes.all[0].peer).await.expect("it listens");
        stream.write_all(said).await.expect("it is open");
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
    }
    refused(&nodes, 0, "plain", 2).await;
    let mut stream = TcpStream::connect(nodes.all[0].peer).await.expect("it listens");
    refused(&nodes, 0, "silent", 1).await;
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
    assert_eq!(count(&nodes, 0, "certificate"), 5);
    served(&nodes, "a").await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_keeps_nobody_else_waiting() {
    let ca = Authority::new("cluster");
    let folder = Folder::new(&ca.issue(NAMES), &ca.pem);
    let mut settings = settings(&folder);
    settings.relay.hello_timeout = PATIENCE;
    let nodes = Nodes::start(1, settings).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(nodes.all[0].peer).await.expect("it listens"));
    }
    timeout(PATIENCE / 2, served(&nodes, "a")).await.expect("it does not wait for them");
    assert_eq!(count(&nodes, 0, "silent"), 0, "they are there all the while");
    // The link of the other node wanted a place, too.
    refused(&nodes, 0, "displaced", 73).await;
}

fn request() -> Request {
    let (method, target) = ("GET".to_owned(), "/v1/docs/a".to_owned());
    Request {
        method,
        target,
        content_type: None,
        headers: Vec::new(),
        who: Who::anything(),
        body: Blob("".into()),
    }
}

/// Dials as a node does.
async fn reach(tls: &Tls, node: &NodeId, nodes: &Nodes) -> Result<(), HelloError> {
    let address = nodes.all[0].peer.to_string();
    let network = Tcp { tls: Some(tls.clone()) };
    let dialled = timeout(PATIENCE, network.dial(node, &address)).await.expect("in time");
    dialled.map(|_| ())
}

#[tokio::test]
async fn a_node_speaks_only_to_the_node_that_it_has_dialled() {
    let (ca, other) = (Authority::new("cluster"), Authority::new("other"));
    let own = Folder::new(&ca.issue(NAMES), &ca.pem);
    let tls = |folder: &Folder| Tls::open(&folder.config(), &name(1)).expect("it is good");
    let tls_own = tls(&own).expect("it is set");
    let nodes = Nodes::start(0, settings(&own)).await;
    assert_eq!(reach(&tls_own, &name(0), &nodes).await, Ok(()));
    let check = |error: Result<(), HelloError>, reason: &str, text: &str| {
        let error = error.expect_err("it is another");
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    };
    check(reach(&tls_own, &name(7), &nodes).await, "certificate", "must be among its DNS names");
    let strange = Folder::new(&other.issue(NAMES), &other.pem);
    let tls_strange = tls(&strange).expect("it is set");
    check(reach(&tls_strange, &name(0), &nodes).await, "certificate", "have it signed by a CA of");
    let plain = Nodes::start(1, Settings::default()).await;
    check(reach(&tls_own, &name(0), &plain).await, "lost", "is relay.tls-* set there, too?");
    refused(&plain, 0, "secured", 1).await;
    // And a plain node at a secured port.
    *plain.owner_at.lock() = Some(nodes.all[0].peer.to_string());
    let carried = plain.all[1].peers.carry(&name(0), request()).await;
    let Err(PeerError::NotSent(why)) = carried else { panic!("{carried:?}") };
    assert!(why.contains("it speaks TLS, and this node does not"), "{why}");
    refused(&plain, 1, "secured", 1).await;
}

/// Returns the certificate that the owner shows at a new connection.
async fn shown(nodes: &Nodes, ca: &str) -> CertificateDer<'static> {
    let stream = dial(nodes, client(ca, None)).await;
    let chain = stream.get_ref().1.peer_certificates().expect("it shows one");
    chain[0].clone().into_owned()
}

fn der(shown: &Shown) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(shown.certificate.as_bytes()).expect("a certificate")
}

#[tokio::test]
async fn certificates_that_are_replaced_are_shown_to_the_next_peer() {
    let (ca, next) = (Authority::new("cluster"), Authority::new("cluster, the next"));
    let (first, second) = (ca.issue(NAMES), ca.issue(NAMES));
    let folder = Folder::new(&first, &ca.pem);
    let nodes = Nodes::start(1, settings(&folder)).await;
    let (mut raw, _) = Raw::join(&nodes.all[1], "a", '1', "").await;
    assert_eq!(shown(&nodes, &ca.pem).await, der(&first));
    // Between the two writes, the files do not fit together: the first ones stay.
    folder.write("node.pem", &second.certificate);
    assert_eq!(shown(&nodes, &ca.pem).await, der(&first));
    folder.write("node.key", &second.key);
    assert_eq!(shown(&nodes, &ca.pem).await, der(&second));
    for (name, bad) in [("node.key", "nothing"), ("node.pem", ""), ("ca.pem", &next.pem)] {
        let good = std::fs::read_to_string(folder.path(name)).expect("it is there");
        folder.write(name, bad);
        assert_eq!(shown(&nodes, &ca.pem).await, der(&second), "{name} is bad");
        std::fs::remove_file(folder.path(name)).expect("it is there");
        assert_eq!(shown(&nodes, &ca.pem).await, der(&second), "{name} is not there");
        folder.write(name, &good);
    }
    // The link stands all the while.
    raw.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    raw.hear("ack").await;
    assert_eq!(nodes.all[0].relay.lost.get(), 0);
    // To another CA: both are trusted, then certificates of the new one are made.
    folder.write("ca.pem", &format!("{}{}", ca.pem, next.pem));
    let third = next.issue(NAMES);
    folder.write("node.pem", &third.certificate);
    folder.write("node.key", &third.key);
    assert_eq!(shown(&nodes, &next.pem).await, der(&third));
    // A new link is made with them, and the client goes on.
    nodes.all[1].peers.give_up(&name(0));
    raw.send(r#"{"t":"op","seq":2,"base":1,"op":["y"]}"#).await;
    raw.hear("ack").await;
    assert_eq!(nodes.all[1].relay.lost.get(), 1);
    folder.write("ca.pem", &next.pem);
    assert!(greet(&nodes, client(&next.pem, Some(&second))).await.contains("UnknownCA"));
}

#[test]
fn files_that_no_peer_would_take_are_refused_at_the_start() {
    let (ca, other) = (Authority::new("cluster"), Authority::new("other"));
    let check = |folder: &Folder, node: &NodeId, why: &str| {
        let error = Tls::open(&folder.config(), node).expect_err(why).to_string();
        assert!(error.contains(why), "{error}, not {why}");
    };
    let node = name(0);
    let good = || Folder::new(&ca.issue(NAMES), &ca.pem);
    for (file, option) in [
        ("node.pem", "relay.tls-certificate-file"),
        ("node.key", "relay.tls-key-file"),
        ("ca.pem", "relay.tls-ca-file"),
    ] {
        let folder = good();
        folder.write(file, "not PEM");
        check(&folder, &node, &format!("{option}: there is no "));
        std::fs::remove_file(folder.path(file)).expect("it is there");
        check(&folder, &node, &format!("{option}: "));
        check(&folder, &node, "cannot be read (No such file or directory");
    }
    let folder = good();
    folder.write("node.key", &ca.issue(NAMES).key);
    check(&folder, &node, "relay.tls-key-file has not the key of relay.tls-certificate-file");
    check(&Folder::new(&other.issue(NAMES), &ca.pem), &node, "signed by a CA of relay.tls-ca-file");
    check(&good(), &name(5), "the node's name must be among its DNS names");
    let spelled = NodeId(id("node~0"));
    check(&good(), &spelled, "is no DNS name");
    let expired = ca.issue_with(NAMES, |params| params.not_after = date_time_ymd(2021, 1, 1));
    check(&Folder::new(&expired, &ca.pem), &node, "renew it, or set the clocks right");
    for usage in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let half = ca.issue_with(NAMES, |params| params.extended_key_usages = vec![usage]);
        check(&Folder::new(&half, &ca.pem), &node, "it must be for servers and for clients");
    }
    // What stands between it and the CA comes with it.
    let between = ca.between("between");
    let mut shown = between.issue(NAMES);
    check(&Folder::new(&shown, &ca.pem), &node, "signed by a CA of relay.tls-ca-file");
    shown.certificate.push_str(&between.pem);
    assert!(
        Tls::open(&Folder::new(&shown, &ca.pem).config(), &node).is_ok_and(|tls| tls.is_some())
    );
    assert!(Tls::open(&quire::relay::Config::default(), &node).is_ok_and(|tls| tls.is_none()));
}
