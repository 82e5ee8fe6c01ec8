//! What is no node of the cluster on the peer port: it is closed, counted, and nothing else
//! happens.

use std::time::Duration;

use quire::relay::{Ask, Denial, Hello, SPEAKS, Told, decode, encode};
use quire::shard::{PeerError, Peers};
use quire::types::ShardId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::inner::{PATIENCE, id};
use crate::nodes::{CLUSTER, Nodes, Settings, name};
use crate::raw::Raw;

fn greeting() -> Hello {
    Hello { cluster: CLUSTER, node: name(9), boot: 1, speaks: SPEAKS }
}

pub(crate) fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes(), bytes].concat()
}

pub(crate) async fn frame(stream: &mut TcpStream) -> Vec<u8> {
    let reading = async {
        let length = stream.read_u32().await.expect("a frame comes");
        let mut bytes = vec![0; length as usize];
        stream.read_exact(&mut bytes).await.expect("it is whole");
        bytes
    };
    timeout(PATIENCE, reading).await.expect("in time")
}

/// Waits until the other side closes.
async fn end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end, too: what was sent was not read.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
}

/// Checks that the cluster serves as if nothing had been.
async fn check(nodes: &Nodes, refused: &[(&str, u64)]) {
    let (mut raw, _) = Raw::join(&nodes.all[1], "a", '1', "").await;
    raw.send(r#"{"t":"ping","n":1}"#).await;
    raw.hear("pong").await;
    for (reason, times) in refused {
        let counted = nodes.all[0].relay.refused.with_label_values(&[reason]).get();
        assert_eq!(counted, *times, "{reason}");
    }
}

#[tokio::test]
async fn strangers_are_not_taken() {
    let mut settings = Settings::default();
    settings.relay.hello_timeout = Duration::from_millis(200);
    let nodes = Nodes::start(1, settings).await;
    let other_cluster = Hello { cluster: 8, ..greeting() };
    let newer = Hello { speaks: (SPEAKS.1 + 1, SPEAKS.1 + 2), ..greeting() };
    let namesake = Hello { node: name(0), ..greeting() };
    for said in [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        framed(b"nonsense"),
        framed(&greeting().encode()[..12]),
        framed(&vec![7; 2_000]),
        Vec::new(),
        framed(&other_cluster.encode()),
        framed(&newer.encode()),
        framed(&namesake.encode()),
    ] {
        let mut stream = TcpStream::connect(nodes.all[0].peer).await.expect("it listens");
        stream.write_all(&said).await.expect("it is open");
        end(&mut stream).await;
    }
    let refused =
        [("garbage", 4), ("silent", 1), ("other-cluster", 1), ("version", 1), ("own-name", 1)];
    check(&nodes, &refused).await;
    assert_eq!(nodes.all[0].relay.links_in.get(), 1, "only that of the other node");
}

#[tokio::test]
async fn who_is_of_another_cluster_is_told_who_is_here() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let mut stream = TcpStream::connect(nodes.all[0].peer).await.expect("it listens");
    let hello = Hello { cluster: 8, ..greeting() }.encode();
    stream.write_all(&framed(&hello)).await.expect("it is open");
    let told = Hello::decode(&frame(&mut stream).await).expect("a greeting");
    assert_eq!((told.cluster, told.node), (CLUSTER, name(0)));
    end(&mut stream).await;
}

/// Has the second node ask the first one for something until it was refused so often for a reason;
/// it is never done.
async fn dials_in_vain(nodes: &Nodes, reason: &str, times: u64) {
    let dialling = async {
        while nodes.all[1].relay.refused.with_label_values(&[reason]).get() < times {
            let asked = nodes.all[1].peers.warm(&name(0), ShardId(0)).await;
            assert_eq!(asked, Err(PeerError::Gone), "{reason}");
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, dialling).await.expect("it is counted");
    assert_eq!(nodes.all[1].relay.links_out.get(), 0, "{reason}");
}

#[tokio::test]
async fn a_node_that_dials_another_one_than_it_wants_asks_it_for_nothing() {
    let nodes = Nodes::start(2, Settings::default()).await;
    *nodes.owner_at.lock() = Some(nodes.all[2].peer.to_string());
    dials_in_vain(&nodes, "other-node", 1).await;
    for node in [&nodes.all[0], &nodes.all[2]] {
        assert!(node.heirs.asked.lock().is_empty(), "nobody was asked");
    }
    *nodes.owner_at.lock() = Some(nodes.all[0].peer.to_string());
    check(&nodes, &[]).await;
    assert_eq!(nodes.all[2].relay.links_in.get(), 0);
}

#[tokio::test]
async fn a_node_that_dials_one_of_another_cluster_or_version_asks_it_for_nothing() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = elsewhere.local_addr().expect("it is bound").to_string();
    *nodes.owner_at.lock() = Some(address);
    let namesake = Hello { node: name(0), ..greeting() };
    for (reason, hello) in [
        ("other-cluster", Hello { cluster: 8, ..namesake.clone() }),
        ("version", Hello { speaks: (SPEAKS.1 + 1, SPEAKS.1 + 2), ..namesake.clone() }),
        ("own-name", Hello { node: name(1), ..namesake.clone() }),
    ] {
        let answering = async {
            let (mut stream, _) = elsewhere.accept().await.expect("it is dialled");
            let told = Hello::decode(&frame(&mut stream).await).expect("a greeting");
            assert_eq!((told.cluster, told.node), (CLUSTER, name(1)));
            stream.write_all(&framed(&hello.encode())).await.expect("it is open");
            let mut rest = Vec::new();
            // A reset is an end, too.
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "{reason}: it is asked for nothing");
        };
        let both = futures_util::future::join(dials_in_vain(&nodes, reason, 1), answering);
        timeout(PATIENCE, both).await.expect("it hangs up");
    }
    assert!(nodes.all[0].heirs.asked.lock().is_empty(), "nobody was asked");
    *nodes.owner_at.lock() = Some(nodes.all[0].peer.to_string());
    check(&nodes, &[]).await;
}

/// Makes a link as a node does.
async fn link(nodes: &Nodes) -> TcpStream {
    let mut stream = TcpStream::connect(nodes.all[0].peer).await.expect("it listens");
    stream.write_all(&framed(&greeting().encode())).await.expect("it is open");
    Hello::decode(&frame(&mut stream).await).expect("a greeting");
    stream
}

#[tokio::test]
async fn a_newer_peer_is_told_what_is_unknown_and_a_broken_one_is_cut_off() {
    let mut settings = Settings::default();
    settings.relay.silence_max = Duration::from_millis(300);
    settings.relay.frame_bytes_max = bytesize::ByteSize::mib(1);
    let nodes = Nodes::start(1, settings).await;
    let mut stream = link(&nodes).await;
    // Of an unknown kind: without a call, and with one.
    stream.write_all(&framed(&[0, 99, 1, 2, 3])).await.expect("it is open");
    stream.write_all(&framed(&[5, 99])).await.expect("it is open");
    assert_eq!(decode::<Told>(&frame(&mut stream).await), Ok((5, Told::Unknown)));
    // Of no subscription.
    let missed = Ask::Missed { sub: 77, from: quire::types::Revision(0) };
    stream.write_all(&framed(&encode(6, &missed))).await.expect("it is open");
    let (call, told) = decode::<Told>(&frame(&mut stream).await).expect("a message");
    assert!(call == 6 && matches!(told, Told::Refused(_)), "{told:?}");
    // It is silent from here on.
    end(&mut stream).await;
    let twice = encode(1, &Ask::Subscribe { sub: 1, doc: id("a"), from: None });
    let trailing = [&*encode(0, &Ask::Ping), &[0]].concat();
    for broken in [
        framed(&[]),
        framed(&[0, 1, 200]),
        framed(&trailing),
        [framed(&twice), framed(&twice)].concat(),
        (2_u32 << 20).to_be_bytes().to_vec(),
    ] {
        let mut stream = link(&nodes).await;
        stream.write_all(&broken).await.expect("it is open");
        end(&mut stream).await;
    }
    assert_eq!(nodes.all[0].relay.unknown.get(), 2);
    check(&nodes, &[]).await;
}

#[tokio::test]
async fn a_link_that_does_not_take_its_data_ends_its_subscriptions_and_nothing_else() {
    let mut settings = Settings::default();
    settings.relay.silence_max = PATIENCE;
    settings.relay.queue_bytes = bytesize::ByteSize::kib(64);
    let nodes = Nodes::start(1, settings).await;
    let mut stream = link(&nodes).await;
    let subscribe = Ask::Subscribe { sub: 1, doc: id("a"), from: None };
    stream.write_all(&framed(&encode(1, &subscribe))).await.expect("it is open");
    frame(&mut stream).await;
    let owner = &nodes.all[0];
    assert_eq!(owner.relay.subscriptions.get(), 1);
    let (mut writer, _) = Raw::join(owner, "a", '1', "").await;
    let (mut other, _) = Raw::join(&nodes.all[1], "a", '2', "").await;
    let (text, mut seq) = ("x".repeat(200 << 10), 0);
    while owner.relay.overflows.get() == 0 {
        // Far more than the buffers of a socket take.
        assert!(seq < 40, "the queue has a bound");
        writer
            .send(&format!(r#"{{"t":"op","seq":{},"base":{seq},"op":["{text}"]}}"#, seq + 1))
            .await;
        writer.hear("ack").await;
        seq += 1;
        assert_eq!(other.hear("op").await["rev"], seq);
    }
    let closed = async {
        loop {
            match decode::<Told>(&frame(&mut stream).await).expect("a message") {
                (_, Told::Closed { sub, denial }) => return (sub, denial),
                (_, told) => assert!(matches!(told, Told::Changed { .. } | Told::Presence { .. })),
            }
        }
    };
    let closed = timeout(PATIENCE, closed).await.expect("it is told");
    assert_eq!(closed, (1, Denial::Moved));
    assert_eq!(owner.relay.overflows.get(), 1);
}
