//! One connection without a library in between: WebSocket frames of any shape are written, and what
//! the server writes is read strictly.

use std::net::SocketAddr;
use std::time::Duration;

use quire::wire::Codec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A guard against a server that says nothing, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The longest frame that a server may send here.
const FRAME_BYTES_MAX: u64 = 64 << 20;

/// A frame as a client would send it, or never would.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) is_last: bool,
    /// The three bits that no extension has a meaning for.
    pub(crate) reserved: u8,
    pub(crate) opcode: u8,
    pub(crate) mask: Option<[u8; 4]>,
    /// The length that is told, where it is another one.
    pub(crate) claimed: Option<u64>,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let last = u8::from(self.is_last) << 7;
        let mut bytes = vec![last | (self.reserved & 7) << 4 | (self.opcode & 15)];
        let masked = u8::from(self.mask.is_some()) << 7;
        match self.claimed.unwrap_or(self.payload.len() as u64) {
            short @ 0..126 => bytes.push(masked | u8::try_from(short).expect("below 126")),
            long @ 126..=0xffff => {
                bytes.push(masked | 126);
                bytes.extend(u16::try_from(long).expect("two bytes").to_be_bytes());
            }
            longest => {
                bytes.push(masked | 127);
                bytes.extend(longest.to_be_bytes());
            }
        }
        match self.mask {
            None => bytes.extend(self.payload),
            Some(mask) => {
                bytes.extend(mask);
                bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
            }
        }
        bytes
    }
}

/// What the server has said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Data {
        is_text: bool,
        payload: Vec<u8>,
    },
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    /// The connection is over.
    End,
}

pub(crate) struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What a server must never do.
pub(crate) type Finding = String;

impl Line {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        Self { stream, read: Vec::new() }
    }

    /// Writes, where the server still reads.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Finding> {
        let written = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        // A connection that the server has ended is heard of by reading.
        written.map(drop).map_err(|_| "the server neither reads nor ends it".to_owned())
    }

    /// Says that nothing more will be written.
    pub(crate) async fn shut(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection without a word.
    pub(crate) fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    /// Returns the status of the answer to the handshake and the encoding that was agreed on; none
    /// where the connection ends.
    pub(crate) async fn answered(&mut self) -> Result<Option<(u16, Codec)>, Finding> {
        let end = loop {
            let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            if !self.more().await? {
                return match self.read.is_empty() {
                    true => Ok(None),
                    false => Err(format!("half a head: {:?}", String::from_utf8_lossy(&self.read))),
                };
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let is_binary = head.to_ascii_lowercase().contains("protocol: quire.v1.bin\r\n");
        let codec = if is_binary { Codec::Binary } else { Codec::Json };
        status
            .map(|status| Some((status, codec)))
            .ok_or_else(|| format!("no answer of HTTP: {head:?}"))
    }

    /// Reads the next frame; one that breaks the protocol is a finding.
    pub(crate) async fn hear(&mut self) -> Result<Heard, Finding> {
        loop {
            if let Some((heard, used)) = parse(&self.read)? {
                self.read.drain(..used);
                return Ok(heard);
            }
            if !self.more().await? {
                // Half a frame is no finding: who resets loses what was under way.
                return Ok(Heard::End);
            }
        }
    }

    /// Reads until the server has ended the connection, whatever it still says.
    pub(crate) async fn drain(&mut self) -> Result<(), Finding> {
        while self.more().await? {
            self.read.clear();
        }
        Ok(())
    }

    async fn more(&mut self) -> Result<bool, Finding> {
        match timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await {
            Ok(Ok(0) | Err(_)) => Ok(false),
            Ok(Ok(_)) => Ok(true),
            Err(_) => Err("the server neither answers nor ends it".to_owned()),
        }
    }
}

/// Takes one frame of a server apart.
fn parse(bytes: &[u8]) -> Result<Option<(Heard, usize)>, Finding> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 || first & 0x80 == 0 || second & 0x80 != 0 {
        return Err(format!("the server's frame begins with {first:02x} {second:02x}"));
    }
    let (length, skipped) = match (second, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, _) if let Some(eight) = rest.first_chunk() => (u64::from_be_bytes(*eight), 10),
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 2),
    };
    if length > FRAME_BYTES_MAX {
        return Err(format!("the server's frame has {length} bytes"));
    }
    let end = skipped + usize::try_from(length).expect("it is not long");
    let Some(payload) = bytes.get(skipped..end).map(<[u8]>::to_vec) else { return Ok(None) };
    let heard = match first & 15 {
        kind @ (1 | 2) => Heard::Data { is_text: kind == 1, payload },
        8 => Heard::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        9 => Heard::Ping(payload),
        10 => Heard::Pong,
        other => return Err(format!("the server's frame has opcode {other}")),
    };
    Ok(Some((heard, end)))
}

#[test]
fn what_is_written_is_what_is_read() {
    let long = vec![7; 70_000];
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        let payload = &long[..length];
        let plain =
            Frame { is_last: true, reserved: 0, opcode: 2, mask: None, claimed: None, payload };
        let bytes = plain.bytes();
        let heard = Heard::Data { is_text: false, payload: payload.to_vec() };
        assert_eq!(parse(&bytes), Ok(Some((heard, bytes.len()))), "{length}");
        assert_eq!(parse(&bytes[..bytes.len() - 1]), Ok(None), "{length}: cut");
        assert!(parse(&Frame { mask: Some([1; 4]), ..plain }.bytes()).is_err());
        assert!(parse(&Frame { reserved: 4, ..plain }.bytes()).is_err());
        assert!(parse(&Frame { opcode: 3, ..plain }.bytes()).is_err());
    }
}
