//! A connection whose requests' heads are looked at before HTTP/1.1 is made of them, and which has
//! to say them in time.
//!
//! ```text
//! head ──CR LF CR LF──► body of so many bytes ──► head ...
//!  │ └──chunks or an upgrade──► anything: the connection ends with its answer, or is no HTTP then
//!  └──badly made──► spoiled: the parser finds a NUL, which it answers with 400
//! ```
//! What a parser lets pass and a proxy in front may read in another way (a line that ends with LF
//! alone, one that is folded, two lengths) would let somebody hide a request in another one. So it
//! is refused here, and where a request ends is never in doubt: its length is in its head, or it is
//! the connection's last. Of HTTP/2 only the beginning is waited for here.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::edge::metrics::{Metrics, Reason};
use crate::edge::port::activity::Activity;
use crate::edge::trail::turned_away;
use crate::listener::Heads;

/// How much of a line is kept: more than the headers have that are looked at.
const LINE_BYTES: usize = 64;

/// The length of what HTTP/2 begins with.
const PREFACE_BYTES: u64 = 24;

/// What the parser gets after something that was spoiled, so that it does not wait for more.
const END: &[u8] = b"\r\n\r\n";

/// How many fields a head may have: the parser takes no more.
const FIELDS_MAX: usize = 100;

/// Looks at what comes over a connection.
pub(crate) struct Strict<S> {
    socket: S,
    stage: Stage,
    heads: Heads,
    /// When what has begun must have come.
    deadline: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
    /// Who is at its other end.
    from: IpAddr,
    metrics: Metrics,
}

/// What comes next.
enum Stage {
    Head(Head),
    Body(u64),
    /// So many bytes that HTTP/2 begins with.
    Preface(u64),
    Anything,
    /// So much of the end has been told.
    Spoiled(usize),
}

/// What is known of a head that comes.
struct Head {
    /// The beginning of the line that comes, without its end.
    line: [u8; LINE_BYTES],
    length: usize,
    /// Whether the last byte was a CR.
    ending: bool,
    /// How many bytes of it have come.
    bytes: usize,
    /// How many fields.
    fields: usize,
    /// Whether that was too much, and counted.
    long: bool,
    /// Whether the request line has come.
    begun: bool,
    body: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

/// A head is not made as it must be.
struct Bad;

impl<S> Strict<S> {
    /// Begins with a connection over which HTTP/1.1 comes.
    pub(crate) fn http1(
        socket: S,
        heads: Heads,
        activity: Arc<Activity>,
        (from, metrics): (IpAddr, Metrics),
    ) -> Self {
        let (stage, deadline) = (Stage::Head(Head::new()), deadline(heads));
        Self { socket, stage, heads, deadline, activity, from, metrics }
    }

    /// Begins with a connection over which HTTP/2 comes.
    pub(crate) fn http2(
        socket: S,
        heads: Heads,
        activity: Arc<Activity>,
        known: (IpAddr, Metrics),
    ) -> Self {
        let begun = Self::http1(socket, heads, activity, known);
        Self { stage: Stage::Preface(PREFACE_BYTES), ..begun }
    }

    /// Has it be known how much the socket has taken.
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.activity.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.block(),
        }
        written
    }

    /// Looks at what has come, and spoils what is badly made.
    fn look(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.stage {
                Stage::Anything => return,
                Stage::Spoiled(_) => {
                    bytes.fill(0);
                    return;
                }
                Stage::Body(left) | Stage::Preface(left) => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    taken
                }
                Stage::Head(head) => {
                    if self.deadline.is_none() {
                        self.deadline = deadline(self.heads);
                    }
                    match head.take(bytes) {
                        Ok((taken, ended)) => {
                            head.bytes += taken;
                            // One that has not ended has a byte more at least.
                            let least = head.bytes + usize::from(!ended);
                            if head.grows_long(least, self.heads.bytes_max) {
                                turned_away(&self.metrics, Reason::LongHead, self.from);
                            }
                            if ended {
                                self.stage = head.next();
                                self.deadline = None;
                            }
                            taken
                        }
                        Err(Bad) => {
                            turned_away(&self.metrics, Reason::Head, self.from);
                            (self.stage, self.deadline) = (Stage::Spoiled(0), None);
                            0
                        }
                    }
                }
            };
            match self.stage {
                Stage::Body(0) => self.stage = Stage::Head(Head::new()),
                Stage::Preface(0) => (self.stage, self.deadline) = (Stage::Anything, None),
                _ => {}
            }
            bytes = &mut bytes[taken..];
        }
    }
}

/// Begins the time for a head.
fn deadline(heads: Heads) -> Option<Pin<Box<Sleep>>> {
    heads.timeout.map(|timeout| Box::pin(sleep(timeout)))
}

impl Head {
    fn new() -> Self {
        Self {
            line: [0; LINE_BYTES],
            length: 0,
            ending: false,
            bytes: 0,
            fields: 0,
            long: false,
            begun: false,
            body: None,
            chunked: false,
            upgrade: false,
        }
    }

    /// Takes what belongs to the head: returns how much that is, and whether it has ended.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Bad> {
        for (at, byte) in bytes.iter().enumerate() {
            match (byte, std::mem::take(&mut self.ending)) {
                (b'\n', true) => {
                    let is_last = self.length == 0 && self.begun;
                    if is_last {
                        return Ok((at + 1, true));
                    }
                    self.line()?;
                }
                (b'\n', false) | (_, true) => return Err(Bad),
                (b'\r', false) => self.ending = true,
                (other, false) => {
                    if let Some(place) = self.line.get_mut(self.length) {
                        *place = *other;
                    }
                    self.length += 1;
                }
            }
        }
        Ok((bytes.len(), false))
    }

    /// Tells once whether it is longer than the parser takes, which answers with 431 then, and ends
    /// the connection.
    fn grows_long(&mut self, bytes: usize, bytes_max: usize) -> bool {
        let is_long = bytes > bytes_max || self.fields > FIELDS_MAX;
        is_long && !std::mem::replace(&mut self.long, is_long)
    }

    /// Looks at a line that has come.
    fn line(&mut self) -> Result<(), Bad> {
        let length = std::mem::take(&mut self.length);
        let line = &self.line[..length.min(LINE_BYTES)];
        if !self.begun {
            // Empty lines may come before a request.
            self.begun = length > 0;
            return Ok(());
        }
        self.fields += 1;
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(Bad);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) else {
            // The parser refuses a line without a name; a name may be longer than what is kept.
            return Ok(());
        };
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        // One without a colon is never empty.
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let is_whole = length <= LINE_BYTES;
        if is(b"content-length") {
            let digits = value.iter().all(u8::is_ascii_digit);
            let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            let is_first = self.body.is_none() && !self.chunked;
            let (true, true, true, Some(number)) = (is_whole, digits, is_first, number) else {
                return Err(Bad);
            };
            self.body = Some(number);
        } else if is(b"transfer-encoding") {
            let is_first = self.body.is_none() && !self.chunked;
            if !(is_whole && is_first && value.eq_ignore_ascii_case(b"chunked")) {
                return Err(Bad);
            }
            self.chunked = true;
        } else if is(b"upgrade") {
            self.upgrade = true;
        }
        Ok(())
    }

    fn next(&self) -> Stage {
        match self.body {
            _ if self.chunked || self.upgrade => Stage::Anything,
            None | Some(0) => Stage::Head(Self::new()),
            Some(length) => Stage::Body(length),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Stage::Spoiled(told) = &mut this.stage {
            let rest = END.get(*told..).unwrap_or_default();
            let next = &rest[..rest.len().min(buffer.remaining())];
            buffer.put_slice(next);
            *told += next.len();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                this.look(&mut buffer.filled_mut()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let Some(deadline) = &mut this.deadline else { return Poll::Pending };
                ready!(deadline.as_mut().poll(cx));
                this.deadline = None;
                turned_away(&this.metrics, Reason::SlowHead, this.from);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::{Histogram, HistogramOpts};
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::telemetry;

    const SPAN: Duration = Duration::from_secs(10);
    const HEADS: Heads = Heads { timeout: Some(SPAN), bytes_max: 1 << 10 };
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn metrics() -> Metrics {
        let acks = Histogram::with_opts(HistogramOpts::new("quire_test", "test")).unwrap();
        Metrics::register(&telemetry::registry(), acks).unwrap()
    }

    /// Reads what came in two parts, cut at every place; returns the bytes that were let pass,
    /// where all cuts agree, and whether the rest was spoiled.
    async fn passed(bytes: &[u8]) -> (usize, bool) {
        let mut all = Vec::new();
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let activity = Arc::new(Activity::new(SPAN, 1));
            let mut strict = Strict::http1(first.chain(second), HEADS, activity, (HERE, metrics()));
            let mut read = Vec::new();
            strict.read_to_end(&mut read).await.unwrap();
            let same = read.iter().zip(bytes).take_while(|(one, other)| one == other).count();
            let rest = &read[same..];
            let spoiled = matches!(strict.stage, Stage::Spoiled(_));
            match spoiled {
                true => assert!(rest.ends_with(END) && rest.iter().all(|b| b"\0\r\n".contains(b))),
                false => assert_eq!(read, bytes),
            }
            all.push((same, spoiled));
        }
        // The parser gets no whole head of what is spoiled, wherever it was cut.
        let most = all.iter().map(|(same, _)| *same).max().unwrap();
        assert!(all.iter().all(|(_, spoiled)| *spoiled == all[0].1), "{all:?}");
        (most, all[0].1)
    }

    async fn check(request: &str, spoiled: bool) {
        assert_eq!(passed(request.as_bytes()).await.1, spoiled, "{request:?}");
        // Nor does it matter what came before, and what is a body is not looked at.
        for before in [
            "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\n: \n",
            "PUT / HTTP/1.1\r\ncontent-length:0\r\n\r\n",
        ] {
            let both = format!("{before}{request}");
            let (same, was) = passed(both.as_bytes()).await;
            assert_eq!(was, spoiled, "{both:?}");
            assert!(same >= before.len(), "{both:?}");
        }
    }

    #[tokio::test]
    async fn what_is_well_made_passes() {
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false).await;
        check("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n0\n\n", false).await;
        check("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\n\n\n", false).await;
        let long = "x".repeat(3 * LINE_BYTES);
        check(&format!("GET /{long} HTTP/1.1\r\n{long}: {long}\r\n\r\n"), false).await;
        check(&format!("GET / HTTP/1.1\r\nx: {long}\r\nContent-Length: 3\r\n\r\na\nb"), false)
            .await;
    }

    #[tokio::test]
    async fn what_two_servers_may_read_in_two_ways_is_spoiled() {
        let long = " ".repeat(LINE_BYTES);
        for lines in [
            "Host: a\nX: b\r\n",
            "Host: a\rX: b\r\n",
            "\n",
            "Host: a\r\n X: b\r\n",
            "Host: a\r\n\tb\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\ncontent-length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: identity, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \u{b}chunked\r\n",
            &format!("Transfer-Encoding:{long}chunked\r\n"),
            &format!("Content-Length:{long}1\r\n"),
        ] {
            check(&format!("POST / HTTP/1.1\r\n{lines}\r\nx"), true).await;
        }
        check("GET / HTTP/1.1\nHost: a\r\n\r\n", true).await;
        check("\nGET / HTTP/1.1\r\n\r\n", true).await;
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_counted_once_and_left_to_the_parser() {
        let whole = |bytes: usize| {
            let request = "GET / HTTP/1.1\r\nx: \r\n\r\n";
            request.replace("x: ", &format!("x: {}", "y".repeat(bytes - request.len())))
        };
        let lines = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(count));
        for (request, long) in [
            (whole(HEADS.bytes_max), 0),
            (whole(HEADS.bytes_max).repeat(2), 0),
            (whole(HEADS.bytes_max + 1), 1),
            (whole(3 * HEADS.bytes_max), 1),
            (lines(FIELDS_MAX), 0),
            (lines(FIELDS_MAX + 1), 1),
            (lines(FIELDS_MAX + 50), 1),
        ] {
            for piece in [1, 100, request.len()] {
                let metrics = metrics();
                let known = (HERE, metrics.clone());
                let (activity, bytes) = (Arc::new(Activity::new(SPAN, 1)), request.as_bytes());
                let mut strict = Strict::http1(bytes, HEADS, activity, known);
                let mut buffer = vec![0; piece];
                let mut read = Vec::<u8>::new();
                loop {
                    let count = strict.read(&mut buffer).await.unwrap();
                    read.extend(&buffer[..count]);
                    if count == 0 {
                        break;
                    }
                }
                assert_eq!(read, bytes);
                let counted = metrics.refused.with_label_values(&["long-head"]).get();
                assert_eq!(counted, long, "{} bytes, {piece} at once", bytes.len());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_to_come_in_time_and_a_connection_may_rest() {
        let metrics = metrics();
        let slow = || metrics.refused.with_label_values(&["slow-head"]).get();
        let (mut client, server) = tokio::io::duplex(1_024);
        let activity = Arc::new(Activity::new(SPAN, 1));
        let mut strict = Strict::http1(server, HEADS, activity, (HERE, metrics.clone()));
        let mut read = [0; 256];
        let write = async |client: &mut tokio::io::DuplexStream, text: &str| {
            tokio::io::AsyncWriteExt::write_all(client, text.as_bytes()).await.unwrap();
        };
        write(&mut client, "GET / HTTP/1.1\r\n\r\n").await;
        assert_eq!(strict.read(&mut read).await.unwrap(), 18);
        let rest = tokio::time::timeout(10 * SPAN, strict.read(&mut read)).await;
        assert!(rest.is_err(), "nothing has begun");
        write(&mut client, "G").await;
        assert_eq!(strict.read(&mut read).await.unwrap(), 1);
        let late = strict.read(&mut read).await.expect_err("it does not go on");
        assert_eq!((late.kind(), slow()), (io::ErrorKind::TimedOut, 1));
        // Nor does one that never begins, in either protocol.
        for make in [Strict::http1, Strict::http2] {
            let (mut client, server) = tokio::io::duplex(1_024);
            write(&mut client, "P").await;
            let activity = Arc::new(Activity::new(SPAN, 1));
            let mut strict = make(server, HEADS, activity, (HERE, metrics.clone()));
            assert_eq!(strict.read(&mut read).await.unwrap(), 1);
            assert!(strict.read(&mut read).await.is_err());
        }
        assert_eq!(slow(), 3);
    }
}
