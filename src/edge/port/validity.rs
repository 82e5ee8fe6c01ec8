//! Until when a certificate is good: the one thing in it that an operator is told.
//!
//! ```text
//! Certificate { TBSCertificate { [0] version, serial, algorithm, issuer, { notBefore, notAfter }
//! ```

use jiff::civil::DateTime;
use jiff::tz::Offset;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns when a certificate (DER) expires, in seconds since 1970.
pub(crate) fn expiry(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = of(SEQUENCE, certificate)?;
    let (mut inner, _) = of(SEQUENCE, certificate)?;
    if let Some((_, rest)) = of(VERSION, inner) {
        inner = rest;
    }
    for _ in ["serial", "algorithm", "issuer"] {
        inner = value(inner)?.2;
    }
    let (validity, _) = of(SEQUENCE, inner)?;
    let (_, _, rest) = value(validity)?;
    let (kind, not_after, _) = value(rest)?;
    let text = str::from_utf8(not_after).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let text = match (kind, text.len()) {
        // Two digits stand for 1950 to 2049.
        (UTC_TIME, 12) => format!("{}{text}", if *text < *"50" { "20" } else { "19" }),
        (GENERALIZED_TIME, 14) => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", &text).ok()?;
    Some(Offset::UTC.to_timestamp(time).ok()?.as_second())
}

/// Reads a value of a kind; returns what is in it, and what follows.
fn of(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    value(bytes).and_then(|(found, inner, rest)| (found == kind).then_some((inner, rest)))
}

/// Reads a value: returns its kind, what is in it, and what follows.
fn value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, length, rest) = match bytes {
        [kind, length @ ..=0x7f, rest @ ..] => (*kind, usize::from(*length), rest),
        [kind, 0x81, length, rest @ ..] => (*kind, usize::from(*length), rest),
        [kind, 0x82, high, low, rest @ ..] => {
            (*kind, usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    let (inner, rest) = rest.split_at_checked(length)?;
    Some((kind, inner, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn check(year: i32, seconds: i64) {
        let mut params = CertificateParams::new(vec!["quire".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 2, 3);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(expiry(made.der()), Some(seconds), "{year}");
        for cut in 0..made.der().len() {
            assert_eq!(expiry(&made.der()[..cut]), None);
        }
    }

    #[test]
    fn the_end_is_read_in_both_spellings() {
        check(2031, 1_927_843_200);
        check(2049, 2_495_923_200);
        check(2050, 2_527_459_200);
        check(1999, 918_000_000);
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for bad in
            [&b""[..], b"\x30", b"\x30\x00", b"\x30\x84\x01\x00\x00\x00", b"\x30\x02\x30\x00"]
        {
            assert_eq!(expiry(bad), None, "{bad:?}");
        }
    }
}
