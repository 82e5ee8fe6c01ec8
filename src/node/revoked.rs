//! What is revoked, for whoever has to refuse it: followed in the control topic, or, on a node that
//! is alone, kept in a small file of the data folder.
//!
//! ```text
//! control topic ─► Control::revoked ─┐
//!                                    ├─► watch of Revocations ─► whoever judges tokens
//! file ─► Kept ◄── the admin port ───┘
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::admin::{Entry, Keeps, Refused};
use crate::auth::Revocations;
use crate::cluster::{Change, Control, Refusal, Revoked, member};
use crate::config::{Config, Engine};
use crate::folder;
use crate::task::Tasks;

/// The file of a node that is alone.
const FILE: &str = "revoked.list";

/// How often a node looks whether it is cut off from the control topic: that is no news there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a file can be at most, in bytes: longer than any list.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Tells what is revoked, from now on.
pub(crate) type Told = watch::Receiver<Arc<Revocations>>;

/// Follows what a cluster has revoked.
pub(crate) struct Followed {
    sender: watch::Sender<Arc<Revocations>>,
}

impl Followed {
    /// Begins with what the member has read.
    pub(crate) fn begin(member: &member::Handle) -> Arc<Self> {
        let known = Arc::new(read(member.control().revoked()));
        Arc::new(Self { sender: watch::Sender::new(known) })
    }

    /// Returns what is told.
    pub(crate) fn told(&self) -> Told {
        self.sender.subscribe()
    }

    /// Follows until the node reads the control topic no more. Where the node does not hear of
    /// itself, it may not hear of revocations either, and nothing is known to hold.
    pub(crate) async fn follow(self: Arc<Self>, member: member::Handle) {
        let (mut known, mut cut_off) = (Arc::default(), false);
        loop {
            let before = cut_off;
            // Before the state is looked at: whatever was revoked before the node heard of itself
            // is in it.
            cut_off = is_cut_off(before, member.is_leaving(), member.is_suspended());
            let control = member.control();
            let newer = news(&known, &control);
            if newer.is_some() || cut_off != before {
                known = newer.unwrap_or(known);
                self.tell(known.clone(), cut_off).await;
            }
            match (before, cut_off) {
                (false, true) => warn!("it does not hear of revocations: no token lets anybody in"),
                (true, false) => info!("it hears of revocations again"),
                (false, false) | (true, true) => {}
            }
            if let Ok(Err(_)) = timeout(LOOK_EVERY, member.newer(control.at())).await {
                return;
            }
        }
    }

    async fn tell(&self, revoked: Arc<Revoked>, cut_off: bool) {
        // What is offloaded may wait for what others ask for.
        let read = Tasks::apart("revocations", move || read(&revoked)).await;
        let read = if cut_off { read.cut_off() } else { read };
        self.sender.send_if_modified(|told| {
            let new = **told != read;
            *told = Arc::new(read);
            new
        });
    }
}

/// Tells whether a node may miss what is revoked. One that leaves is not heard of any more, also by
/// itself, and hears of the others as before: its clients leave in turn.
fn is_cut_off(before: bool, is_leaving: bool, is_suspended: bool) -> bool {
    if is_leaving { before } else { is_suspended }
}

/// Returns what is revoked, where that is not what is known. A topic that is begun again says
/// nothing until its snapshot is read: what was revoked stays so meanwhile.
fn news(known: &Arc<Revoked>, control: &Control) -> Option<Arc<Revoked>> {
    let revoked = control.revoked();
    let same = Arc::ptr_eq(known, revoked) || known == revoked;
    (control.cluster().is_some() && !same).then(|| revoked.clone())
}

/// Keeps what is revoked on a node that is alone.
pub(crate) struct Kept {
    /// Where; nowhere where everything else is in memory, too.
    folder: Option<PathBuf>,
    list: Mutex<Arc<Revoked>>,
    sender: watch::Sender<Arc<Revocations>>,
}

impl Kept {
    /// Reads what the node's data folder says.
    ///
    /// # Errors
    /// Where the file cannot be read, or is damaged; the message says what to do next.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Arc<Self>> {
        let folder = (config.log != Engine::Memory).then(|| config.data.clone());
        let list = match &folder {
            Some(folder) => Arc::new(stored(&folder.join(FILE))?.unwrap_or_default()),
            None => Arc::default(),
        };
        let sender = watch::Sender::new(Arc::new(read(&list)));
        Ok(Arc::new(Self { folder, list: Mutex::new(list), sender }))
    }

    /// Returns what is told.
    pub(crate) fn told(&self) -> Told {
        self.sender.subscribe()
    }
}

impl Keeps for Kept {
    fn revoked(&self) -> Arc<Revoked> {
        self.list.lock().clone()
    }

    fn revoke(&self, Entry { token, until, now }: &Entry) -> Result<Vec<Change>, Refused> {
        let known = self.revoked();
        if known.has(token, *until) {
            return Ok(Vec::new());
        }
        let mut list = Revoked::clone(&known);
        list.revoke(token, *until, *now).map_err(Refusal::from)?;
        if let Some(folder) = &self.folder {
            let bytes = list.to_bytes();
            let written = write(folder, &bytes);
            // A colon would stand for the end of the reason.
            let told = |error: io::Error| error.to_string().replace(": ", ", ");
            written.map_err(|error| Refused::NotKept { reason: told(error) })?;
        }
        let told = Arc::new(read(&list));
        *self.list.lock() = Arc::new(list);
        self.sender.send_replace(told);
        Ok(vec![Change::Revoked { token: token.clone() }])
    }
}

/// Warns where a member of a cluster has a list of its own from before: nobody asks it any more.
pub(crate) fn warn_of_own(config: &Config) {
    let file = config.data.join(FILE);
    if file.exists() {
        let file = file.display();
        warn!(
            %file,
            "what this node had revoked while it was alone is not revoked in the cluster: revoke \
             there what is to stay so, then remove the file"
        );
    }
}

/// Reads a list; a name that no token can have stops nothing.
fn read(revoked: &Revoked) -> Revocations {
    let mut read = Revocations::default();
    let tokens = revoked.tokens().filter_map(|(id, _)| id.as_str().parse().ok());
    tokens.for_each(|id| read.revoke_token(id));
    for (subject, issued, _) in revoked.subjects() {
        if let Ok(subject) = subject.as_str().parse() {
            read.revoke_subject(subject, issued);
        }
    }
    read
}

/// Reads the list of a file; none if there is no file.
fn stored(file: &Path) -> anyhow::Result<Option<Revoked>> {
    let at = file.display();
    let read = fs::metadata(file).and_then(|about| match about.len() {
        0..=FILE_BYTES_MAX => fs::read(file),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    });
    let list = match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => None,
        Err(error) => anyhow::bail!(
            "the list of what is revoked, {at}, cannot be read ({error}): give this user the right \
             to it"
        ),
        Ok(bytes) => Revoked::from_bytes(&bytes),
    };
    let damaged = format!(
        "the list of what is revoked, {at}, is damaged, and without it revoked tokens would be \
         good again: put a copy back; or, where there is none, move the file away, and replace the \
         key that tokens are signed with or revoke again what is to stay revoked"
    );
    list.map(Some).context(damaged)
}

/// Writes the file anew.
fn write(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    // Where the log and the checkpoints are elsewhere, this is the first file of the folder.
    folder::make(folder)?;
    folder::replace(folder, FILE, bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::auth::Claims;
    use crate::cluster::{
        Command, Founded, Operator, Order, REVOKED_BYTES_MAX, Record, Token, Void,
    };
    use crate::task::without_free_threads;
    use crate::types::{Author, Offset, Timestamp};

    /// What the file is written to before it has its name.
    const NEW_FILE: &str = "revoked.list.new";

    fn folder() -> (TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().join("data"), ..Config::default() };
        (folder, config)
    }

    fn entry(token: Token) -> Entry {
        Entry { token, until: Timestamp(99), now: Timestamp(50) }
    }

    fn id(id: &str) -> Token {
        Token::Id(id.parse().unwrap())
    }

    fn of(subject: &str) -> Token {
        Token::Subject { subject: subject.parse().unwrap(), issued: Timestamp(50) }
    }

    fn stops(told: &Told, subject: &str, id: &str, issued: u64) -> bool {
        let claims = Claims {
            subject: subject.parse().unwrap(),
            name: Author::anonymous(),
            expires: Timestamp(99),
            issued: Some(Timestamp(issued)),
            id: Some(id.parse().unwrap()),
            grants: Vec::new(),
            key: None,
        };
        told.borrow().check(&claims).is_err()
    }

    #[test]
    fn what_is_revoked_stays_so_while_a_topic_is_begun_again() {
        let mut control = Control::default();
        let founded = Founded { cluster: 7, shards: 1, at: Timestamp(1) };
        control.apply(Offset(0), &Record::Founded(founded)).unwrap();
        let by =
            Operator { name: "ada".parse().unwrap(), why: "".parse().unwrap(), at: Timestamp(50) };
        let order = Order::Revoke { token: id("j"), until: Timestamp(99) };
        assert_eq!(news(&Arc::default(), &control), None);
        let command = Command { by, expected: None, order };
        control.apply(Offset(1), &Record::Command(command)).unwrap();
        let known = news(&Arc::default(), &control).expect("it is new");
        assert_eq!(known.count(), 1);
        assert_eq!(news(&known, &control), None);
        assert_eq!(news(&Arc::new(Revoked::clone(&known)), &control), None);
        assert_eq!(news(&known, &Control::default()), None, "nothing is read yet");
    }

    #[test]
    fn what_is_revoked_is_told_while_all_threads_work() {
        let mut revoked = Revoked::default();
        revoked.revoke(&id("j"), Timestamp(99), Timestamp(0)).unwrap();
        let followed = Followed { sender: watch::Sender::default() };
        without_free_threads(followed.tell(Arc::new(revoked), false));
        assert!(stops(&followed.told(), "a", "j", 60));
    }

    #[test]
    fn who_leaves_hears_as_much_as_before() {
        for (before, is_leaving, is_suspended, expected) in [
            (false, false, true, true),
            (true, false, false, false),
            (false, true, true, false),
            (true, true, true, true),
            (true, true, false, true),
        ] {
            assert_eq!(is_cut_off(before, is_leaving, is_suspended), expected);
        }
    }

    #[test]
    fn what_is_revoked_is_so_after_a_restart() {
        let (_folder, config) = folder();
        let long = "s".repeat(255);
        let kept = Kept::open(&config).unwrap();
        let mut told = kept.told();
        assert!(!config.data.exists(), "nothing is written before there is something");
        assert_eq!(kept.revoke(&entry(id("j"))).map(|changes| changes.len()), Ok(1));
        assert_eq!(kept.revoke(&entry(id("j"))).map(|changes| changes.len()), Ok(0));
        assert_eq!(kept.revoke(&entry(of(&long))).map(|changes| changes.len()), Ok(1));
        assert!(told.has_changed().unwrap());
        let check = |told: &Told| {
            assert!(stops(told, "a", "j", 60) && stops(told, &long, "k", 50));
            assert!(!stops(told, &long, "k", 51) && !stops(told, "a", "k", 1));
        };
        check(&told);
        told.mark_unchanged();
        let before = kept.revoked();
        drop(kept);
        let again = Kept::open(&config).unwrap();
        check(&again.told());
        assert_eq!(again.revoked(), before);
    }

    #[test]
    fn a_node_in_memory_writes_nothing() {
        let (_folder, mut config) = folder();
        config.log = Engine::Memory;
        let kept = Kept::open(&config).unwrap();
        kept.revoke(&entry(id("j"))).unwrap();
        assert!(stops(&kept.told(), "a", "j", 1));
        assert!(!config.data.exists());
        assert!(!stops(&Kept::open(&config).unwrap().told(), "a", "j", 1));
    }

    #[test]
    fn a_full_list_and_a_folder_that_takes_nothing_change_nothing() {
        let (_folder, config) = folder();
        let kept = Kept::open(&config).unwrap();
        fs::create_dir_all(config.data.join(NEW_FILE)).unwrap();
        let refused = kept.revoke(&entry(id("j"))).unwrap_err();
        assert!(matches!(refused, Refused::NotKept { .. }), "{refused}");
        assert!(!stops(&kept.told(), "a", "j", 1), "it is not in force");
        fs::remove_dir(config.data.join(NEW_FILE)).unwrap();
        kept.revoke(&entry(id("j"))).unwrap();
        let mut list = Revoked::default();
        let mut count = 0;
        while list.bytes() + 277 <= REVOKED_BYTES_MAX {
            list.revoke(&of(&format!("{count:0255}")), Timestamp(99), Timestamp(0)).unwrap();
            count += 1;
        }
        fs::write(config.data.join(FILE), list.to_bytes()).unwrap();
        let kept = Kept::open(&config).unwrap();
        let refused = kept.revoke(&entry(of(&"x".repeat(255)))).unwrap_err();
        assert_eq!(refused, Refusal::from(Void::TooManyRevoked { count }).into());
        assert_eq!(kept.revoked().count(), count);
        assert_eq!(fs::read(config.data.join(FILE)).unwrap(), list.to_bytes());
    }

    #[test]
    fn a_damaged_list_is_not_begun_without() {
        let (_folder, config) = folder();
        Kept::open(&config).unwrap().revoke(&entry(id("j"))).unwrap();
        let file = config.data.join(FILE);
        let good = fs::read(&file).unwrap();
        // What a write that was cut off has left is no list.
        fs::write(config.data.join(NEW_FILE), &good[..5]).unwrap();
        assert_eq!(Kept::open(&config).unwrap().revoked().count(), 1);
        let torn = [&good[..good.len() - 1], &[good[good.len() - 1] ^ 1]].concat();
        let long = vec![0; 1 + usize::try_from(FILE_BYTES_MAX).unwrap()];
        for bad in [&torn, &good[..5].to_vec(), &Vec::new(), &long] {
            fs::write(&file, bad).unwrap();
            let said = Kept::open(&config).err().expect("it does not begin").to_string();
            assert!(said.contains("data/revoked.list, is damaged"), "{said}");
            assert!(said.contains("put a copy back"), "{said}");
        }
    }
}
