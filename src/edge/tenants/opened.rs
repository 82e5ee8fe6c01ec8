//! Which documents each tenant has open, and how many of them it may have.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::edge::tenants::counted::shrink;
use crate::types::DocId;

/// Lets each key have so many documents open at once; cheap to clone.
///
/// It knows what is open alone. A document that is open several times counts once.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    max: usize,
    held: Arc<Mutex<HashMap<u64, HashMap<DocId, usize>>>>,
}

/// A document that a key has open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held(Option<(u64, DocId, Opened)>);

impl Opened {
    /// Lets each key have `max` open; 0 stands for any number.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: Arc::default() }
    }

    /// Opens a document, if the key has it open or not all that it may have.
    pub(crate) fn take(&self, key: u64, doc: &DocId) -> Option<Held> {
        if self.max == 0 {
            return Some(Held::free());
        }
        let mut held = self.held.lock();
        let own = held.entry(key).or_default();
        if own.len() >= self.max && !own.contains_key(doc) {
            return None;
        }
        *own.entry(doc.clone()).or_default() += 1;
        Some(Held(Some((key, doc.clone(), self.clone()))))
    }
}

impl Held {
    /// Returns one that is not counted.
    pub(crate) fn free() -> Self {
        Self(None)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some((key, doc, opened)) = self.0.take() else { return };
        let mut held = opened.held.lock();
        let Some(own) = held.get_mut(&key) else { return };
        let Some(times) = own.get_mut(&doc) else { return };
        *times -= 1;
        if *times > 0 {
            return;
        }
        own.remove(&doc);
        if own.is_empty() {
            held.remove(&key);
            shrink(&mut held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> DocId {
        name.parse().unwrap()
    }

    #[test]
    fn a_document_counts_once_until_it_is_closed_the_last_time() {
        let opened = Opened::new(2);
        let take = |key: u64, name: &str| opened.take(key, &id(name));
        let first = take(1, "a").expect("there is one");
        let again = take(1, "a").expect("it is open");
        let second = take(1, "b").expect("there are two");
        assert!(take(1, "c").is_none());
        let other = take(2, "c").expect("another one has two, too");
        drop(first);
        assert!(take(1, "c").is_none(), "it is open still");
        drop(again);
        let third = take(1, "c").expect("there is room");
        assert!(take(1, "a").is_none());
        drop((second, third, other));
        assert!(opened.held.lock().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn any_number_is_open_where_there_is_no_limit() {
        let opened = Opened::new(0);
        let all: Vec<_> = (0..1_000).map(|n| opened.take(1, &id(&n.to_string()))).collect();
        assert!(all.iter().all(Option::is_some) && opened.held.lock().is_empty());
    }
}
