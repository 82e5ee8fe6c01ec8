//! The HTTP API for documents: text, edits, history and changes on somebody's behalf.
//!
//! No cache keeps an answer (`edge/headers/table.rs`). Clients keep what they have by its `ETag`,
//! which names the revision.

pub(in crate::edge) mod apply;
pub(in crate::edge) mod documents;
pub(in crate::edge) mod erase;
pub(in crate::edge) mod export;
pub(in crate::edge) mod history;
pub(in crate::edge) mod openapi;
pub(in crate::edge) mod rights;
pub(in crate::edge) mod tag;
pub(in crate::edge) mod versions;

use jiff::Timestamp as Time;

use crate::edge::problem::Problem;
use crate::types::Timestamp;

pub(in crate::edge::api) type Answer<T> = Result<T, Problem>;

/// Returns how many rows a page has: what was asked for, within bounds.
pub(in crate::edge::api) fn rows(
    asked: Option<u32>,
    unasked: usize,
    most: usize,
) -> Result<usize, Problem> {
    let Some(asked) = asked else { return Ok(unasked) };
    match usize::try_from(asked) {
        Ok(rows) if (1..=most).contains(&rows) => Ok(rows),
        Ok(_) | Err(_) => Err(Problem::bad_request("bad-query", &format!("limit: 1 to {most}"))),
    }
}

/// Cuts a page out of pieces that are all there; returns where the next one begins.
pub(in crate::edge::api) fn page<T>(
    pieces: Vec<T>,
    from: Option<u32>,
    rows: usize,
) -> (Vec<T>, Option<u64>) {
    let from = usize::try_from(from.unwrap_or_default()).unwrap_or(usize::MAX);
    let end = from.saturating_add(rows);
    let next = (end < pieces.len()).then_some(end as u64);
    (pieces.into_iter().skip(from).take(rows).collect(), next)
}

/// Spells a time as RFC 3339.
pub(in crate::edge) fn spelled(at: Timestamp) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    Time::from_millisecond(millis).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_until_there_is_no_more() {
        let all = || (0..5).collect::<Vec<_>>();
        assert_eq!(page(all(), None, 2), (vec![0, 1], Some(2)));
        assert_eq!(page(all(), Some(2), 2), (vec![2, 3], Some(4)));
        assert_eq!(page(all(), Some(4), 2), (vec![4], None));
        assert_eq!(page(all(), Some(3), 2), (vec![3, 4], None));
        assert_eq!(page(all(), Some(u32::MAX), 2), (vec![], None));
    }
}
