//! Counts Unicode scalar values in UTF-8: by blocks, which the compiler does in vectors.

/// Returns how many characters a text has; more than a `u32` counts are as many as it counts.
pub(in crate::text) fn chars_of(text: &str) -> u32 {
    let chars = if text.len() == 1 { 1 } else { text.chars().count() };
    u32::try_from(chars).unwrap_or(u32::MAX)
}

/// Splits after `chars` characters, if there are so many.
pub(in crate::text) fn split_at_char(text: &str, chars: u32) -> Option<(&str, &str)> {
    /// A block whose characters the compiler counts with a few vector instructions.
    const BLOCK: usize = 64;
    let mut left = usize::try_from(chars).ok()?;
    let mut at = 0;
    for block in text.as_bytes().chunks_exact(BLOCK) {
        let starts = block.iter().map(|byte| u8::from(starts_char(*byte))).sum::<u8>();
        if usize::from(starts) > left {
            break;
        }
        left -= usize::from(starts);
        at += BLOCK;
    }
    // `left` characters more begin at or after `at`; the split is where the next one begins.
    for byte in &text.as_bytes()[at..] {
        if starts_char(*byte) {
            if left == 0 {
                return Some(text.split_at(at));
            }
            left -= 1;
        }
        at += 1;
    }
    (left == 0).then(|| text.split_at(at))
}

/// Tells whether a byte of UTF-8 is the first one of a character.
fn starts_char(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_count_characters_at_every_place() {
        let text = "añ😀e\u{301}\r\n".repeat(40);
        for chars in 0..=text.chars().count() {
            let (left, right) = split_at_char(&text, u32::try_from(chars).unwrap()).unwrap();
            assert_eq!(left.chars().count(), chars);
            assert_eq!(format!("{left}{right}"), text);
        }
        assert_eq!(split_at_char(&text, 281), None);
    }
}
