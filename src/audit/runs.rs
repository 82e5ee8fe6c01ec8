//! Numbers that mostly follow each other, kept as runs.

use std::collections::BTreeMap;

/// Holds a set of numbers as runs with gaps between them. Most sets are one run, and grow at its
/// end; clients that come one after the other fill the gaps of the ones before them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    greatest: Option<(u64, u64)>,
    /// The others: the last number of each by its first.
    lower: BTreeMap<u64, u64>,
}

impl Runs {
    /// Adds the numbers from `first` to `last`.
    pub(crate) fn add(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut begin, mut end) = (first, last);
        // Those that have no number between themselves and it become one with it.
        while let Some((at, to)) = self.below(end.saturating_add(1)) {
            if to.saturating_add(1) < begin {
                break;
            }
            if self.greatest == Some((at, to)) {
                self.greatest = None;
            } else {
                self.lower.remove(&at);
            }
            (begin, end) = (begin.min(at), end.max(to));
        }
        match self.greatest {
            Some((at, _)) if begin < at => {
                self.lower.insert(begin, end);
            }
            before => {
                self.lower.extend(before);
                self.greatest = Some((begin, end));
            }
        }
    }

    /// Tells whether a number is in it.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.below(number).is_some_and(|(_, end)| number <= end)
    }

    /// Returns the least number.
    pub(crate) fn first(&self) -> Option<u64> {
        self.runs().next().map(|(begin, _)| begin)
    }

    /// Returns the greatest number.
    pub(crate) fn last(&self) -> Option<u64> {
        self.greatest.map(|(_, end)| end)
    }

    /// Counts the numbers from `first` to `last`.
    pub(crate) fn count(&self, first: u64, last: u64) -> u64 {
        let inside = |(begin, end): (u64, u64)| {
            let (begin, end) = (begin.max(first), end.min(last));
            if begin <= end { end - begin + 1 } else { 0 }
        };
        self.runs().map(inside).sum()
    }

    /// Returns the numbers that `other` does not have, lowest first.
    pub(crate) fn without(&self, other: &Self) -> Vec<u64> {
        let numbers = self.runs().flat_map(|(begin, end)| begin..=end);
        numbers.filter(|number| !other.contains(*number)).collect()
    }

    /// Lists the runs, lowest first.
    fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.lower.iter().map(|(begin, end)| (*begin, *end)).chain(self.greatest)
    }

    /// Returns the last run that begins at or below a number.
    fn below(&self, number: u64) -> Option<(u64, u64)> {
        let lower = || self.lower.range(..=number).next_back().map(|(at, to)| (*at, *to));
        self.greatest.filter(|(at, _)| *at <= number).or_else(lower)
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
                let all: Vec<_> = runs.runs().collect();
                prop_assert!(all.windows(2).all(|two| two[0].1 + 1 < two[1].0));
            }
            for number in 0..50 {
                prop_assert_eq!(runs.contains(number), set.contains(&number));
            }
            prop_assert_eq!(runs.first(), set.first().copied());
            prop_assert_eq!(runs.last(), set.last().copied());
            prop_assert_eq!(runs.count(5, 20), set.range(5..=20).count() as u64);
            let mut other = Runs::default();
            other.add(3, 9);
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
        assert_eq!((runs.first(), runs.last(), runs.runs().count()), (Some(0), Some(u64::MAX), 2));
    }
}
