//! Whole numbers of variable length (LEB128, little end first) and a bounded reader of bytes.
//!
//! Not a general serializer: it knows what the segment format needs and nothing else.

use crate::crdt::error::Malformed;

/// The most bytes that a `u64` takes.
pub(crate) const BYTES_MAX: usize = 10;

/// Appends `number`, seven bits a byte.
pub(crate) fn write(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends the length of `bytes` and `bytes`.
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Maps small numbers of either sign to small ones without.
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// Undoes [`zigzag`].
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Reads from the front of a slice and never past its end.
#[derive(Clone)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins at the front of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Tells whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads one byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.0.split_first().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(first)
    }

    /// Reads a number that [`write`] wrote.
    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for at in 0..BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if at == BYTES_MAX - 1 && bits > 1 {
                return Err(Malformed::Number);
            }
            number |= bits << (7 * at);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed::Number)
    }

    /// Reads a number that counts something in memory.
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed::Number)
    }

    /// Reads `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads what [`write_bytes`] wrote.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.count()?;
        self.take(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_at_every_width() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = vec![];
                write(&mut bytes, number);
                assert!(bytes.len() <= BYTES_MAX);
                assert_eq!(Reader::new(&bytes).number(), Ok(number));
                let signed = number as i64;
                assert_eq!(unzigzag(zigzag(signed)), signed);
                assert_eq!(unzigzag(zigzag(signed.wrapping_neg())), signed.wrapping_neg());
            }
        }
    }

    #[test]
    fn numbers_without_an_end_or_over_64_bits_are_refused() {
        for (bytes, error) in [
            (&[][..], Malformed::Truncated),
            (&[0x80, 0x80], Malformed::Truncated),
            (&[0xff; 11], Malformed::Number),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], Malformed::Number),
        ] {
            assert_eq!(Reader::new(bytes).number(), Err(error), "{bytes:x?}");
        }
    }

    #[test]
    fn a_length_past_the_end_is_refused() {
        assert_eq!(Reader::new(&[3, 1, 2]).bytes(), Err(Malformed::Truncated));
        assert_eq!(Reader::new(&[2, 1, 2]).bytes(), Ok(&[1, 2][..]));
    }
}
