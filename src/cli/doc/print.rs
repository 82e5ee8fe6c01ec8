//! Answers as people read them: tables, and a diff within its lines.

use serde_json::Value;

use crate::cli::doc::model::{Blame, Diff, Erasure, HunkKind, RevisionRow, Verified, Version};
use crate::cli::table::{Align, Table, many_lines, one_line};

/// Lines of unchanged text shown on either side of a change.
const CONTEXT_LINES: usize = 3;

/// Prints revisions, page by page.
#[derive(Debug)]
pub(crate) struct HistoryTable(Table<7>);

impl HistoryTable {
    /// Returns the table before its first page.
    pub(crate) fn new() -> Self {
        let columns = [
            ("REV", Align::Right),
            ("AT", Align::Left),
            ("BASE", Align::Right),
            ("INSERTED", Align::Right),
            ("DELETED", Align::Right),
            ("PARTICIPANT", Align::Right),
            ("AUTHOR", Align::Left),
        ];
        Self(Table::new(columns, 8))
    }

    /// Spells one more page.
    pub(crate) fn page(&mut self, revisions: &[RevisionRow]) -> String {
        let row = |row: &RevisionRow| {
            [
                row.rev.to_string(),
                one_line(&row.at),
                row.base.to_string(),
                row.inserted.to_string(),
                row.deleted.to_string(),
                row.participant.map(|id| id.to_string()).unwrap_or_default(),
                one_line(&row.author),
            ]
        };
        let rows: Vec<_> = revisions.iter().map(row).collect();
        self.0.rows(&rows)
    }
}

/// Spells named versions, if there are any.
pub(crate) fn versions(versions: &[Version]) -> String {
    if versions.is_empty() {
        return String::new();
    }
    let columns = ["VERSION", "REV", "AT", "AUTHOR"];
    let aligned = |name| (name, if name == "REV" { Align::Right } else { Align::Left });
    let row = |row: &Version| {
        [one_line(&row.name), row.rev.to_string(), one_line(&row.at), one_line(&row.author)]
    };
    let rows: Vec<_> = versions.iter().map(row).collect();
    format!("\n{}", Table::new(columns.map(aligned), 0).rows(&rows))
}

/// Spells who wrote what: one row for each piece of a line by one revision.
pub(crate) fn blame(blame: &Blame) -> String {
    let columns = [
        ("REV", Align::Right),
        ("AT", Align::Left),
        ("AUTHOR", Align::Left),
        ("TEXT", Align::Left),
    ];
    let mut rows = Vec::new();
    for span in &blame.spans {
        let known = |text: &Option<String>| text.as_deref().map_or("?".to_owned(), one_line);
        let rev = span.rev.map_or("?".to_owned(), |rev| rev.to_string());
        for piece in span.text.split_inclusive('\n') {
            rows.push([rev.clone(), known(&span.at), known(&span.author), one_line(piece)]);
        }
    }
    Table::new(columns, 0).rows(&rows)
}

/// Spells a diff with `[-gone-]` and `{+new+}` within the text, and unchanged text only near them.
pub(crate) fn diff(diff: &Diff) -> String {
    let mut out = String::new();
    let last = diff.hunks.len().saturating_sub(1);
    for (at, hunk) in diff.hunks.iter().enumerate() {
        let text = many_lines(&hunk.text);
        match hunk.kind {
            HunkKind::Inserted => out.extend(["{+", &text, "+}"]),
            HunkKind::Deleted => out.extend(["[-", &text, "-]"]),
            HunkKind::Same => {
                let before = if at == 0 { 0 } else { CONTEXT_LINES };
                let after = if at == last { 0 } else { CONTEXT_LINES };
                out.push_str(&near(&text, before, after));
            }
        }
    }
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Keeps the lines of a text that are near its begin and near its end, and counts the others.
fn near(text: &str, first: usize, last: usize) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (begin, end) = (first, lines.len().saturating_sub(last));
    if end <= begin + 1 {
        return text.to_owned();
    }
    let skipped = end - begin;
    let mut out = lines[..begin].concat();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(&format!("... {skipped} lines ...\n"));
    out.push_str(&lines[end..].concat());
    out
}

/// Spells what became of an erasure: what is left, and what still may hold bytes.
pub(crate) fn erasure(erasure: &Erasure) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &Value| {
        let told = match value {
            Value::Null => "nothing".to_owned(),
            Value::String(text) => one_line(text),
            other => other.to_string(),
        };
        out.push_str(&format!("{name:<24}{told}\n"));
    };
    line("complete", &Value::from(erasure.complete));
    for wait in &erasure.waits_for {
        line("waits for", &Value::from(wait.as_str()));
    }
    let at = |path: &[&str]| {
        let mut steps = path.iter();
        let first = steps.next().and_then(|name| erasure.proof.get(*name));
        steps.fold(first, |value, name| value?.get(*name)).cloned().unwrap_or_default()
    };
    line("log begins at", &at(&["log", "start"]));
    line("log may hold", &at(&["log", "may_hold"]));
    line("checkpoints left", &at(&["checkpoints", "left"]));
    line("checkpoints removed", &at(&["checkpoints", "removed"]));
    line("checkpoints may hold", &at(&["checkpoints", "may_hold"]));
    line("copies", &at(&["copies"]));
    line("elsewhere", &at(&["elsewhere"]));
    out
}

/// Spells what a replay gave.
pub(crate) fn verified(verified: &Verified) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => one_line(text),
        other => other.to_string(),
    };
    format!(
        "revision   {}\ntext hash  {}\nreplayed   {}\nequal      {}\n",
        verified.rev,
        plain(&verified.text_hash),
        plain(&verified.replayed),
        if verified.equal { "yes" } else { "no" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doc::model::{Hunk, Span};
    use crate::types::Revision;

    #[test]
    fn blame_has_one_row_for_each_piece_of_a_line() {
        let span = |rev: Option<u64>, text: &str| Span {
            text: text.to_owned(),
            rev: rev.map(Revision),
            author: rev.map(|_| "ada".to_owned()),
            at: rev.map(|_| "2026-01-02T03:04:05Z".to_owned()),
        };
        let spans = vec![span(None, "old"), span(Some(12), "new\nx\u{1b}")];
        let expected = "\
REV  AT                    AUTHOR  TEXT
  ?  ?                     ?       old
 12  2026-01-02T03:04:05Z  ada     new\\n
 12  2026-01-02T03:04:05Z  ada     x\\u{1b}
";
        assert_eq!(blame(&Blame { rev: Revision(12), spans, next: None }), expected);
    }

    #[test]
    fn diffs_show_changes_and_what_is_near() {
        let hunk = |kind, text: &str| Hunk { kind, text: text.to_owned() };
        let lines =
            |range: std::ops::Range<u32>| range.map(|n| format!("{n}\n")).collect::<String>();
        for (hunks, expected) in [
            (vec![], "".to_owned()),
            (
                vec![
                    hunk(HunkKind::Same, "a "),
                    hunk(HunkKind::Deleted, "b"),
                    hunk(HunkKind::Inserted, "c"),
                ],
                "a [-b-]{+c+}\n".to_owned(),
            ),
            (
                vec![
                    hunk(HunkKind::Same, &lines(0..10)),
                    hunk(HunkKind::Inserted, "x\n"),
                    hunk(HunkKind::Same, &lines(0..10)),
                    hunk(HunkKind::Deleted, "\u{7}"),
                    hunk(HunkKind::Same, &lines(0..5)),
                ],
                format!(
                    "... 7 lines ...\n{}{{+x\n+}}{}... 4 lines ...\n{}[-\\u{{7}}-]{}\
                     ... 2 lines ...\n",
                    lines(7..10),
                    lines(0..3),
                    lines(7..10),
                    lines(0..3)
                ),
            ),
        ] {
            let (from, to) = (Revision(1), Revision(2));
            let given = Diff { from, to, op: Value::Null, hunks, next: None };
            assert_eq!(diff(&given), expected);
        }
    }
}
