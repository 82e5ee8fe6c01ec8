//! Bytes over a socket, to say what no HTTP client says.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::inner::PATIENCE;
use crate::raw::Listens;

/// Connects and says something.
pub(crate) async fn say(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(bytes).await.expect("it is open");
    stream
}

/// Says something from a socket that has little room for what comes.
pub(crate) async fn say_with_little_room(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a small one");
    let mut stream = socket.connect(address).await.expect("it listens");
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
    until_or_reset(stream, text).await.expect("it is open")
}

/// As [`until`]; nothing where the connection is reset before anything came over it.
pub(crate) async fn until_or_reset(
    stream: &mut (impl AsyncRead + Unpin),
    text: &str,
) -> Option<String> {
    let mut all = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&all).contains(text) {
            let read = match stream.read_buf(&mut all).await {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::ConnectionReset && all.is_empty() => {
                    return None;
                }
                Err(error) => panic!("{error} after {}", String::from_utf8_lossy(&all)),
            };
            assert!(read > 0, "it ended with {}", String::from_utf8_lossy(&all));
        }
        Some(String::from_utf8_lossy(&all).into_owned())
    };
    timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {text}"))
}

/// Returns the statuses of all answers in what came.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

/// Returns all metrics.
pub(crate) async fn metrics(node: &impl Listens) -> String {
    let answer = reqwest::get(format!("http://{}/metrics", node.address())).await;
    answer.expect("it answers").text().await.expect("it is text")
}

/// Returns what a row of the metrics says.
pub(crate) fn row(metrics: &str, name: &str) -> Option<u64> {
    let said = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(said.trim().parse().expect("a number"))
}

/// Returns what a row says now; one with labels is there once it counts something.
pub(crate) async fn metric(node: &impl Listens, name: &str) -> u64 {
    row(&metrics(node).await, name).unwrap_or(0)
}

/// Waits until a row has reached a value.
pub(crate) async fn reaches(node: &impl Listens, name: &str, least: u64) {
    let reached = async {
        while metric(node, name).await < least {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{name} never reaches {least}"));
}

/// Waits until a row has a value.
pub(crate) async fn becomes(node: &impl Listens, name: &str, value: u64) {
    let there = async {
        while row(&metrics(node).await, name) != Some(value) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("{name} is never {value}"));
}

/// Names the row of what was refused for a reason.
pub(crate) fn refused_row(reason: &str) -> String {
    format!("quire_edge_refused_total{{reason=\"{reason}\"}}")
}

/// Returns how often something was refused for a reason.
pub(crate) async fn refused(node: &impl Listens, reason: &str) -> u64 {
    metric(node, &refused_row(reason)).await
}

/// Returns how often somebody was not let in for a reason.
pub(crate) async fn denied(node: &impl Listens, reason: &str) -> u64 {
    metric(node, &format!("quire_auth_refused_total{{reason=\"{reason}\"}}")).await
}

/// Waits until it was refused so often.
pub(crate) async fn refusals(node: &impl Listens, reason: &str, times: u64) {
    reaches(node, &refused_row(reason), times).await;
    assert_eq!(refused(node, reason).await, times, "{reason}");
}
