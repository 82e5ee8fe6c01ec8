//! The example file: every option with its meaning, what it may be set to, and its default.

use std::fmt::Write;

use crate::config::options::{OPTIONS, Opt, SECTIONS};

const COLUMNS: usize = 98;

const HEAD: &str = "\
The configuration of a Quire node: every option, set to its default.

This file is what `quire config example` prints. A value of the file gives way to the
environment, and both to flags:
  environment  QUIRE_LISTEN=0.0.0.0:8080  QUIRE_DOCUMENT__IDLE_AFTER=5m
               (QUIRE_, the section, two underscores, the key with _ for -)
  flags        --listen 0.0.0.0:8080  --set document.idle-after=5m
`quire config check` reports every mistake at once; `quire config show` prints what holds.

Durations have a unit: \"150ms\", \"10s\", \"5m\", \"12h\", \"7d\".
Sizes have one, too: \"64KiB\", \"1MiB\"; without one they are bytes.";

/// Spells the example file.
pub fn example() -> String {
    let mut out = String::new();
    comment(&mut out, HEAD);
    write_section(&mut out, None);
    for (section, meaning) in SECTIONS {
        out.push('\n');
        comment(&mut out, meaning);
        out.push('[');
        out.push_str(section);
        out.push_str("]\n");
        write_section(&mut out, Some(section));
    }
    out
}

fn write_section(out: &mut String, section: Option<&str>) {
    for option in OPTIONS {
        let (of, name) = match option.key.split_once('.') {
            Some((section, name)) => (Some(section), name),
            None => (None, option.key),
        };
        if of == section {
            write_option(out, name, option);
        }
    }
}

fn write_option(out: &mut String, name: &str, option: &Opt) {
    out.push('\n');
    comment(out, option.meaning);
    comment(out, &format!("{}; default {}.", capital(&option.kind.to_string()), option.default));
    writeln!(out, "{name} = {}", option.default).expect("a string takes all that is written");
}

/// Writes text as comment lines, broken at spaces.
fn comment(out: &mut String, text: &str) {
    for line in text.lines() {
        let mut width = 1;
        out.push('#');
        for word in line.split(' ') {
            if width > 1 && width + 1 + word.chars().count() > COLUMNS {
                out.push_str("\n#");
                width = 1;
            }
            if !line.is_empty() {
                out.push(' ');
            }
            out.push_str(word);
            width += 1 + word.chars().count();
        }
        out.push('\n');
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
