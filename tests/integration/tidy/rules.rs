//! The rules of the tree, each a function of a file's path and text.

use crate::tidy::source::{code, is_word, without_tests, words};

const FILE_LINES_MAX: usize = 600;
const LINE_CHARS_MAX: usize = 100;

/// Says which modules a module may import. Layer 0 may import what stands before it in layer 0,
/// and everything above it may import all of layer 0.
const IMPORTS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("access", &["types"]),
    ("broken", &[]),
    ("clock", &["types"]),
    ("folder", &[]),
    ("shares", &[]),
    ("task", &["types", "clock"]),
    ("text", &["types", "clock", "task"]),
    ("crdt", LAYER_0),
    ("wire", LAYER_0),
    ("auth", LAYER_0),
    ("log", LAYER_0),
    ("checkpoint", LAYER_0),
    ("cluster", &["log"]),
    ("doc", &["crdt", "log", "checkpoint"]),
    ("shard", &["cluster", "doc", "crdt", "log", "checkpoint"]),
    ("relay", &["shard", "doc"]),
    ("router", &["relay", "shard", "doc"]),
    ("listener", &[]),
    ("edge", &["listener", "router", "relay", "doc", "wire", "auth"]),
    ("admin", &["listener", "router", "relay", "shard", "cluster", "auth"]),
    ("client", &["wire"]),
    ("load", &["client", "wire", "audit"]),
    ("audit", &["log", "checkpoint", "crdt"]),
    ("telemetry", LAYER_0),
    (
        "config",
        &[
            "admin",
            "auth",
            "cluster",
            "doc",
            "shard",
            "relay",
            "edge",
            "log",
            "checkpoint",
            "telemetry",
        ],
    ),
    ("node", ANYTHING),
    ("cli", ANYTHING),
    ("testing", ANYTHING),
    ("lib", ANYTHING),
    ("main", &["cli"]),
];
const LAYER_0: &[&str] =
    &["types", "access", "broken", "clock", "folder", "shares", "task", "text"];
const ANYTHING: &[&str] = &["*"];

/// Says where a crate or a type may be named; `*` stands for any folders.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    ("diamond_types", &["src/crdt/"]),
    ("jumprope", &["src/text/rope.rs"]),
    (
        "redb",
        &[
            "src/log/embedded/",
            "src/log/embedded.rs",
            "src/checkpoint/embedded/",
            "src/checkpoint/embedded.rs",
        ],
    ),
    ("rdkafka", &["src/log/kafka/"]),
    ("scylla", &["src/checkpoint/cql/"]),
    (
        "rustls",
        &[
            "src/checkpoint/cql/store.rs",
            "src/client/tls.rs",
            "src/edge/purge.rs",
            "src/edge/port/tls.rs",
            "src/node/issuer.rs",
            "src/relay/tls.rs",
        ],
    ),
    ("tokio_rustls", &["src/client/tls.rs", "src/edge/port/tls.rs", "src/relay/tls.rs"]),
    ("hashring", &["src/cluster/ring.rs"]),
    ("tokio_tungstenite", &["src/edge/", "src/client/"]),
    (
        "utoipa",
        &[
            "src/edge/api/",
            "src/edge/model.rs",
            "src/edge/routes.rs",
            "src/edge/assets.rs",
            "src/edge/pages.rs",
            "src/edge/socket.rs",
            "src/edge/doors/login.rs",
        ],
    ),
    ("jsonwebtoken", &["src/auth/"]),
    ("ractor", &["*/actor.rs", "*/handle.rs"]),
    ("prometheus", &["*/metrics.rs", "src/telemetry.rs"]),
    ("reqwest", &["src/cli/"]),
    (
        "hyper_rustls",
        &["src/client/http.rs", "src/client/tls.rs", "src/edge/purge.rs", "src/node/issuer.rs"],
    ),
    ("SystemTime", &["src/clock.rs"]),
    (
        "serde",
        &[
            "src/types.rs",
            "src/access.rs",
            "src/wire/",
            "src/auth/json.rs",
            "src/log/codec.rs",
            "src/config/",
            "src/cli/",
            "src/telemetry.rs",
            "*/extract.rs",
            "*/record.rs",
            "*/snapshot.rs",
            "*/message.rs",
            "*/model.rs",
            "*/config.rs",
        ],
    ),
];

/// Returns every breach of a rule by one file, as `path:line: what`. `for_tests` tells that only
/// tests see the file.
pub(crate) fn breaches(path: &str, text: &str, for_tests: bool) -> Vec<String> {
    let mut found = shape(text);
    if !for_tests {
        let code = without_tests(&code(text));
        found.extend(parents(&code));
        found.extend(names(path, &code));
        found.extend(imports(path, &code));
    }
    if path.ends_with("/mod.rs") && !for_tests {
        found.extend(bodies(&code(text)));
    }
    found.sort();
    found.into_iter().map(|(line, what)| format!("{path}:{line}: {what}")).collect()
}

type Found = Vec<(usize, String)>;

fn shape(text: &str) -> Found {
    let mut found = Vec::new();
    if !text.starts_with("//! ") {
        found.push((1, "the file does not begin with //! and what it is".to_owned()));
    }
    let count = text.lines().count();
    if count > FILE_LINES_MAX {
        found.push((count, format!("{count} lines, {FILE_LINES_MAX} are allowed: split it")));
    }
    for (at, line) in text.lines().enumerate() {
        let length = line.chars().count();
        if length > LINE_CHARS_MAX {
            found.push((at + 1, format!("{length} characters, {LINE_CHARS_MAX} are allowed")));
        }
    }
    found
}

fn parents(code: &str) -> Found {
    let paths = words(code, "super").into_iter().filter(|(_, rest)| rest.starts_with("::"));
    paths.map(|(line, _)| (line, "super:: outside tests: begin with crate::".to_owned())).collect()
}

fn names(path: &str, code: &str) -> Found {
    let mut found = Vec::new();
    for (name, places) in NAMED_ONLY_IN {
        let allowed = |place: &str| match place.strip_prefix('*') {
            Some(end) => path.ends_with(end),
            None => path.starts_with(place),
        };
        if places.iter().any(|place| allowed(place)) {
            continue;
        }
        let hits = words(code, name).into_iter();
        found.extend(
            hits.map(|(line, _)| (line, format!("{name} belongs in {}", places.join(", ")))),
        );
    }
    found
}

fn imports(path: &str, code: &str) -> Found {
    let Some(own) = path.strip_prefix("src/").and_then(|rest| rest.split(['/', '.']).next()) else {
        return Vec::new();
    };
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == own) else {
        return vec![(1, format!("module {own} has no row in the import table"))];
    };
    let in_layer_0 = LAYER_0.contains(&own);
    let is_allowed = |name: &str| {
        name == own
            || allowed.contains(&name)
            || *allowed == ANYTHING
            || (!in_layer_0 && LAYER_0.contains(&name))
    };
    let mut found = Vec::new();
    for (line, rest) in words(code, "crate").into_iter().chain(words(code, "quire")) {
        for name in rest.strip_prefix("::").map(first_names).unwrap_or_default() {
            if !is_allowed(&name) {
                found.push((line, format!("{own} may not import {name}")));
            }
        }
    }
    found
}

/// Returns the first names of a path, or of each path of a group in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect();
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut depth, mut names, mut begin) = (0_usize, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[begin..at]));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name: &String| !name.is_empty());
    names
}

/// Finds function bodies outside traits: a `mod.rs` holds a contract, no work.
fn bodies(code: &str) -> Found {
    let mut found = Vec::new();
    let mut blocks = Vec::new();
    let mut head = String::new();
    let mut line = 1;
    for c in code.chars() {
        line += usize::from(c == '\n');
        match c {
            '{' => {
                let is_trait = !words(&head, "trait").is_empty();
                let is_fn = words(&head, "fn").iter().any(|(_, rest)| !rest.starts_with('('));
                if is_fn && !blocks.contains(&true) {
                    found.push((line, "a function body in mod.rs: move it to a file".to_owned()));
                }
                blocks.push(is_trait && !is_fn);
                head.clear();
            }
            '}' => {
                blocks.pop();
                head.clear();
            }
            ';' => head.clear(),
            _ => head.push(c),
        }
    }
    found
}
