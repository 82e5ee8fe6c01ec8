//! What judges tokens on a node: the keys that are configured and those that are fetched, the
//! policy, the clock, and the counters.

use crate::auth::error::Refusal;
use crate::auth::keys::KeySet;
use crate::auth::metrics::Metrics;
use crate::auth::own_keys::OwnKeys;
use crate::auth::remote::Remote;
use crate::auth::token::{Claims, Policy, verify};
use crate::clock::Clock;

/// Judges tokens.
#[derive(Clone)]
pub struct Verifier {
    /// What tokens are verified with.
    pub keys: Keys,
    /// Which tokens are for this server.
    pub policy: Policy,
    /// Tells the time.
    pub clock: Clock,
    /// Counts what is taken and refused.
    pub metrics: Metrics,
}

/// Says where keys come from.
#[derive(Debug, Clone)]
pub enum Keys {
    /// All are configured.
    Own(OwnKeys),
    /// Those of an issuer are fetched, beside those that are configured.
    Fetched(Remote),
}

impl Keys {
    /// Asks whether the key that has signed a token is still trusted. Where the issuer's keys are
    /// not known, nobody knows of one that is none of our own: it may have been taken back.
    ///
    /// # Errors
    /// [`Refusal::KeyGone`], or [`Refusal::KeysStale`] where that is not known.
    pub fn check(&self, claims: &Claims) -> Result<(), Refusal> {
        let has = |keys: &KeySet| claims.key.is_some_and(|key| keys.has(key));
        let trusted = match self {
            Self::Own(own) => has(&own.keys()),
            Self::Fetched(remote) if has(&remote.own()) => true,
            Self::Fetched(remote) => {
                let keys = remote.keys().ok_or(Refusal::KeysStale)?;
                has(&keys)
            }
        };
        trusted.then_some(()).ok_or(Refusal::KeyGone)
    }

    /// Waits until the keys may be others.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn renewed(&mut self) {
        match self {
            Self::Own(own) => own.changed().await,
            Self::Fetched(remote) => remote.renewed().await,
        }
    }
}

impl Verifier {
    /// Judges a token. One whose key is not known may be signed with a new key of its issuer: the
    /// keys are fetched, at most as often as [`crate::auth::Pace`] says, and it is judged again.
    ///
    /// # Errors
    /// [`Refusal`].
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let mut judged = self.judge(token);
        let unknown = matches!(judged, Err(Refusal::KeyUnknown | Refusal::KeysStale));
        if let (true, Keys::Fetched(remote)) = (unknown, &self.keys) {
            remote.refresh().await;
            judged = self.judge(token);
        }
        match &judged {
            Ok(_) => self.metrics.accepted.inc(),
            Err(refusal) => self.metrics.refuse(refusal.reason()),
        }
        judged
    }

    /// Judges the key behind what was made of a token. Where the issuer's keys are not known it
    /// waits for them, as a token does.
    ///
    /// # Errors
    /// As [`Keys::check`].
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn check(&self, claims: &Claims) -> Result<(), Refusal> {
        let checked = self.keys.check(claims);
        if let (Err(Refusal::KeysStale), Keys::Fetched(remote)) = (checked, &self.keys) {
            remote.refresh().await;
            return self.keys.check(claims);
        }
        checked
    }

    fn judge(&self, token: &str) -> Result<Claims, Refusal> {
        let judge = |keys: &KeySet| verify(token, keys, &self.policy, self.clock.now());
        match &self.keys {
            Keys::Own(own) => judge(&own.keys()),
            Keys::Fetched(remote) => match remote.keys() {
                Some(keys) => judge(&keys),
                None => judge(&remote.own()).map_err(|refusal| match refusal {
                    Refusal::KeyUnknown | Refusal::KeyAlgorithm => Refusal::KeysStale,
                    other => other,
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::pending;
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::FutureExt;
    use parking_lot::Mutex;
    use prometheus::Registry;
    use tokio::time::{advance, sleep, timeout};

    use super::*;
    use crate::auth::keys::Key;
    use crate::auth::remote::{Fetch, NotFetched};
    use crate::auth::rotation::Pace;
    use crate::task::Tasks;
    use crate::types::Timestamp;

    const JWKS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/jwks.json"));
    const TOKENS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/tokens.txt"));
    const SECRET: &[u8] =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/secret.txt"));

    /// Is an issuer that answers with one thing after the other, and stays with the last one.
    #[derive(Default)]
    struct Issuer {
        answers: Mutex<VecDeque<Answer>>,
        asked: Mutex<u32>,
    }

    #[derive(Clone, Copy)]
    enum Answer {
        Keys(&'static str),
        Refuses,
        Hangs,
    }

    #[async_trait]
    impl Fetch for Issuer {
        async fn fetch(&self) -> Result<Bytes, NotFetched> {
            *self.asked.lock() += 1;
            let answer = {
                let mut answers = self.answers.lock();
                let next = answers.pop_front().expect("an answer");
                if answers.is_empty() {
                    answers.push_back(next);
                }
                next
            };
            match answer {
                Answer::Keys(document) => Ok(Bytes::from_static(document.as_bytes())),
                Answer::Refuses => Err(NotFetched::Failed("it says 500".to_owned())),
                Answer::Hangs => pending().await,
            }
        }
    }

    struct World {
        issuer: Arc<Issuer>,
        verifier: Verifier,
        tasks: Tasks,
    }

    impl World {
        /// Starts with what the issuer answers, and waits until the first fetch is done.
        async fn start(answers: &[Answer]) -> Self {
            let world = Self::begin(answers);
            sleep(Duration::from_millis(1)).await;
            world
        }

        fn begin(answers: &[Answer]) -> Self {
            let secret = Key::read("secret".parse().ok(), SECRET).expect("a key");
            Self::beside(KeySet::new(vec![secret]).expect("one key"), answers)
        }

        /// Begins with keys that are configured.
        fn beside(own: impl Into<OwnKeys>, answers: &[Answer]) -> Self {
            let answers = Mutex::new(answers.iter().copied().collect());
            let issuer = Arc::new(Issuer { answers, ..Issuer::default() });
            let metrics = Metrics::register(&Registry::new()).expect("a new registry");
            let tasks = Tasks::new();
            let pace = Pace::default();
            let remote = Remote::start(own, issuer.clone(), pace, metrics.clone(), &tasks);
            let verifier = Verifier {
                keys: Keys::Fetched(remote),
                policy: Policy::default(),
                // The times of the tokens are not what is tested here.
                clock: Clock::fixed(Timestamp(1_800_000_000_000)),
                metrics,
            };
            Self { issuer, verifier, tasks }
        }

        /// Returns what the fixture's token of this algorithm says, which has to be good.
        async fn claims(&self, algorithm: usize) -> Claims {
            let token = TOKENS.lines().nth(algorithm).expect("a token of each");
            self.verifier.verify(token).await.expect("it is good")
        }

        /// Judges a login of these claims.
        async fn check(&self, claims: &Claims) -> Result<(), Refusal> {
            let checked = timeout(Duration::from_mins(1), self.verifier.check(claims)).await;
            checked.expect("a verdict comes in time")
        }

        /// Judges the fixture's token of this algorithm.
        async fn judge(&self, algorithm: usize) -> Result<(), Refusal> {
            let token = TOKENS.lines().nth(algorithm).expect("a token of each");
            let judged = timeout(Duration::from_mins(1), self.verifier.verify(token)).await;
            judged.expect("a verdict comes in time").map(|_| ())
        }

        #[track_caller]
        fn asked(&self, times: u32) {
            assert_eq!(*self.issuer.asked.lock(), times);
        }
    }

    const HS256: usize = 0;
    const RS256: usize = 1;
    const ES256: usize = 2;
    const ONLY_P256: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"older",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    const OTHER_P256: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"p256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

    #[tokio::test(start_paused = true)]
    async fn a_new_key_is_fetched_when_a_token_names_it() {
        let world = World::start(&[Answer::Keys(ONLY_P256), Answer::Keys(JWKS)]).await;
        world.asked(1);
        assert_eq!(world.judge(HS256).await, Ok(()), "a key of our own");
        assert_eq!(world.judge(RS256).await, Err(Refusal::KeyUnknown), "it was just fetched");
        world.asked(1);
        advance(Duration::from_secs(30)).await;
        assert_eq!(world.judge(RS256).await, Ok(()), "with the keys that were fetched for it");
        world.asked(2);
        assert_eq!(world.judge(ES256).await, Ok(()));
        world.asked(2);
        world.tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn keys_of_files_are_replaced_beside_those_that_are_fetched() {
        let secret = Key::read("secret".parse().ok(), SECRET).expect("a key");
        let (publish, own) = OwnKeys::new(KeySet::default());
        let world = World::beside(own, &[Answer::Keys(JWKS), Answer::Hangs]);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.judge(HS256).await, Err(Refusal::KeyUnknown));
        let mut keys = world.verifier.keys.clone();
        keys.renewed().now_or_never();
        let put = async |keys: &mut Keys, set: &KeySet| {
            publish.send_replace(Arc::new(set.clone()));
            timeout(Duration::from_secs(1), keys.renewed()).await.expect("they are told");
        };
        let with = KeySet::new(vec![secret]).expect("one key");
        put(&mut keys, &with).await;
        assert_eq!((world.judge(HS256).await, world.judge(RS256).await), (Ok(()), Ok(())));
        let claims = world.claims(HS256).await;
        // Also while the issuer lets it wait.
        sleep(Pace::default().age_max).await;
        world.asked(2);
        put(&mut keys, &KeySet::default()).await;
        assert_eq!(keys.check(&claims), Err(Refusal::KeyGone));
        assert_eq!(world.judge(RS256).await, Ok(()));
        world.tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn many_unknown_keys_lead_to_few_fetches() {
        let world = World::start(&[Answer::Keys(ONLY_P256)]).await;
        for _ in 0..300 {
            advance(Duration::from_millis(100)).await;
            let all = (0..20).map(|_| world.judge(RS256));
            for judged in futures_util::future::join_all(all).await {
                assert_eq!(judged, Err(Refusal::KeyUnknown));
            }
        }
        world.asked(2);
        let refused = world.verifier.metrics.refused.with_label_values(&["key-unknown"]);
        assert_eq!(refused.get(), 6_000);
        world.tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_again_when_they_are_old() {
        let world = World::start(&[Answer::Keys(JWKS)]).await;
        advance(Pace::default().age_max).await;
        sleep(Duration::from_millis(1)).await;
        world.asked(2);
        let fetches = &world.verifier.metrics.fetches;
        assert_eq!(fetches.with_label_values(&["taken"]).get(), 2);
        world.tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_the_issuer_has_taken_back_is_good_no_more() {
        let world = World::start(&[Answer::Keys(JWKS), Answer::Keys(ONLY_P256)]).await;
        assert_eq!(world.judge(RS256).await, Ok(()));
        advance(Pace::default().age_max).await;
        sleep(Duration::from_millis(1)).await;
        world.asked(2);
        assert_eq!(world.judge(RS256).await, Ok(()), "nobody but one answer says so");
        sleep(Pace::default().confirm_after).await;
        world.asked(3);
        assert_eq!(world.judge(RS256).await, Err(Refusal::KeyUnknown));
        sleep(Pace::default().age_max - Duration::from_secs(1)).await;
        world.asked(3);
        world.tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_that_is_older_ends_nothing() {
        let [new, old] = [JWKS, ONLY_P256].map(Answer::Keys);
        let world = World::start(&[new, old, Answer::Refuses, new]).await;
        let token = TOKENS.lines().nth(RS256).expect("a token of each");
        let claims = world.verifier.verify(token).await.expect("it is good");
        let mut keys = world.verifier.keys.clone();
        for pause in [Pace::default().age_max, Pace::default().confirm_after] {
            sleep(pause).await;
            assert_eq!((world.judge(RS256).await, keys.check(&claims)), (Ok(()), Ok(())));
        }
        // The one that was to tell failed, and is tried again.
        world.asked(3);
        keys.renewed().await;
        sleep(Pace::default().retry).await;
        world.asked(4);
        assert_eq!((world.judge(RS256).await, keys.check(&claims)), (Ok(()), Ok(())));
        // That one lacks a key, too, which the older one alone had.
        sleep(Pace::default().confirm_after).await;
        world.asked(5);
        sleep(Pace::default().age_max - Duration::from_secs(1)).await;
        world.asked(5);
        world.tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_has_become_another_is_good_no_more_at_once() {
        let world = World::start(&[Answer::Keys(JWKS), Answer::Keys(OTHER_P256)]).await;
        let token = TOKENS.lines().nth(ES256).expect("a token of each");
        let claims = world.verifier.verify(token).await.expect("it is good");
        sleep(Pace::default().age_max).await;
        world.asked(2);
        assert_eq!(world.verifier.keys.check(&claims), Err(Refusal::KeyGone));
        assert_eq!(world.judge(ES256).await, Err(Refusal::Signature));
        assert_eq!(world.judge(RS256).await, Ok(()), "nothing is said of the other");
        world.tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_cannot_be_renewed_are_trusted_for_a_while() {
        for fails in [Answer::Refuses, Answer::Hangs, Answer::Keys("<html>")] {
            let world = World::start(&[Answer::Keys(JWKS), fails]).await;
            let login = world.claims(RS256).await;
            sleep(Duration::from_hours(24) - Duration::from_secs(1)).await;
            assert_eq!((world.judge(RS256).await, world.check(&login).await), (Ok(()), Ok(())));
            sleep(Duration::from_secs(2)).await;
            let stale = Err(Refusal::KeysStale);
            assert_eq!((world.judge(RS256).await, world.check(&login).await), (stale, stale));
            assert_eq!(world.judge(HS256).await, Ok(()), "a key of our own does not age");
            world.issuer.answers.lock().push_front(Answer::Keys(JWKS));
            sleep(Duration::from_mins(1)).await;
            assert_eq!((world.judge(RS256).await, world.check(&login).await), (Ok(()), Ok(())));
            world.tasks.stop().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_login_nobody_knows_before_the_first_keys_are_there() {
        let world = World::start(&[Answer::Keys(JWKS)]).await;
        let (own, theirs) = (world.claims(HS256).await, world.claims(RS256).await);
        world.tasks.stop().await;
        // After a restart, at which the issuer may have taken keys back.
        for (answer, expected) in [
            (Answer::Refuses, Err(Refusal::KeysStale)),
            (Answer::Hangs, Err(Refusal::KeysStale)),
            (Answer::Keys(ONLY_P256), Err(Refusal::KeyGone)),
            (Answer::Keys(JWKS), Ok(())),
        ] {
            let world = World::begin(&[answer]);
            assert_eq!(world.check(&own).await, Ok(()), "a key of our own");
            let before = tokio::time::Instant::now();
            assert_eq!(world.check(&theirs).await, expected, "it waits for the first fetch");
            assert!(before.elapsed() <= Pace::default().fetch_max);
            world.tasks.stop().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_waits_for_the_first_keys_and_not_longer_than_a_fetch() {
        let world = World::start(&[Answer::Hangs, Answer::Refuses]).await;
        let before = tokio::time::Instant::now();
        assert_eq!(world.judge(RS256).await, Err(Refusal::KeysStale));
        assert!(before.elapsed() <= Pace::default().fetch_max);
        world.tasks.stop().await;
        assert_eq!(world.judge(RS256).await, Err(Refusal::KeysStale), "the task has ended");
    }
}
