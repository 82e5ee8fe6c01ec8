//! Finds what two lists have in common (Myers, "An O(ND) Difference Algorithm", greedy form), with
//! a cap on the work.

/// The most differences that are looked for in one call: they cost their square in memory.
const DIFFERENCES_MAX: usize = 512;

/// A stretch that is the same in both lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::text) struct Match {
    pub(in crate::text) a: usize,
    pub(in crate::text) b: usize,
    pub(in crate::text) len: usize,
}

/// Returns the stretches that a shortest edit keeps, in order, or `None` where finding them would
/// take more than `work` steps; the steps taken are subtracted from it.
pub(in crate::text) fn matches(a: &[u32], b: &[u32], work: &mut usize) -> Option<Vec<Match>> {
    let (length_a, length_b) = (index(a.len())?, index(b.len())?);
    let rounds = DIFFERENCES_MAX.min(a.len() + b.len());
    // How far in `a` each diagonal (place in `a` minus place in `b`) is reached; one entry of
    // margin on both sides.
    let zero = rounds + 1;
    let mut reached = vec![0isize; 2 * zero + 1];
    let mut trace = Vec::new();
    for round in 0..=rounds {
        let (low, high) = (zero - round, zero + round);
        for slot in (low..=high).step_by(2) {
            let diagonal = index(slot)? - index(zero)?;
            let mut x = step(&reached, slot, low, high);
            let start = x;
            while x < length_a && x - diagonal < length_b && same(a, b, x, x - diagonal) {
                x += 1;
            }
            reached[slot] = x;
            *work = work.checked_sub(1 + (x - start).unsigned_abs())?;
            if x >= length_a && x - diagonal >= length_b {
                return Some(walk_back(&trace, round, (x, x - diagonal)));
            }
        }
        trace.push(reached[low..=high].to_vec());
    }
    None
}

/// Returns where a diagonal is entered: from the one that is further, by one deletion or insertion.
fn step(reached: &[isize], slot: usize, low: usize, high: usize) -> isize {
    if low == high {
        0
    } else if slot == low || (slot != high && reached[slot - 1] < reached[slot + 1]) {
        reached[slot + 1]
    } else {
        reached[slot - 1] + 1
    }
}

fn same(a: &[u32], b: &[u32], x: isize, y: isize) -> bool {
    let (x, y) = (usize::try_from(x), usize::try_from(y));
    matches!((x, y), (Ok(x), Ok(y)) if a.get(x) == b.get(y))
}

/// Follows the rounds from the end back to the start.
fn walk_back(trace: &[Vec<isize>], rounds: usize, end: (isize, isize)) -> Vec<Match> {
    let mut found = Vec::new();
    let (mut x, mut y) = end;
    for round in (1..=rounds).rev() {
        let last = &trace[round - 1];
        // In `last`, the diagonal -(round - 1) is entry 0.
        let entry = |diagonal: isize| {
            let slot = usize::try_from(diagonal + round as isize - 1).ok()?;
            last.get(slot).copied()
        };
        let diagonal = x - y;
        let (below, above) = (entry(diagonal - 1), entry(diagonal + 1));
        let inserted = above.is_some() && (below.is_none() || below < above);
        let came_from = if inserted { above } else { below };
        let from_x = came_from.expect("a diagonal is entered from a neighbour");
        let from_y = from_x - if inserted { diagonal + 1 } else { diagonal - 1 };
        let start_x = if inserted { from_x } else { from_x + 1 };
        push(&mut found, start_x, start_x - diagonal, x - start_x);
        (x, y) = (from_x, from_y);
    }
    push(&mut found, 0, 0, x);
    found.reverse();
    found
}

fn push(found: &mut Vec<Match>, a: isize, b: isize, len: isize) {
    if len > 0 {
        let [a, b, len] = [a, b, len].map(isize::unsigned_abs);
        found.push(Match { a, b, len });
    }
}

fn index(value: usize) -> Option<isize> {
    isize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(a: &str, b: &str) -> Option<String> {
        let ids = |text: &str| text.chars().map(u32::from).collect::<Vec<_>>();
        let (from, to) = (ids(a), ids(b));
        let found = matches(&from, &to, &mut 100_000)?;
        let mut last = (0, 0);
        let mut out = String::new();
        for Match { a, b, len } in found {
            assert!(a >= last.0 && b >= last.1, "in order");
            assert_eq!(from[a..a + len], to[b..b + len]);
            last = (a + len, b + len);
            out.extend(from[a..a + len].iter().filter_map(|id| char::from_u32(*id)));
        }
        Some(out)
    }

    #[test]
    fn the_longest_common_part_is_found() {
        for (a, b, length) in [
            ("", "", 0),
            ("abc", "abc", 3),
            ("abc", "", 0),
            ("", "abc", 0),
            ("abcabba", "cbabac", 4),
            ("abc", "xyz", 0),
            ("axbxcx", "abc", 3),
            ("abc", "xaxbxc", 3),
        ] {
            assert_eq!(common(a, b).map(|found| found.len()), Some(length), "{a} {b}");
        }
    }

    #[test]
    fn work_has_a_cap() {
        let a = vec![1; 2_000];
        let b = vec![2; 2_000];
        let mut work = 10_000;
        assert_eq!(matches(&a, &b, &mut work), None);
        assert_eq!(matches(&a, &b, &mut usize::MAX.clone()), None, "too many differences");
    }
}
