//! Plain text tables for a terminal, and text that cannot drive it.

/// Says how a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Holds a table's columns: they keep their widths from one batch of rows to the next, or grow.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    widths: [usize; N],
    begun: bool,
}

impl<const N: usize> Table<N> {
    /// Returns a table of these columns, each at least as wide as its name and `width_min`.
    pub(crate) fn new(columns: [(&'static str, Align); N], width_min: usize) -> Self {
        let widths = columns.map(|(name, _)| name.len().max(width_min));
        Self { columns, widths, begun: false }
    }

    /// Spells more rows, below the names of the columns if they are the first.
    pub(crate) fn rows(&mut self, rows: &[[String; N]]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        if !self.begun {
            self.begun = true;
            self.row(&mut out, &self.columns.map(|(name, _)| name.to_owned()));
        }
        rows.iter().for_each(|row| self.row(&mut out, row));
        out
    }

    fn row(&self, out: &mut String, row: &[String; N]) {
        let begin = out.len();
        for ((cell, width), (_, align)) in row.iter().zip(self.widths).zip(self.columns) {
            if out.len() > begin {
                out.push_str("  ");
            }
            match align {
                Align::Left => out.push_str(&format!("{cell:<width$}")),
                Align::Right => out.push_str(&format!("{cell:>width$}")),
            }
        }
        out.truncate(out.trim_end_matches(' ').len().max(begin));
        out.push('\n');
    }
}

/// Spells text so that it stays on its line and cannot drive the terminal: control characters and
/// those that turn the direction of writing are escaped.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| if drives(c) { out.extend(c.escape_default()) } else { out.push(c) });
    out
}

/// Spells text like [`one_line`] but keeps line ends and tabs.
pub(crate) fn many_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let kept = |c| !drives(c) || matches!(c, '\n' | '\t');
    text.chars().for_each(|c| if kept(c) { out.push(c) } else { out.extend(c.escape_default()) });
    out
}

fn drives(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_over_all_batches_of_rows() {
        let mut table = Table::new([("REV", Align::Right), ("AUTHOR", Align::Left)], 4);
        let row = |rev: &str, author: &str| [rev.to_owned(), author.to_owned()];
        let first = table.rows(&[row("1", "äda"), row("12", "")]);
        assert_eq!(first, " REV  AUTHOR\n   1  äda\n  12\n");
        assert_eq!(table.rows(&[row("123", "bo")]), " 123  bo\n");
        assert_eq!(table.rows(&[]), "");
    }

    #[test]
    fn text_cannot_drive_the_terminal() {
        for (text, one, many) in [
            ("plain é 😀", "plain é 😀", "plain é 😀"),
            ("a\n\tb", "a\\n\\tb", "a\n\tb"),
            ("\u{1b}[2J\r", "\\u{1b}[2J\\r", "\\u{1b}[2J\\r"),
            ("a\u{9b}b\u{202e}c", "a\\u{9b}b\\u{202e}c", "a\\u{9b}b\\u{202e}c"),
        ] {
            assert_eq!((one_line(text).as_str(), many_lines(text).as_str()), (one, many));
        }
    }
}
