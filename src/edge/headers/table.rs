//! The table of routes: what each is for, who may keep its answers, and what its pages may load.
//!
//! It decides alone: [`headers`](crate::edge::headers) holds every answer to its row, and an answer
//! of a route that has none is kept by nobody. docs/HTTP.md is this table, spelled.

/// Says who may keep the answers of a route, where they are as they should be; no other answer is
/// ever kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Nobody.
    Nobody,
    /// Nobody; they may hold what is somebody's own.
    NobodyElse,
    /// Everybody, who asks again each time whether it is still the same.
    Checked,
    /// Everybody, for a year: the name changes with what it holds.
    Forever,
    /// Everybody, for as long as the route says.
    AsSaid,
}

/// Says what the answers of a route may load where a browser shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loads {
    /// Nothing.
    Nothing,
    /// What the editor needs, from the server itself.
    Editor,
    /// A style sheet and an icon, from the server itself.
    Styles,
}

/// Describes a route.
#[derive(Debug)]
pub(crate) struct Row {
    /// The methods that it answers; `HEAD` wherever there is `GET`.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is for those who read the table"))]
    pub(crate) methods: &'static str,
    /// Its path, as the routes are made of it.
    pub(crate) path: &'static str,
    /// Who may keep its answers.
    pub(crate) keeping: Keeping,
    /// What they may load.
    pub(crate) loads: Loads,
}

/// What holds for addresses at which there is nothing.
pub(crate) const ELSEWHERE: Row = row("", "", Keeping::Nobody, Loads::Nothing);

/// Lists every route of the clients' port.
#[rustfmt::skip] // one table
pub(crate) const TABLE: &[Row] = &[
    row("GET", "/",                         Keeping::Checked,    Loads::Editor),
    row("GET", "/login",                    Keeping::Checked,    Loads::Editor),
    row("GET", "/d/{doc}",                  Keeping::Checked,    Loads::Editor),
    row("GET", "/assets/{name}",            Keeping::Forever,    Loads::Nothing),
    row("DELETE, GET, POST", "/auth/session", Keeping::NobodyElse, Loads::Nothing),
    row("POST", "/auth/ticket",             Keeping::NobodyElse, Loads::Nothing),
    row("GET", "/pub/{doc}",                Keeping::AsSaid,     Loads::Styles),
    row("GET", "/ws/{doc}",                 Keeping::NobodyElse, Loads::Nothing),
    row("DELETE, GET, POST, PUT", "/v1/docs/{doc}", Keeping::NobodyElse, Loads::Nothing),
    row("GET", "/v1/docs/{doc}/blame", Keeping::NobodyElse, Loads::Nothing),
    row("POST", "/v1/docs/{doc}/cut", Keeping::NobodyElse, Loads::Nothing),
    row("GET", "/v1/docs/{doc}/diff", Keeping::NobodyElse, Loads::Nothing),
    row("POST", "/v1/docs/{doc}/erase", Keeping::NobodyElse, Loads::Nothing),
    row("GET", "/v1/docs/{doc}/export", Keeping::NobodyElse, Loads::Nothing),
    row("GET", "/v1/docs/{doc}/history", Keeping::NobodyElse, Loads::Nothing),
    row("POST", "/v1/docs/{doc}/ops", Keeping::NobodyElse, Loads::Nothing),
    row("POST", "/v1/docs/{doc}/restore", Keeping::NobodyElse, Loads::Nothing),
    row("GET, PUT", "/v1/docs/{doc}/rights", Keeping::NobodyElse, Loads::Nothing),
    row("POST", "/v1/docs/{doc}/undelete", Keeping::NobodyElse, Loads::Nothing),
    row("GET", "/v1/docs/{doc}/verify", Keeping::NobodyElse, Loads::Nothing),
    row("GET, POST", "/v1/docs/{doc}/versions", Keeping::NobodyElse, Loads::Nothing),
    row("GET", "/v1/openapi.json", Keeping::Nobody, Loads::Nothing),
    row("GET", "/livez",                    Keeping::Nobody,     Loads::Nothing),
    row("GET", "/readyz",                   Keeping::Nobody,     Loads::Nothing),
    row("GET", "/metrics",                  Keeping::Nobody,     Loads::Nothing),
];

const fn row(methods: &'static str, path: &'static str, keeping: Keeping, loads: Loads) -> Row {
    Row { methods, path, keeping, loads }
}

/// Returns the row of a route.
pub(crate) fn find(path: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.path == path)
}

impl Keeping {
    /// Returns `Cache-Control` of an answer that is as it should be, unless its route says it.
    pub(crate) const fn said(self) -> Option<&'static str> {
        match self {
            Self::Nobody => Some("no-store"),
            Self::NobodyElse => Some("private, no-store"),
            Self::Checked => Some("no-cache"),
            Self::Forever => Some("public, max-age=31536000, immutable"),
            Self::AsSaid => None,
        }
    }

    /// Tells whether answers may be kept at all.
    pub(crate) const fn keeps(self) -> bool {
        match self {
            Self::Nobody | Self::NobodyElse => false,
            Self::Checked | Self::Forever | Self::AsSaid => true,
        }
    }
}

impl Loads {
    /// Returns `Content-Security-Policy`.
    pub(crate) const fn policy(self) -> &'static str {
        match self {
            Self::Nothing => "default-src 'none'; frame-ancestors 'none'",
            Self::Editor => {
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                 img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            }
            Self::Styles => {
                "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Collects the paths of which the sources of the edge make routes.
    fn routes(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                routes(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // In two parts, so that this line is none.
            let calls = text.split(concat!(".rou", "te(")).skip(1);
            found.extend(calls.map(|call| {
                let call = call.trim_start();
                let literal = call.strip_prefix('"').expect("a path, spelled out");
                literal.split('"').next().unwrap_or_default().to_owned()
            }));
        }
    }

    #[test]
    fn each_route_has_its_row_and_each_row_its_route() {
        let mut found = BTreeSet::new();
        routes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/edge"), &mut found);
        let rows: BTreeSet<_> = TABLE.iter().map(|row| row.path.to_owned()).collect();
        assert_eq!(found, rows);
        assert_eq!(rows.len(), TABLE.len(), "a path stands in one row");
    }

    #[test]
    fn the_documentation_is_the_table() {
        let name = |loads| match loads {
            Loads::Nothing => "nothing",
            Loads::Editor => "editor",
            Loads::Styles => "styles",
        };
        let said = |keeping: Keeping| match keeping.said() {
            Some(said) => format!("`{said}`"),
            None => "by the page".to_owned(),
        };
        let mut lines = vec![
            "| methods | path | `Cache-Control` of what is as it should be | may load |".to_owned(),
            "|---|---|---|---|".to_owned(),
        ];
        lines.extend(TABLE.iter().map(|row| {
            let Row { methods, path, keeping, loads } = row;
            format!("| {methods} | `{path}` | {} | {} |", said(*keeping), name(*loads))
        }));
        let policies = [Loads::Nothing, Loads::Editor, Loads::Styles]
            .map(|loads| format!("| {} | `{}` |", name(loads), loads.policy()));
        let text = include_str!("../../../docs/HTTP.md");
        for table in [lines.join("\n"), policies.join("\n")] {
            assert!(text.contains(&table), "docs/HTTP.md has to say:\n{table}");
        }
    }
}
