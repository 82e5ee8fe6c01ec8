//! The keys that an issuer publishes, by its answers one after the other: pure, times come in as
//! arguments.
//!
//! ```text
//! answered ── lacked ─► doubted ─┬─ lacked again, and so much later ─► gone
//!    ▲                     │     └─ its id is another key's ─────────► gone
//!    └───── answered ──────┘
//! ```
//!
//! An issuer behind several servers may answer with an older document for a moment, and what came
//! by a key that is taken back ends at once. So one answer that lacks a key takes nothing back; one
//! that has another key under its id does.

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::keys::{KEYS_MAX, Key, KeySet};

/// Knows which keys an issuer has.
#[derive(Debug, Default)]
pub(crate) struct Published {
    answered: KeySet,
    /// What an answer lacks that came before, and since when.
    doubted: Vec<(Key, Instant)>,
}

impl Published {
    /// Takes the newest answer. A key that it lacks is gone where it was lacked `apart` ago.
    pub(crate) fn take(&mut self, answer: KeySet, now: Instant, apart: Duration) {
        let before = mem::replace(&mut self.answered, answer);
        let open = mem::take(&mut self.doubted).into_iter().filter(|(_, at)| now < *at + apart);
        let new = before.keys().iter().map(|key| (key.clone(), now));
        let lacked = open.chain(new).filter(|(key, _)| !says(&self.answered, key));
        self.doubted = lacked.take(KEYS_MAX).collect();
    }

    /// Returns how many keys are trusted that the last answer lacks.
    pub(crate) fn doubted(&self) -> usize {
        self.doubted.len()
    }

    /// Returns all keys that are trusted behind those of a set.
    pub(crate) fn behind(&self, own: &KeySet) -> KeySet {
        own.with(&self.answered).doubting(self.doubted.iter().map(|(key, _)| key))
    }
}

/// Tells whether an answer has the key, or another one in its place.
fn says(answer: &KeySet, key: &Key) -> bool {
    answer.keys().iter().any(|other| match key.id() {
        Some(id) => other.id() == Some(id),
        None => other.id().is_none() && other.algorithm() == key.algorithm(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::auth::{Algorithm, Refusal};

    const APART: Duration = Duration::from_secs(10);

    /// An answer: the keys by their ids, each one of several.
    type Answer = BTreeMap<u8, u8>;

    fn key(id: Option<u8>, version: u8) -> Key {
        let id = id.map(|id| format!("k{id}").parse().expect("an id"));
        Key::secret(id, &[version; 32]).expect("it is long enough")
    }

    fn set(answer: &Answer) -> KeySet {
        let keys = answer.iter().map(|(id, version)| key(Some(*id), *version)).collect();
        KeySet::new(keys).expect("of different ids")
    }

    /// Tells what is trusted, by looking at all answers there were.
    fn expected(answers: &[(Instant, Answer)]) -> BTreeSet<(u8, u8)> {
        let (now, _) = answers.last().expect("there is one");
        let last = |id: u8| answers.iter().rposition(|(_, answer)| answer.contains_key(&id));
        let trusted = (0..4).filter_map(|id| {
            let at = last(id)?;
            let lacked = answers.get(at + 1);
            let good = lacked.is_none_or(|(since, _)| *now < *since + APART);
            good.then(|| (id, answers[at].1[&id]))
        });
        trusted.collect()
    }

    proptest! {
        #[test]
        fn a_key_is_gone_when_two_answers_lack_it_or_one_has_another(
            steps in proptest::collection::vec(
                (0_u64..15, proptest::collection::btree_map(0_u8..4, 0_u8..2, 0..4)), 1..40
            ),
        ) {
            let (mut published, mut now, mut answers) =
                (Published::default(), Instant::now(), Vec::new());
            for (seconds, answer) in steps {
                now += Duration::from_secs(seconds);
                published.take(set(&answer), now, APART);
                answers.push((now, answer));
                let keys = published.behind(&KeySet::default());
                let expected = expected(&answers);
                for (id, version) in (0..4).flat_map(|id| [(id, 0), (id, 1)]) {
                    let named = keys.keys().iter().filter(|one| one.id() == key(Some(id), 0).id());
                    let print = key(Some(id), version).thumbprint();
                    let has = named.into_iter().any(|one| one.thumbprint() == print);
                    prop_assert_eq!(has, expected.contains(&(id, version)), "{} {}", id, version);
                }
                prop_assert_eq!(keys.keys().len(), expected.len());
            }
        }
    }

    #[test]
    fn a_key_without_an_id_makes_room_for_another_at_once() {
        let (mut published, now) = (Published::default(), Instant::now());
        let one = |id: Option<u8>, version| KeySet::new(vec![key(id, version)]).expect("one");
        published.take(one(None, 1), now, APART);
        published.take(one(Some(1), 3), now, APART);
        assert_eq!(published.doubted(), 1, "nothing is said of it");
        published.take(one(None, 2), now, APART);
        let keys = published.behind(&KeySet::default());
        // Of two that have no id nobody could tell which one a token means.
        let has = [key(None, 1), key(None, 2), key(Some(1), 3)].map(|k| keys.has(k.thumbprint()));
        assert_eq!(has, [false, true, true]);
    }

    #[test]
    fn a_token_that_names_no_key_means_one_that_the_issuer_names() {
        let (mut published, now) = (Published::default(), Instant::now());
        published.take(set(&Answer::from([(1, 1)])), now, APART);
        published.take(set(&Answer::from([(2, 1)])), now, APART);
        let keys = published.behind(&KeySet::default());
        let found = |id: Option<u8>| {
            let id = id.map(|id| format!("k{id}").parse().expect("an id"));
            keys.find(id.as_ref(), Algorithm::Hs256).map(|key| key.id().map(ToString::to_string))
        };
        let [one, two] = ["k1", "k2"].map(|id| Ok(Some(id.to_owned())));
        assert_eq!([found(None), found(Some(1)), found(Some(2))], [two.clone(), one, two]);
        published.take(KeySet::default(), now, APART);
        let keys = published.behind(&KeySet::default());
        assert_eq!(keys.find(None, Algorithm::Hs256).err(), Some(Refusal::KeyUnnamed));
    }

    #[test]
    fn nobody_takes_the_place_of_an_own_key() {
        let (mut published, now) = (Published::default(), Instant::now());
        published.take(set(&Answer::from([(1, 1), (2, 1)])), now, APART);
        published.take(KeySet::default(), now, APART);
        let own = set(&Answer::from([(1, 0)]));
        let keys = published.behind(&own);
        assert_eq!(keys.keys().len(), 2);
        assert_eq!(keys.keys()[0].thumbprint(), key(Some(1), 0).thumbprint());
    }
}
