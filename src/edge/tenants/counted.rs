//! What each holder has at once of something that is limited.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// Lets each key have so many at once; cheap to clone.
///
/// It knows only keys that have some, so that what it takes is bounded by what there is of all.
#[derive(Debug, Clone)]
pub(crate) struct Counted<K> {
    max: usize,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

/// What a key has taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<K: Eq + Hash>(Option<(K, usize, Counted<K>)>);

impl<K: Eq + Hash + Clone> Counted<K> {
    /// Lets each key have `max` at once; 0 stands for any number.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: Arc::default() }
    }

    /// Takes one, if the key has not all that it may have.
    pub(crate) fn take(&self, key: &K) -> Option<Permit<K>> {
        self.take_many(key, 1)
    }

    /// Takes so many, if the key may have as many more.
    pub(crate) fn take_many(&self, key: &K, many: usize) -> Option<Permit<K>> {
        if self.max == 0 || many == 0 {
            return Some(Permit::free());
        }
        let mut held = self.held.lock();
        let has = held.get(key).copied().unwrap_or_default();
        let after = has.checked_add(many).filter(|after| *after <= self.max)?;
        held.insert(key.clone(), after);
        Some(Permit(Some((key.clone(), many, self.clone()))))
    }

    /// Returns how many each key may have; 0 stands for any number.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Returns how many keys have some, for tests.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> usize {
        self.held.lock().len()
    }
}

impl<K: Eq + Hash> Permit<K> {
    /// Returns one that is not counted.
    pub(crate) fn free() -> Self {
        Self(None)
    }
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let Some((key, many, counted)) = self.0.take() else { return };
        let mut held = counted.held.lock();
        let Some(count) = held.get_mut(&key) else { return };
        *count -= many;
        if *count == 0 {
            held.remove(&key);
            shrink(&mut held);
        }
    }
}

/// Gives back the room that many have taken at once, when they have gone.
pub(in crate::edge::tenants) fn shrink<K: Eq + Hash, V>(held: &mut HashMap<K, V>) {
    if held.len() < held.capacity() / 4 {
        held.shrink_to(2 * held.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_so_many_at_once_and_is_forgotten_with_the_last() {
        let counted = Counted::new(2);
        let first = counted.take(&"a").expect("there is one");
        let second = counted.take(&"a").expect("there are two");
        assert!(counted.take(&"a").is_none());
        let other = counted.take(&"b").expect("it has its own");
        drop(first);
        let third = counted.take(&"a").expect("one was given back");
        assert!(counted.take(&"a").is_none());
        assert_eq!(counted.keys(), 2);
        drop((second, third, other));
        assert_eq!(counted.keys(), 0);
    }

    #[test]
    fn many_are_taken_together_or_not_at_all() {
        let counted = Counted::new(5);
        let three = counted.take_many(&"a", 3).expect("there are five");
        assert!(counted.take_many(&"a", 3).is_none() && counted.take_many(&"b", 6).is_none());
        let two = counted.take_many(&"a", 2).expect("two are left");
        drop(three);
        assert!(counted.take_many(&"a", 4).is_none() && counted.take_many(&"a", 3).is_some());
        assert!(counted.take_many(&"a", usize::MAX).is_none());
        drop(two);
        assert_eq!(counted.keys(), 0);
    }

    #[test]
    fn none_is_counted_where_there_is_no_limit() {
        let counted = Counted::new(0);
        let all: Vec<_> = (0..10_000).map(|_| counted.take(&1).expect("no limit")).collect();
        assert_eq!(counted.keys(), 0);
        drop(all);
        assert!(counted.take(&1).is_some());
    }

    #[test]
    fn room_for_many_keys_is_given_back() {
        let counted = Counted::new(1);
        let all: Vec<_> = (0..10_000).filter_map(|key| counted.take(&key)).collect();
        assert!(counted.held.lock().capacity() >= 10_000);
        drop(all);
        assert!(counted.held.lock().capacity() < 100);
    }
}
