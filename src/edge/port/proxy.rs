//! The PROXY protocol, versions 1 and 2: what a proxy that passes on bytes says first of a client.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What one of version 1 begins with, and the longest one.
const WORD: &[u8] = b"PROXY ";
const LINE_BYTES_MAX: usize = 107;

/// The longest one of version 2 that is read: addresses, and what clouds and TLS add to them.
const BYTES_MAX: u16 = 2_048;

/// Marks in version 2 what is told of TLS, and that the client used it.
const OF_TLS: u8 = 0x20;
const BY_TLS: u8 = 0x01;

/// What a proxy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The client's address; none where the proxy speaks for itself, or does not know it.
    pub(crate) source: Option<IpAddr>,
    /// Whether the client came to it over TLS.
    pub(crate) secure: bool,
}

/// Why it is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Bad {
    /// It ended, or could not be read.
    #[error("it could not be read")]
    Lost(#[from] std::io::Error),
    /// It begins otherwise.
    #[error("it does not begin with the PROXY protocol")]
    None,
    /// It is not well made.
    #[error("{0}")]
    Made(&'static str),
}

/// Reads a header, and nothing after it.
///
/// # Errors
/// [`Bad`].
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Header, Bad> {
    let mut begin = [0; SIGNATURE.len()];
    // Whoever speaks something else may say less, and wait for an answer.
    stream.read_exact(&mut begin[..WORD.len()]).await?;
    if !SIGNATURE.starts_with(&begin[..WORD.len()]) && !begin.starts_with(WORD) {
        return Err(Bad::None);
    }
    stream.read_exact(&mut begin[WORD.len()..]).await?;
    if begin.starts_with(WORD) {
        let mut line = begin.to_vec();
        while !line.ends_with(b"\n") {
            if line.len() == LINE_BYTES_MAX {
                return Err(Bad::Made("the line is too long"));
            }
            line.push(stream.read_u8().await?);
        }
        return version_1(&line);
    }
    if begin != SIGNATURE {
        return Err(Bad::None);
    }
    let (version, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = stream.read_u16().await?;
    if length > BYTES_MAX {
        return Err(Bad::Made("the header is too long"));
    }
    let mut rest = vec![0; usize::from(length)];
    stream.read_exact(&mut rest).await?;
    version_2(version, family, &rest)
}

fn version_1(line: &[u8]) -> Result<Header, Bad> {
    let line = line.strip_suffix(b"\r\n").and_then(|line| str::from_utf8(line).ok());
    let line = line.ok_or(Bad::Made("the line is no text, or does not end as it must"))?;
    let mut words = line.split(' ').skip(1);
    let kind = words.next().unwrap_or_default();
    if kind == "UNKNOWN" {
        return Ok(Header { source: None, secure: false });
    }
    let rest: Vec<&str> = words.collect();
    let [source, target, from, to] = rest[..] else {
        return Err(Bad::Made("the line has not two addresses and two ports"));
    };
    let address = |text: &str| match kind {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let port = |text: &str| digits(text) && text.parse::<u16>().is_ok();
    match (address(source), address(target)) {
        (Some(source), Some(_)) if port(from) && port(to) => {
            Ok(Header { source: Some(source.to_canonical()), secure: false })
        }
        _ => Err(Bad::Made("an address or a port is none of its kind")),
    }
}

fn version_2(version: u8, family: u8, rest: &[u8]) -> Result<Header, Bad> {
    let is_local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Err(Bad::Made("the version or the command is not known")),
    };
    let short = Bad::Made("the addresses are cut short");
    let (source, after) = match family {
        0x11 => {
            let (addresses, after) = rest.split_at_checked(12).ok_or(short)?;
            let source = addresses.first_chunk::<4>().copied().map(IpAddr::from);
            (source, after)
        }
        0x21 => {
            let (addresses, after) = rest.split_at_checked(36).ok_or(short)?;
            let source = addresses.first_chunk::<16>().copied().map(IpAddr::from);
            (source, after)
        }
        // Of what is no TCP nothing can be said.
        _ => (None, &[][..]),
    };
    if is_local {
        return Ok(Header { source: None, secure: false });
    }
    let source = source.map(|source| source.to_canonical());
    Ok(Header { secure: source.is_some() && tells_tls(after)?, source })
}

/// Tells whether one of the additions says that the client used TLS.
fn tells_tls(mut additions: &[u8]) -> Result<bool, Bad> {
    let mut told = false;
    while let [kind, high, low, rest @ ..] = additions {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let cut = Bad::Made("an addition is cut short");
        let (value, after) = rest.split_at_checked(length).ok_or(cut)?;
        told |= *kind == OF_TLS && value.first().is_some_and(|told| told & BY_TLS != 0);
        additions = after;
    }
    match additions {
        [] => Ok(told),
        _ => Err(Bad::Made("an addition is cut short")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a header that is followed by something; returns what is left, too.
    async fn header(bytes: &[u8]) -> Result<(Header, Vec<u8>), String> {
        let mut stream = bytes;
        let header = read(&mut stream).await.map_err(|bad| bad.to_string())?;
        Ok((header, stream.to_vec()))
    }

    fn of(source: &str, secure: bool) -> Header {
        Header { source: Some(source.parse().unwrap()), secure }
    }

    const UNKNOWN: Header = Header { source: None, secure: false };

    #[tokio::test]
    async fn lines_of_version_1_are_read_to_their_end() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n", of("192.0.2.7", false)),
            ("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", of("2001:db8::7", false)),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", of("192.0.2.7", false)),
            ("PROXY UNKNOWN\r\n", UNKNOWN),
            ("PROXY UNKNOWN whatever follows\r\n", UNKNOWN),
        ] {
            let read = header(format!("{line}GET /").as_bytes()).await;
            assert_eq!(read, Ok((expected, b"GET /".to_vec())), "{line}");
        }
        for bad in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n".to_owned(),
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443 1\r\n".to_owned(),
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\n".to_owned(),
            "PROXY TCP4  192.0.2.7 10.0.0.1 56324 443\r\n".to_owned(),
            "PROXY TCP4 2001:db8::7 ::1 1 2\r\n".to_owned(),
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n".to_owned(),
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n".to_owned(),
            "PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n".to_owned(),
            "proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_owned(),
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX)),
            "PROXY TCP4 192.0.2.7".to_owned(),
            String::new(),
        ] {
            assert!(header(bad.as_bytes()).await.is_err(), "{bad}");
        }
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 16));
        assert_eq!(header(longest.as_bytes()).await, Ok((UNKNOWN, Vec::new())));
    }

    fn made(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn headers_of_version_2_are_read_to_their_end() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 3, 4];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        let tls = |flags| [&v4[..], &[0x04, 0, 1, 9, OF_TLS, 0, 5, flags, 0, 0, 0, 0]].concat();
        for (bytes, expected) in [
            (made(0x21, 0x11, &v4), of("192.0.2.7", false)),
            (made(0x21, 0x11, &tls(BY_TLS)), of("192.0.2.7", true)),
            (made(0x21, 0x11, &tls(6)), of("192.0.2.7", false)),
            (made(0x21, 0x21, &v6), of("2001:db8::7", false)),
            (made(0x20, 0x11, &v4), UNKNOWN),
            (made(0x20, 0x00, &[]), UNKNOWN),
            (made(0x21, 0x00, b"what"), UNKNOWN),
            (made(0x21, 0x31, &[0; 216]), UNKNOWN),
        ] {
            let read = header(&[&bytes[..], b"GET /"].concat()).await;
            assert_eq!(read, Ok((expected, b"GET /".to_vec())), "{bytes:?}");
            for cut in 0..bytes.len() {
                assert!(header(&bytes[..cut]).await.is_err(), "{cut} of {bytes:?}");
            }
        }
        for bad in [
            made(0x11, 0x11, &v4),
            made(0x22, 0x11, &v4),
            made(0x21, 0x11, &v4[..11]),
            made(0x21, 0x21, &v4),
            made(0x21, 0x11, &[&v4[..], &[OF_TLS, 0, 9, 1]].concat()),
            made(0x21, 0x11, &[&v4[..], &[OF_TLS, 0]].concat()),
            made(0x21, 0x11, &vec![0; usize::from(BYTES_MAX) + 1]),
        ] {
            assert!(header(&bad).await.is_err(), "{bad:?}");
        }
    }
}
