//! Logins that were ended, here or at another node: what they had opened here goes at once, and
//! their cookies open nothing here any more, whoever has copied one. It is forgotten when the node
//! stops.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::auth::LoginId;

/// How many ended logins a node knows: the oldest ones make room. What they had opened has gone by
/// then.
const ENDED_MAX: usize = 10_000;

/// Knows which logins were ended, and who has to go with one.
#[derive(Default)]
pub struct Endings(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    open: HashMap<LoginId, Open>,
    ended: HashSet<LoginId>,
    /// In the order in which they ended.
    ages: VecDeque<LoginId>,
}

/// What a login has opened.
#[derive(Default)]
struct Open {
    over: CancellationToken,
    count: usize,
}

/// Is told when a login ends; as long as it is there, it is one of those that have to go.
pub(in crate::edge::doors) struct Bound {
    login: LoginId,
    over: CancellationToken,
    known: Arc<Mutex<Known>>,
}

impl Endings {
    /// Ends a login.
    pub(in crate::edge::doors) fn end(&self, login: LoginId) {
        let mut known = self.0.lock();
        if known.ended.insert(login) {
            known.ages.push_back(login);
        }
        if known.ages.len() > ENDED_MAX
            && let Some(oldest) = known.ages.pop_front()
        {
            known.ended.remove(&oldest);
        }
        if let Some(open) = known.open.get(&login) {
            open.over.cancel();
        }
    }

    /// Tells whether a login was ended.
    pub(in crate::edge::doors) fn has(&self, login: LoginId) -> bool {
        self.0.lock().ended.contains(&login)
    }

    /// Binds something to a login; where that has ended meanwhile, it is told so at once.
    pub(in crate::edge::doors) fn bind(&self, login: LoginId) -> Bound {
        let mut known = self.0.lock();
        let has_ended = known.ended.contains(&login);
        let open = known.open.entry(login).or_default();
        open.count += 1;
        let over = open.over.clone();
        if has_ended {
            over.cancel();
        }
        Bound { login, over, known: Arc::clone(&self.0) }
    }
}

impl Bound {
    /// Waits until the login ends.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(in crate::edge::doors) async fn over(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = self.known.lock().open.entry(self.login) {
            open.get_mut().count -= 1;
            if open.get().count == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn login(number: usize) -> LoginId {
        LoginId((number as u128).to_be_bytes())
    }

    fn is_over(bound: &Bound) -> bool {
        bound.over().now_or_never().is_some()
    }

    #[test]
    fn who_came_by_a_login_goes_with_it_also_who_comes_late() {
        let endings = Endings::default();
        let (one, two, other) =
            (endings.bind(login(1)), endings.bind(login(1)), endings.bind(login(2)));
        drop(two);
        assert!(!is_over(&one) && !endings.has(login(1)));
        endings.end(login(1));
        assert!(is_over(&one) && !is_over(&other));
        assert!(is_over(&endings.bind(login(1))), "its cookie was read before");
        assert!(endings.has(login(1)) && !endings.has(login(2)));
        drop((one, other));
        assert!(endings.0.lock().open.is_empty(), "nothing is left of what has gone");
        assert!(is_over(&endings.bind(login(1))));
    }

    #[test]
    fn so_many_are_known_and_no_more() {
        let endings = Endings::default();
        let first = endings.bind(login(0));
        for number in 0..=ENDED_MAX {
            endings.end(login(number));
            endings.end(login(number));
        }
        assert!(!endings.has(login(0)) && is_over(&first));
        assert!((1..=ENDED_MAX).all(|number| endings.has(login(number))));
        let known = endings.0.lock();
        assert_eq!((known.ended.len(), known.ages.len()), (ENDED_MAX, ENDED_MAX));
    }
}
