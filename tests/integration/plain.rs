//! Bytes over a socket, to say what no HTTP client says.

use std::net::SocketAddr;
use std::time::Duration;

use quire::node::Node;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::inner::PATIENCE;
use crate::slow::metric;

/// Connects and says something.
pub(crate) async fn say(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(bytes).await.expect("it is open");
    stream
}

/// Returns what comes until the other side ends the connection.
pub(crate) async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    // One that is reset has ended, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it ends");
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until a text has come; what comes after it may be lost.
pub(crate) async fn until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut all = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&all).contains(text) {
            let read = stream.read_buf(&mut all).await.expect("it is open");
            assert!(read > 0, "it ended with {}", String::from_utf8_lossy(&all));
        }
    };
    timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {text}"));
    String::from_utf8_lossy(&all).into_owned()
}

/// Returns the statuses of all answers in what came.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

/// Returns how often something was refused for a reason.
pub(crate) async fn refused(node: &Node, reason: &str) -> u64 {
    metric(node, &format!("quire_edge_refused_total{{reason=\"{reason}\"}} ")).await
}

/// Waits until it was refused so often.
pub(crate) async fn refusals(node: &Node, reason: &str, times: u64) {
    let looking = async {
        while refused(node, reason).await < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{reason}: not {times}"));
    assert_eq!(refused(node, reason).await, times, "{reason}");
}
