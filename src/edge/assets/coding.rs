//! Which coding of a file a client takes (`Accept-Encoding`), of those that were made when the
//! pages were built.

use axum::http::{HeaderMap, header};

/// A coding of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Brotli.
    Brotli,
    /// Gzip.
    Gzip,
    /// None.
    Plain,
}

impl Coding {
    /// All of them, the smallest file first.
    pub(crate) const ALL: [Self; 3] = [Self::Brotli, Self::Gzip, Self::Plain];

    /// Returns its name in headers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Plain => "identity",
        }
    }

    /// Returns what the name of a file in this coding ends with.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
            Self::Plain => "",
        }
    }

    /// Returns the codings that a client takes, the best first. The plain file is always one: a
    /// client that wants none of them gets what it can throw away.
    pub(crate) fn taken(headers: &HeaderMap) -> Vec<Self> {
        let lists = headers.get_all(header::ACCEPT_ENCODING).into_iter();
        let lists = lists.filter_map(|list| list.to_str().ok());
        let weights: Vec<_> = lists.flat_map(|list| list.split(',')).filter_map(weight).collect();
        let weight_of = |coding: Self| {
            let named = |name: &str| weights.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
            let said = named(coding.name()).or_else(|| named("*")).map(|(_, weight)| *weight);
            match coding {
                Self::Brotli | Self::Gzip => said.unwrap_or(0),
                // Not spoken of, it is what is left.
                Self::Plain => said.unwrap_or(1).max(1),
            }
        };
        let mut taken: Vec<_> = Self::ALL.into_iter().filter(|one| weight_of(*one) > 0).collect();
        taken.sort_by_key(|coding| std::cmp::Reverse(weight_of(*coding)));
        taken
    }
}

/// Reads `name;q=0.5` as the name and thousandths; nothing where it is not written so.
fn weight(part: &str) -> Option<(&str, u32)> {
    let (name, parameters) = part.split_once(';').map_or((part, None), |(a, b)| (a, Some(b)));
    let thousandths = match parameters {
        None => 1_000,
        Some(parameters) => {
            let (key, value) = parameters.trim().split_once('=')?;
            let value: f32 = value.trim().parse().ok()?;
            let is_weight = key.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&value);
            is_weight.then_some((value * 1_000.0).round() as u32)?
        }
    };
    Some((name.trim(), thousandths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_coding_that_a_client_takes_comes_first() {
        use Coding::{Brotli, Gzip, Plain};
        for (lists, expected) in [
            (&[][..], &[Plain][..]),
            (&[""], &[Plain]),
            (&["gzip, deflate, br"], &[Brotli, Gzip, Plain]),
            (&["gzip", "br"], &[Brotli, Gzip, Plain]),
            (&["GZIP;q=0.5, Br ; Q=0.4"], &[Gzip, Brotli, Plain]),
            (&["br;q=0, gzip;q=0.001"], &[Gzip, Plain]),
            (&["identity, gzip;q=0.9"], &[Plain, Gzip]),
            (&["*"], &[Brotli, Gzip, Plain]),
            (&["*;q=0"], &[Plain]),
            (&["identity;q=0, *;q=0.1"], &[Brotli, Gzip, Plain]),
            (&["br;q=2, gzip;q=x, zstd"], &[Plain]),
            (&["br;level=1"], &[Plain]),
            (&["br;q=nan"], &[Plain]),
        ] {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(header::ACCEPT_ENCODING, list.parse().unwrap());
            }
            assert_eq!(Coding::taken(&headers), expected, "{lists:?}");
        }
    }
}
