//! Numbers and byte strings one after another, and their packing with zstd.
//!
//! A number is a LEB128; a difference is the zigzag of a wrapping subtraction, so that every pair
//! of numbers has one. Reading is bounded by the bytes that are there, whatever they claim.

use std::borrow::Cow;

use crate::checkpoint::error::DecodeError;

/// What one packed part may hold when it is unpacked.
pub(crate) const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Shorter parts are left as they are: a zstd frame would be longer.
const PACK_BYTES_MIN: usize = 48;

const LEVEL: i32 = 3;

/// Collects what is written.
#[derive(Debug, Default)]
pub(crate) struct Column(Vec<u8>);

impl Column {
    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    pub(crate) fn length(&mut self, length: usize) {
        self.number(u64::try_from(length).expect("a length fits 64 bits"));
    }

    /// Writes `to` as seen from `from`: one byte where they are close.
    pub(crate) fn difference(&mut self, from: u64, to: u64) {
        let signed = to.wrapping_sub(from).cast_signed();
        self.number(((signed << 1) ^ (signed >> 63)).cast_unsigned());
    }

    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.fixed(bytes);
    }

    /// Writes another column, by zstd where that is shorter.
    pub(crate) fn packed(&mut self, part: &Column) {
        let raw = &part.0;
        self.length(raw.len());
        let packed = match raw.len() {
            0..PACK_BYTES_MIN => None,
            _ => zstd::bulk::compress(raw, LEVEL).ok().filter(|packed| packed.len() < raw.len()),
        };
        match packed {
            Some(packed) => self.bytes(&packed),
            None => {
                self.number(0);
                self.fixed(raw);
            }
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what a [`Column`] wrote.
#[derive(Debug)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Invalid("a number over 64 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid("a number over 64 bits"))
    }

    pub(crate) fn number_u32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.number()?).map_err(|_| DecodeError::Invalid("a number over 32 bits"))
    }

    /// Reads a length, which what is left must be able to hold.
    pub(crate) fn length(&mut self) -> Result<usize, DecodeError> {
        let length = usize::try_from(self.number()?).map_err(|_| DecodeError::Truncated)?;
        if length <= self.0.len() { Ok(length) } else { Err(DecodeError::Truncated) }
    }

    pub(crate) fn difference(&mut self, from: u64) -> Result<u64, DecodeError> {
        let zigzag = self.number()?;
        let signed = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        Ok(from.wrapping_add(signed.cast_unsigned()))
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Invalid("text that is not UTF-8"))
    }

    /// Reads a part that was written by [`Column::packed`].
    pub(crate) fn packed(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        let unpacked = usize::try_from(self.number()?).map_err(|_| DecodeError::TooLong)?;
        if unpacked > UNPACKED_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        let packed = self.bytes()?;
        if packed.is_empty() {
            return Ok(Cow::Borrowed(self.take(unpacked)?));
        }
        let bytes = zstd::bulk::decompress(packed, unpacked)
            .map_err(|_| DecodeError::Invalid("a part that does not unpack"))?;
        if bytes.len() == unpacked {
            Ok(Cow::Owned(bytes))
        } else {
            Err(DecodeError::Invalid("a part of another length than it says"))
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that everything was read.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::Invalid("bytes after the end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [u64; 9] =
        [0, 1, 127, 128, 300, 1 << 32, i64::MAX as u64, u64::MAX - 1, u64::MAX];

    #[test]
    fn numbers_and_differences_round_trip() {
        let mut column = Column::default();
        for from in NUMBERS {
            column.number(from);
            NUMBERS.iter().for_each(|&to| column.difference(from, to));
        }
        let mut cursor = Cursor::new(column.as_slice());
        for from in NUMBERS {
            assert_eq!(cursor.number(), Ok(from));
            NUMBERS.iter().for_each(|&to| assert_eq!(cursor.difference(from), Ok(to)));
        }
        assert_eq!(cursor.end(), Ok(()));
    }

    #[test]
    fn numbers_are_bounded() {
        let eleven = [0x80; 11];
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        for bad in [&eleven[..], &over] {
            assert!(matches!(Cursor::new(bad).number(), Err(DecodeError::Invalid(_))), "{bad:?}");
        }
        assert_eq!(Cursor::new(&[0x80, 0x80]).number(), Err(DecodeError::Truncated));
        assert_eq!(Cursor::new(&[5, 1, 2]).bytes(), Err(DecodeError::Truncated));
    }

    #[test]
    fn parts_round_trip_packed_or_not() {
        let mixed: Vec<u8> = (0..200_u32).map(|n| (n * n % 251) as u8).collect();
        for raw in [vec![], b"short".to_vec(), vec![7; 5_000], mixed] {
            let mut part = Column::default();
            part.fixed(&raw);
            let mut column = Column::default();
            column.packed(&part);
            let mut cursor = Cursor::new(column.as_slice());
            assert_eq!(cursor.packed().unwrap().as_ref(), raw);
            assert_eq!(cursor.end(), Ok(()));
        }
    }

    #[test]
    fn a_part_cannot_claim_more_than_the_limit_or_than_it_holds() {
        let mut part = Column::default();
        part.fixed(&[0; 4_000]);
        let packed = zstd::bulk::compress(part.as_slice(), LEVEL).unwrap();
        for claimed in [UNPACKED_BYTES_MAX + 1, 3_999, 4_001] {
            let mut column = Column::default();
            column.length(claimed);
            column.bytes(&packed);
            assert!(Cursor::new(column.as_slice()).packed().is_err(), "{claimed}");
        }
    }
}
