//! The known key that a mistyped one most likely meant.

/// Returns the candidate nearest to `key`, if one is near enough to be meant: the same name in
/// another section, or few letters away.
pub(crate) fn nearest<'a>(key: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = |key: &'a str| key.rsplit('.').next().unwrap_or(key);
    let wanted = key.rsplit('.').next().unwrap_or(key);
    let away = |candidate: &'a str| match name(candidate) == wanted {
        true => 0,
        false => distance(key, candidate).min(1 + distance(wanted, name(candidate))),
    };
    let (away, best) = candidates.map(|candidate| (away(candidate), candidate)).min()?;
    (away <= 1 + wanted.len() / 4).then_some(best)
}

/// Counts the letters to insert, delete or replace to make one text of the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in
            [("", "", 0), ("", "ab", 2), ("ab", "", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn a_mistyped_key_finds_the_one_that_was_meant() {
        let known = [
            "node",
            "log",
            "listen",
            "document.idle-after",
            "document.tick",
            "document.tick-large",
        ];
        for (key, expected) in [
            ("document.idle-aftr", Some("document.idle-after")),
            ("document.idle_after", Some("document.idle-after")),
            ("idle-after", Some("document.idle-after")),
            ("docment.idle-after", Some("document.idle-after")),
            ("document.tik", Some("document.tick")),
            ("listn", Some("listen")),
            ("lig", Some("log")),
            ("port", None),
            ("service-host", None),
            ("bin", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, known.into_iter()), expected, "{key}");
        }
    }
}
