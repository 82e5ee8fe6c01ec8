//! Objectives on a report, such as `ack_p99<50ms` or `operations_per_second>20000`.

use std::str::FromStr;

use anyhow::{Context, bail};

use crate::load::Report;

/// A bound on one figure of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    figure: Figure,
    below: bool,
    bound: f64,
    spelled: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    P50,
    P99,
    P999,
    Max,
    Rate,
}

const FIGURES: [(&str, Figure); 5] = [
    ("ack_p50", Figure::P50),
    ("ack_p99", Figure::P99),
    ("ack_p999", Figure::P999),
    ("ack_max", Figure::Max),
    ("operations_per_second", Figure::Rate),
];

impl Slo {
    /// Tells what is wrong where the report misses the objective.
    pub fn missed(&self, report: &Report) -> Option<String> {
        let value = match self.figure {
            Figure::P50 => report.ack_p50_ms,
            Figure::P99 => report.ack_p99_ms,
            Figure::P999 => report.ack_p999_ms,
            Figure::Max => report.ack_max_ms,
            Figure::Rate => report.operations_per_second,
        };
        let met = if self.below { value < self.bound } else { value > self.bound };
        (!met).then(|| format!("{}: it is {value:.2}", self.spelled))
    }
}

impl FromStr for Slo {
    type Err = anyhow::Error;

    fn from_str(spelled: &str) -> anyhow::Result<Self> {
        let below = spelled.contains('<');
        let (name, bound) = spelled
            .split_once(['<', '>'])
            .context("an objective is FIGURE<BOUND or FIGURE>BOUND, such as ack_p99<50ms")?;
        let Some((_, figure)) = FIGURES.iter().find(|(known, _)| *known == name.trim()) else {
            let known: Vec<_> = FIGURES.iter().map(|(name, _)| *name).collect();
            bail!("{name:?} is no figure: it is one of {}", known.join(", "));
        };
        let bound = match figure {
            Figure::Rate => bound.trim().parse().context("the bound is a number")?,
            Figure::P50 | Figure::P99 | Figure::P999 | Figure::Max => {
                let duration = bound.trim().parse::<humantime_serde::re::humantime::Duration>();
                duration.context("the bound is a duration such as 50ms")?.as_secs_f64() * 1_000.0
            }
        };
        Ok(Self { figure: *figure, below, bound, spelled: spelled.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::Measured;

    #[test]
    fn objectives_are_parsed_and_judged() {
        let mut measured = Measured::default();
        measured.operations = 100;
        measured.ack(Duration::from_millis(10));
        let report = Report::new("x", (1, 1), &measured, Duration::from_secs(1), Vec::new());
        for met in ["ack_p99<11ms", "ack_p50 > 9ms", "operations_per_second>99"] {
            let slo: Slo = met.parse().unwrap();
            assert_eq!(slo.missed(&report), None, "{met}");
        }
        for missed in ["ack_p99<9ms", "ack_max<1us", "operations_per_second>100"] {
            let slo: Slo = missed.parse().unwrap();
            assert!(slo.missed(&report).is_some(), "{missed}");
        }
        for bad in ["", "ack_p99", "ack_p98<1ms", "ack_p99<1", "operations_per_second>x"] {
            assert!(bad.parse::<Slo>().is_err(), "{bad}");
        }
    }
}
