//! For how long somebody stays who was let in: until what they hold expires, is revoked, or was
//! ended with their login.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::auth::{Claims, NoLogin, Refusal, Revocations};
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
        clock: Clock,
    ) -> Self {
        Self(Some(Held { claims, until, login, revoked, clock }))
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
    use futures_util::FutureExt;

    use super::*;

    fn claims() -> Arc<Claims> {
        let subject: crate::access::Subject = "anna".parse().unwrap();
        Arc::new(Claims {
            name: subject.beginning(),
            subject,
            expires: Timestamp(60_000),
            issued: Some(Timestamp(1_000)),
            id: Some("t1".parse().unwrap()),
            grants: Vec::new(),
        })
    }

    fn stay(clock: &Clock) -> (watch::Sender<Arc<Revocations>>, Stay) {
        let (publish, revoked) = watch::channel(Arc::default());
        let stay = Stay::until((claims(), Timestamp(60_000)), None, revoked, clock.clone());
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
