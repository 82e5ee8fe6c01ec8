//! Rust source as the rules see it: without comments and literals, and without what only tests see.

/// Replaces comments and the contents of literals by spaces, so that what is left is code at its
/// own line and column.
pub(crate) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match skip(&chars, at) {
            Some(end) => end,
            None => {
                out.push(chars[at]);
                at += 1;
                continue;
            }
        };
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Returns the end of the comment or literal that begins at `at`, if one does.
fn skip(chars: &[char], at: usize) -> Option<usize> {
    let find = |from: usize, wanted: &str| {
        let wanted: Vec<char> = wanted.chars().collect();
        let hit = chars[from..].windows(wanted.len()).position(|window| window == wanted);
        hit.map_or(chars.len(), |hit| from + hit + wanted.len())
    };
    let starts = |text: &str| chars[at..].iter().copied().take(text.len()).eq(text.chars());
    let in_word = at > 0 && is_word(chars[at - 1]);
    if starts("//") {
        let end = chars[at..].iter().position(|c| *c == '\n');
        return Some(end.map_or(chars.len(), |end| at + end));
    }
    if starts("/*") {
        return Some(find(at + 2, "*/"));
    }
    if !in_word && (starts("r\"") || starts("r#") || starts("br\"") || starts("br#")) {
        let hashes_at = at + 1 + usize::from(starts("b"));
        let hashes = chars[hashes_at..].iter().take_while(|c| **c == '#').count();
        if chars.get(hashes_at + hashes) == Some(&'"') {
            return Some(find(hashes_at + hashes + 1, &format!("\"{}", "#".repeat(hashes))));
        }
    }
    match chars[at] {
        '"' => Some(closed(chars, at, '"')),
        // A character, not a lifetime.
        '\'' if chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => {
            Some(closed(chars, at, '\''))
        }
        _ => None,
    }
}

fn closed(chars: &[char], at: usize, quote: char) -> usize {
    let mut at = at + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// Replaces what stands under `#[cfg(test)]` by spaces; takes and returns [`code`].
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = item.find(['{', ';']).map_or(item.len(), |open| match item.as_bytes()[open] {
            b'{' => open + block(&item[open..]),
            _ => open + 1,
        });
        out.extend(item[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

/// Returns the length of the block that the text begins with, braces included.
fn block(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Lists the modules of a file that only tests see: `#[cfg(test)] mod laws;`.
pub(crate) fn test_modules(code: &str) -> Vec<String> {
    let items = code.split("#[cfg(test)]").skip(1);
    let name = |item: &str| {
        let (name, _) = item.trim_start().strip_prefix("mod ")?.split_once(';')?;
        name.chars().all(is_word).then(|| name.to_owned())
    };
    items.filter_map(name).collect()
}

/// Finds each place where a word stands alone, as (line from 1, what follows it).
pub(crate) fn words<'a>(code: &'a str, word: &str) -> Vec<(usize, &'a str)> {
    let alone = |at: usize| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    };
    let places = code.match_indices(word).map(|(at, _)| at).filter(|at| alone(*at));
    let found = places.map(|at| {
        let line = 1 + code[..at].matches('\n').count();
        (line, &code[at + word.len()..])
    });
    found.collect()
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn comments_and_literals_are_no_code() {
    for (text, expected) in [
        ("a // crate::b\nc", "a            \nc"),
        ("/* x\n */d", "    \n   d"),
        (r#"f("cr\"ate::x", 'a', b'\'')"#, "f(            ,    , b    )"),
        (
            r##"r#"a"b"# + r"\" + rx"##,
            "         + r\"\\\" + rx".replace("r\"\\\"", "    ").as_str(),
        ),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
    ] {
        assert_eq!(code(text), expected);
    }
}

#[test]
fn what_only_tests_see_is_found() {
    let text = "a;\n#[cfg(test)]\nmod tests {\n fn b() { }\n}\n#[cfg(test)] mod laws;\nc;";
    let left: Vec<String> = without_tests(text).lines().map(|l| l.trim().to_owned()).collect();
    assert_eq!(left, ["a;", "", "", "", "", "", "c;"]);
    assert_eq!(test_modules(text), ["laws"]);
    assert_eq!(words("serde::a;\nserde_json::b", "serde"), [(1, "::a;\nserde_json::b")]);
}
