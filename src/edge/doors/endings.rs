//! Logins that were ended, here or at another node: what they had opened here goes at once, and
//! their cookies open nothing here any more, whoever has copied one, also after a restart of the
//! node. A node that was not up when a login ended asks the others for what it has missed.

mod kept;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::auth::LoginId;
use crate::edge::doors::endings::kept::Kept;
use crate::task::Tasks;

/// How many ended logins a node knows: the oldest ones make room. What they had opened has gone by
/// then. So many fit a message between nodes.
const ENDED_MAX: usize = 60_000;

/// Knows which logins were ended, and who has to go with one.
#[derive(Default)]
pub struct Endings {
    known: Arc<Mutex<Known>>,
    /// None where the node keeps nothing.
    kept: Option<Arc<Mutex<Kept>>>,
}

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

impl Known {
    /// Ends a login; tells whether that is news.
    fn end(&mut self, login: LoginId) -> bool {
        if !self.ended.insert(login) {
            return false;
        }
        self.ages.push_back(login);
        if self.ages.len() > ENDED_MAX
            && let Some(oldest) = self.ages.pop_front()
        {
            self.ended.remove(&oldest);
        }
        if let Some(open) = self.open.get(&login) {
            open.over.cancel();
        }
        true
    }
}

impl Endings {
    /// Knows what a file of the folder says, and keeps there what is learnt.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let (kept, logins) = Kept::open(folder)?;
        let kept = Some(Arc::new(Mutex::new(kept)));
        let endings = Self { kept, ..Self::default() };
        let mut known = endings.known.lock();
        for login in logins {
            known.end(login);
        }
        drop(known);
        Ok(endings)
    }

    /// Ends logins at once, and returns when that is written down.
    ///
    /// # Cancel safety
    /// They have ended all the same.
    pub(in crate::edge::doors) async fn end(&self, logins: Vec<LoginId>) {
        let new: Vec<_> = {
            let mut known = self.known.lock();
            logins.into_iter().filter(|login| known.end(*login)).collect()
        };
        let (false, Some(kept)) = (new.is_empty(), self.kept.clone()) else { return };
        let known = Arc::clone(&self.known);
        let all = move || known.lock().ages.iter().copied().collect();
        if let Err(error) = Tasks::offload(move || kept.lock().add(&new, all)).await {
            warn!(%error, "not written down who has signed out: is the disk full?");
        }
    }

    /// Returns all that are known, in the order in which they ended, as one node tells another.
    pub(in crate::edge::doors) fn spelled(&self) -> Vec<u8> {
        kept::spelled(self.known.lock().ages.make_contiguous())
    }

    /// Learns what another node knows.
    pub(in crate::edge::doors) async fn learn(&self, spelled: &[u8]) {
        self.end(kept::read(spelled)).await;
    }

    /// Tells whether a login was ended.
    pub(in crate::edge::doors) fn has(&self, login: LoginId) -> bool {
        self.known.lock().ended.contains(&login)
    }

    /// Binds something to a login; where that has ended meanwhile, it is told so at once.
    pub(in crate::edge::doors) fn bind(&self, login: LoginId) -> Bound {
        let mut known = self.known.lock();
        let has_ended = known.ended.contains(&login);
        let open = known.open.entry(login).or_default();
        open.count += 1;
        let over = open.over.clone();
        if has_ended {
            over.cancel();
        }
        Bound { login, over, known: Arc::clone(&self.known) }
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
    use std::fs;

    use futures_util::FutureExt;

    use super::*;

    fn login(number: usize) -> LoginId {
        LoginId((number as u128).to_be_bytes())
    }

    fn is_over(bound: &Bound) -> bool {
        bound.over().now_or_never().is_some()
    }

    #[tokio::test]
    async fn who_came_by_a_login_goes_with_it_also_who_comes_late() {
        let endings = Endings::default();
        let (one, two, other) =
            (endings.bind(login(1)), endings.bind(login(1)), endings.bind(login(2)));
        drop(two);
        assert!(!is_over(&one) && !endings.has(login(1)));
        endings.end(vec![login(1)]).await;
        assert!(is_over(&one) && !is_over(&other));
        assert!(is_over(&endings.bind(login(1))), "its cookie was read before");
        assert!(endings.has(login(1)) && !endings.has(login(2)));
        drop((one, other));
        assert!(endings.known.lock().open.is_empty(), "nothing is left of what has gone");
        assert!(is_over(&endings.bind(login(1))));
    }

    #[tokio::test]
    async fn so_many_are_known_and_no_more() {
        let endings = Endings::default();
        let first = endings.bind(login(0));
        for numbers in [0..ENDED_MAX, 0..ENDED_MAX + 1] {
            endings.end(numbers.map(login).collect()).await;
        }
        assert!(!endings.has(login(0)) && is_over(&first));
        assert!((1..=ENDED_MAX).all(|number| endings.has(login(number))));
        let known = endings.known.lock();
        assert_eq!((known.ended.len(), known.ages.len()), (ENDED_MAX, ENDED_MAX));
    }

    #[tokio::test]
    async fn who_has_ended_has_so_after_a_restart_and_the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Endings::open(folder.path()).unwrap();
        let file = folder.path().join("ended.logins");
        open().end(vec![login(1), login(2)]).await;
        // A write that was cut off.
        let torn = [&fs::read(&file).unwrap()[..], &[9; 7]].concat();
        fs::write(&file, torn).unwrap();
        open().end(vec![login(3), login(2)]).await;
        let again = open();
        assert!((1..=3).all(|number| again.has(login(number))) && !again.has(login(4)));
        assert_eq!(fs::metadata(&file).unwrap().len(), 3 * 16);
        for from in [10, 10 + ENDED_MAX] {
            again.end((from..from + ENDED_MAX).map(login).collect()).await;
        }
        let (length, again) = (fs::metadata(&file).unwrap().len(), open());
        assert_eq!(length, ENDED_MAX as u64 * 16, "those alone that are known");
        assert!(!again.has(login(9 + ENDED_MAX)) && again.has(login(10 + ENDED_MAX)));
        assert!(again.has(login(9 + 2 * ENDED_MAX)));
        again.end(vec![login(1)]).await;
        assert!(open().has(login(1)), "it goes on in the new file");
    }

    #[tokio::test]
    async fn one_node_learns_what_another_knows() {
        let (one, other) = (Endings::default(), Endings::default());
        one.end(vec![login(1), login(2)]).await;
        let bound = other.bind(login(2));
        other.learn(&one.spelled()).await;
        assert!(other.has(login(1)) && is_over(&bound));
    }
}
