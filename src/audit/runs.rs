//! Numbers that mostly follow each other, kept as runs.

use smallvec::SmallVec;

/// Holds a set of numbers as runs, lowest first, with gaps between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    runs: SmallVec<[(u64, u64); 1]>,
}

impl Runs {
    /// Adds the numbers from `first` to `last`.
    pub(crate) fn add(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // Those that end before `first`, with a number between, are left alone.
        let begin = self.runs.partition_point(|(_, end)| end.saturating_add(1) < first);
        let touched = self.runs[begin..].partition_point(|(at, _)| *at <= last.saturating_add(1));
        if touched == 0 {
            self.runs.insert(begin, (first, last));
            return;
        }
        let end = begin + touched - 1;
        let joined = (self.runs[begin].0.min(first), self.runs[end].1.max(last));
        self.runs[begin] = joined;
        self.runs.drain(begin + 1..=end);
    }

    /// Tells whether a number is in it.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let at = self.runs.partition_point(|(_, end)| *end < number);
        self.runs.get(at).is_some_and(|(begin, _)| *begin <= number)
    }

    /// Returns the least number.
    pub(crate) fn first(&self) -> Option<u64> {
        self.runs.first().map(|(begin, _)| *begin)
    }

    /// Returns the greatest number.
    pub(crate) fn last(&self) -> Option<u64> {
        self.runs.last().map(|(_, end)| *end)
    }

    /// Counts the numbers from `first` to `last`.
    pub(crate) fn count(&self, first: u64, last: u64) -> u64 {
        let inside = |(begin, end): &(u64, u64)| {
            let (begin, end) = (*begin.max(&first), *end.min(&last));
            if begin <= end { end - begin + 1 } else { 0 }
        };
        self.runs.iter().map(inside).sum()
    }

    /// Returns the numbers that `other` does not have, lowest first.
    pub(crate) fn without(&self, other: &Self) -> Vec<u64> {
        let numbers = self.runs.iter().flat_map(|(begin, end)| *begin..=*end);
        numbers.filter(|number| !other.contains(*number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_a_set(added in prop::collection::vec((0..40_u64, 0..6_u64), 0..20)) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for (first, more) in added {
                runs.add(first, first + more);
                set.extend(first..=first + more);
                prop_assert!(runs.runs.windows(2).all(|two| two[0].1 + 1 < two[1].0));
            }
            for number in 0..50 {
                prop_assert_eq!(runs.contains(number), set.contains(&number));
            }
            prop_assert_eq!(runs.first(), set.first().copied());
            prop_assert_eq!(runs.last(), set.last().copied());
            prop_assert_eq!(runs.count(5, 20), set.range(5..=20).count() as u64);
            let other = Runs { runs: SmallVec::from_slice(&[(3, 9)]) };
            let left: Vec<_> = set.iter().copied().filter(|n| !(3..=9).contains(n)).collect();
            prop_assert_eq!(runs.without(&other), left);
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_special_case() {
        let mut runs = Runs::default();
        runs.add(u64::MAX, u64::MAX);
        runs.add(u64::MAX - 1, u64::MAX);
        runs.add(0, 0);
        runs.add(5, 4);
        assert_eq!((runs.first(), runs.last(), runs.runs.len()), (Some(0), Some(u64::MAX), 2));
    }
}
