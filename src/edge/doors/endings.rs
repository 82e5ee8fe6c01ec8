//! Logins that were ended, here or at another node: what they had opened here goes at once, and
//! their cookies open nothing here any more, whoever has copied one, also after a restart of the
//! node. A node that was not up when a login ended asks the others for what it has missed; one that
//! was, and did not answer, is told again.

mod kept;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::mem;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::auth::LoginId;
use crate::edge::doors::endings::kept::Kept;
use crate::task::Tasks;
use crate::types::NodeId;

/// How many ended logins a node knows: the oldest ones make room. What they had opened has gone by
/// then. So many fit a message between nodes.
const ENDED_MAX: usize = 60_000;

/// Knows which logins were ended, and who has to go with one.
#[derive(Default)]
pub struct Endings {
    known: Arc<Mutex<Known>>,
    /// None where the node keeps nothing. Whoever has it writes for all who wait for it.
    kept: Option<Arc<tokio::sync::Mutex<Kept>>>,
    /// Nodes that were not told of some, and that nobody sees to yet.
    behind: watch::Sender<BTreeSet<NodeId>>,
}

#[derive(Default)]
struct Known {
    open: HashMap<LoginId, Open>,
    ended: HashSet<LoginId>,
    /// In the order in which they ended.
    ages: VecDeque<LoginId>,
    /// How many of them, the newest, nobody has begun to write down.
    unwritten: usize,
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
    /// Ends a login.
    fn end(&mut self, login: LoginId) {
        if !self.ended.insert(login) {
            return;
        }
        self.ages.push_back(login);
        self.unwritten += 1;
        if self.ages.len() > ENDED_MAX
            && let Some(oldest) = self.ages.pop_front()
        {
            self.ended.remove(&oldest);
        }
        if let Some(open) = self.open.get(&login) {
            open.over.cancel();
        }
    }

    /// Returns those that are to be written down now.
    fn begin(&mut self) -> Vec<LoginId> {
        let old = self.ages.len().saturating_sub(mem::take(&mut self.unwritten));
        self.ages.range(old..).copied().collect()
    }
}

impl Endings {
    /// Knows what the node's file in the folder says, and keeps there what is learnt.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub fn open(folder: &Path, node: &NodeId) -> io::Result<Self> {
        let (kept, logins) = Kept::open(folder, node)?;
        let kept = Some(Arc::new(tokio::sync::Mutex::new(kept)));
        let endings = Self { kept, ..Self::default() };
        let mut known = endings.known.lock();
        for login in logins {
            known.end(login);
        }
        known.unwritten = 0;
        drop(known);
        Ok(endings)
    }

    /// Ends logins at once, and returns when that is written down: those that come while others are
    /// written wait, and are written together.
    ///
    /// # Cancel safety
    /// They have ended all the same, and are written down with the next ones at the latest.
    pub(in crate::edge::doors) async fn end(&self, logins: Vec<LoginId>) {
        {
            let mut known = self.known.lock();
            for login in logins {
                known.end(login);
            }
        }
        let Some(kept) = self.kept.clone() else { return };
        let mut kept = kept.lock_owned().await;
        let new = self.known.lock().begin();
        if new.is_empty() {
            // Whoever had it before has written these, too.
            return;
        }
        let known = Arc::clone(&self.known);
        let write = move || {
            let written = kept.add(&new, || known.lock().ages.iter().copied().collect());
            if written.is_err() {
                // Whoever comes next tries once more.
                known.lock().unwritten += new.len();
            }
            written
        };
        // One at a time, and whoever signs out waits for nothing that others ask for.
        if let Err(error) = Tasks::apart("sign-outs", write).await {
            warn!(%error, "not written down who has signed out: is the disk full?");
        }
    }

    /// Returns all that are known, in the order in which they ended, as one node tells another.
    pub(in crate::edge::doors) fn spelled(&self) -> Vec<u8> {
        kept::spelled(self.known.lock().ages.make_contiguous())
    }

    /// Notes nodes that were not told of a login.
    pub(in crate::edge::doors) fn missed(&self, nodes: Vec<NodeId>) {
        self.behind.send_modify(|behind| behind.extend(nodes));
    }

    /// Waits until there are nodes that were not told, and forgets them.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(in crate::edge::doors) async fn behind(&self) -> Vec<NodeId> {
        let mut behind = self.behind.subscribe();
        // It is here as long as this.
        let _ = behind.wait_for(|behind| !behind.is_empty()).await;
        self.behind.send_replace(BTreeSet::new()).into_iter().collect()
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
    use futures_util::future::join_all;

    use super::*;
    use crate::task::without_free_threads;

    fn login(number: usize) -> LoginId {
        LoginId((number as u128).to_be_bytes())
    }

    fn node(name: &str) -> NodeId {
        NodeId(name.parse().unwrap())
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

    #[test]
    fn it_is_written_down_while_all_threads_work() {
        let folder = tempfile::tempdir().unwrap();
        let endings = Endings::open(folder.path(), &node("a")).unwrap();
        without_free_threads(endings.end(vec![login(1)]));
        drop(endings);
        assert!(Endings::open(folder.path(), &node("a")).unwrap().has(login(1)));
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
        let open = || Endings::open(folder.path(), &node("a")).unwrap();
        let file = folder.path().join("ended.a.logins");
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
    async fn nodes_of_one_folder_have_a_file_each() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name| Endings::open(folder.path(), &node(name)).unwrap();
        // What there was before each had its own goes to the first that comes.
        fs::write(folder.path().join("ended.logins"), login(0).0).unwrap();
        let (one, two) = (open("a"), open("b"));
        assert!(one.has(login(0)) && two.has(login(0)), "what is in the folder is known to all");
        two.end(vec![login(1)]).await;
        // Its file is written anew, which would leave the other one with a file without a name.
        for from in [10, 10 + ENDED_MAX] {
            one.end((from..from + ENDED_MAX).map(login).collect()).await;
        }
        two.end(vec![login(2)]).await;
        let written = |name: &str| {
            let file = folder.path().join(format!("ended.{name}.logins"));
            kept::read(&fs::read(file).unwrap())
        };
        assert_eq!(written("b"), [login(1), login(2)]);
        assert!(written("a").contains(&login(10 + ENDED_MAX)) && !written("a").contains(&login(1)));
        // Under another name it is the same folder; of more than are known the newest stay.
        fs::remove_file(folder.path().join("ended.a.logins")).unwrap();
        assert!((1..=2).all(|number| open("c").has(login(number))));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_who_sign_out_at_once_are_written_down_together() {
        let folder = tempfile::tempdir().unwrap();
        let endings = Endings::open(folder.path(), &node("a")).unwrap();
        let kept = endings.kept.clone().unwrap();
        let writing = kept.clone().lock_owned().await;
        let ends = (0..500).map(|number| endings.end(vec![login(number)]));
        let mut ends: Vec<_> = ends.map(Box::pin).collect();
        for end in &mut ends {
            assert!(end.now_or_never().is_none(), "it is not written down yet");
        }
        // One of them has gone; whoever says the same once more waits as well.
        drop(ends.pop());
        ends.push(Box::pin(endings.end(vec![login(7)])));
        assert!(ends.last_mut().unwrap().now_or_never().is_none());
        assert!((0..500).all(|number| endings.has(login(number))), "all have ended at once");
        drop(writing);
        join_all(ends).await;
        assert_eq!(kept.lock().await.writes, 1);
        let again = Endings::open(folder.path(), &node("a")).unwrap();
        assert!((0..500).all(|number| again.has(login(number))));
        assert!(!again.has(login(500)));
    }

    #[tokio::test]
    async fn what_could_not_be_written_down_is_by_whoever_comes_next() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Endings::open(folder.path(), &node("a")).unwrap();
        let endings = open();
        endings.end((0..2 * ENDED_MAX).map(login).collect()).await;
        endings.end((0..ENDED_MAX).map(login).collect()).await;
        // The file is full, and a new one cannot be made.
        let in_the_way = folder.path().join("ended.a.logins.new");
        fs::create_dir(&in_the_way).unwrap();
        let last = login(9 * ENDED_MAX);
        endings.end(vec![last]).await;
        assert!(endings.has(last) && !open().has(last));
        fs::remove_dir(&in_the_way).unwrap();
        endings.end(vec![last]).await;
        assert!(open().has(last));
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
