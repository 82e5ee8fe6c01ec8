//! For how long somebody stays who was let in: until what they hold expires, is revoked, was ended
//! with their login, or was signed with a key that is taken back, or may have been: where the
//! issuer's keys could not be fetched for so long that nobody knows.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::auth::{Claims, Keys, NoLogin, Refusal, Revocations};
use crate::clock::Clock;
use crate::edge::doors::Refused;
use crate::edge::doors::endings::Bound;
use crate::types::Timestamp;

/// After which time the clock is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Tells when somebody has to go.
pub(in crate::edge) struct Stay(Option<Held>);

struct Held {
    claims: Arc<Claims>,
    until: Timestamp,
    login: Option<Bound>,
    revoked: watch::Receiver<Arc<Revocations>>,
    keys: Keys,
    clock: Clock,
}

impl Stay {
    /// Returns one that does not end: nothing is held that could.
    pub(in crate::edge::doors) fn for_ever() -> Self {
        Self(None)
    }

    pub(in crate::edge::doors) fn until(
        (claims, until): (Arc<Claims>, Timestamp),
        login: Option<Bound>,
        revoked: watch::Receiver<Arc<Revocations>>,
        (keys, clock): (Keys, Clock),
    ) -> Self {
        Self(Some(Held { claims, until, login, revoked, keys, clock }))
    }

    /// Waits until they have to go, and returns why.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(in crate::edge) async fn ended(&mut self) -> Refused {
        let Some(held) = &mut self.0 else { return pending().await };
        loop {
            // What was revoked before this was asked for the first time counts, too.
            if let Err(revoked) = held.revoked.borrow_and_update().check(&held.claims) {
                return Refused::Token(revoked);
            }
            if let Err(gone) = held.keys.check(&held.claims) {
                return Refused::Token(gone);
            }
            let left = held.until.0.saturating_sub(held.clock.now().0);
            if left == 0 {
                return Refused::Token(Refusal::Expired);
            }
            tokio::select! {
                biased;
                () = ended(held.login.as_ref()) => return Refused::Login(NoLogin::Ended),
                changed = held.revoked.changed() => if changed.is_err() {
                    // Nothing will be revoked any more: the node stops.
                    sleep(Duration::from_millis(left)).await;
                },
                () = held.keys.renewed() => {}
                // The wall clock may be put right meanwhile, and the machine may have slept.
                () = sleep(Duration::from_millis(left).min(LOOK_AGAIN)) => {}
            }
        }
    }
}

/// Waits until a login ends; for ever where there is none.
async fn ended(login: Option<&Bound>) {
    match login {
        Some(login) => login.over().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use async_trait::async_trait;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use bytes::Bytes;
    use futures_util::FutureExt;
    use prometheus::Registry;
    use serde_json::json;

    use super::*;
    use crate::auth::{Fetch, Key, KeySet, Metrics, NotFetched, Pace, Remote};
    use crate::task::Tasks;
    use crate::wire::ErrorCode;

    /// A key, and another one.
    fn key(byte: u8) -> Key {
        Key::secret(None, &[byte; 32]).unwrap()
    }

    fn claims() -> Arc<Claims> {
        let subject: crate::access::Subject = "anna".parse().unwrap();
        Arc::new(Claims {
            name: subject.beginning(),
            subject,
            expires: Timestamp(60_000),
            issued: Some(Timestamp(1_000)),
            id: Some("t1".parse().unwrap()),
            grants: Vec::new(),
            key: Some(key(1).thumbprint()),
        })
    }

    fn stay(clock: &Clock) -> (watch::Sender<Arc<Revocations>>, Stay) {
        let (publish, revoked) = watch::channel(Arc::default());
        let keys = Keys::Own(KeySet::new(vec![key(1)]).unwrap().into());
        let held = (claims(), Timestamp(60_000));
        let stay = Stay::until(held, None, revoked, (keys, clock.clone()));
        (publish, stay)
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_what_is_held_expires() {
        let clock = Clock::starting_at(Timestamp(50_000));
        let (_publish, mut stay) = stay(&clock);
        assert!(stay.ended().now_or_never().is_none());
        // Time passes by itself where nothing else does.
        assert_eq!(stay.ended().await, Refused::Token(Refusal::Expired));
        assert!(Stay::for_ever().ended().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_it_is_revoked_and_when_it_was_before_anybody_asked() {
        let clock = Clock::starting_at(Timestamp(50_000));
        let (publish, mut stay) = stay(&clock);
        let mut other = Revocations::default();
        other.revoke_token("t2".parse().unwrap());
        publish.send_replace(Arc::new(other.clone()));
        assert!(stay.ended().now_or_never().is_none(), "it is another one's");
        other.revoke_subject("anna".parse().unwrap(), Timestamp(1_000));
        publish.send_replace(Arc::new(other));
        assert_eq!(stay.ended().await, Refused::Token(Refusal::Revoked));
    }

    /// Is an issuer that has taken back its first key when it is asked again.
    struct Issuer(AtomicU8);

    #[async_trait]
    impl Fetch for Issuer {
        async fn fetch(&self) -> Result<Bytes, NotFetched> {
            let spelled = |byte| URL_SAFE_NO_PAD.encode([byte; 32]);
            // A key of Ed25519 is any 32 bytes.
            let key = spelled(self.0.fetch_add(1, Ordering::Relaxed));
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "always", "x": key});
            Ok(Bytes::from(json!({ "keys": [jwk] }).to_string()))
        }
    }

    /// Returns how long two stay, by our own key and by one of an issuer, whose first keys are
    /// there.
    async fn fetched(issuer: impl Fetch, tasks: &Tasks) -> [Stay; 2] {
        let clock = Clock::starting_at(Timestamp(0));
        let (publish, revoked) = watch::channel(Arc::default());
        let token = tasks.token().clone();
        tasks.spawn("revocations", async move {
            token.run_until_cancelled(publish.closed()).await;
        });
        let own = KeySet::new(vec![key(1)]).unwrap();
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let remote = Remote::start(own, Arc::new(issuer), Pace::default(), metrics, tasks);
        let keys = Keys::Fetched(remote.clone());
        let own = claims();
        keys.check(&own).expect("nothing was fetched yet");
        remote.refresh().await;
        let fetched = remote.keys().unwrap();
        let theirs = fetched.keys().iter().find(|key| key.id().is_some()).unwrap();
        let theirs = Claims { key: Some(theirs.thumbprint()), ..Claims::clone(&own) };
        let until = Timestamp(48 * 3_600_000);
        [own, Arc::new(theirs)].map(|claims| {
            let given = (keys.clone(), clock.clone());
            Stay::until((claims, until), None, revoked.clone(), given)
        })
    }

    /// Is an issuer that answers once, and then not any more.
    struct Gone(Issuer);

    #[async_trait]
    impl Fetch for Gone {
        async fn fetch(&self) -> Result<Bytes, NotFetched> {
            let first = self.0.0.load(Ordering::Relaxed) == 1;
            if first { self.0.fetch().await } else { Err(NotFetched::Late) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_without_the_issuer_until_nobody_knows_of_the_key() {
        let tasks = Tasks::new();
        let [mut stays, mut goes] = fetched(Gone(Issuer(AtomicU8::new(1))), &tasks).await;
        let before = tokio::time::Instant::now();
        let ended = goes.ended().await;
        assert_eq!(ended, Refused::Token(Refusal::KeysStale));
        let (lasted, stale) = (before.elapsed(), Pace::default().stale_after);
        assert!(lasted + LOOK_AGAIN >= stale && lasted <= stale + LOOK_AGAIN, "{lasted:?}");
        // Nothing is known against them: they come again.
        assert_eq!((ended.code(), ended.is_guess()), (ErrorCode::Unavailable, false));
        assert!(ended.retry().is_some());
        assert!(stays.ended().now_or_never().is_none(), "by a key of our own");
        tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_the_key_of_the_token_is_taken_back() {
        let tasks = Tasks::new();
        let [mut stays, mut goes] = fetched(Issuer(AtomicU8::new(1)), &tasks).await;
        assert!(goes.ended().now_or_never().is_none());
        // The name is the same, and the key behind it another one.
        assert_eq!(goes.ended().await, Refused::Token(Refusal::KeyGone));
        assert!(stays.ended().now_or_never().is_none());
        tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_where_nobody_hears_of_what_is_revoked() {
        let clock = Clock::starting_at(Timestamp(50_000));
        let (publish, mut stay) = stay(&clock);
        assert!(stay.ended().now_or_never().is_none());
        publish.send_replace(Arc::new(Revocations::default().cut_off()));
        assert_eq!(stay.ended().await, Refused::Token(Refusal::CutOff));
        assert!(Stay::for_ever().ended().now_or_never().is_none(), "nothing is held");
    }
}
