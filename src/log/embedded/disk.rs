//! A disk in memory for tests: it can fail, and lose what was not synced, as real ones do.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use redb::StorageBackend;

/// Is a disk; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// Is held while syncs are to wait.
    gate: Arc<Mutex<()>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<u8>,
    synced: Vec<u8>,
    /// What was written since the last sync, in order.
    unsynced: VecDeque<Change>,
    syncs: u64,
    fails: Option<Failure>,
}

#[derive(Debug, Clone)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

/// Says what fails from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Every sync.
    Sync,
    /// Every write, as on a full disk.
    Write,
}

impl Disk {
    /// Lets operations fail from now on.
    pub fn fail(&self, failure: Failure) {
        self.state.lock().fails = Some(failure);
    }

    /// Lets syncs wait for as long as the guard lives.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.gate.lock()
    }

    /// Returns how many syncs were done.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Returns the disk as it may be after a loss of power now: of what was not synced, any part
    /// is there, drawn from `seed`.
    #[must_use]
    pub fn after_power_loss(&self, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let state = self.state.lock();
        let mut kept = state.synced.clone();
        for change in &state.unsynced {
            let whole: bool = rng.random();
            match change {
                Change::Length(length) if whole => kept.resize(*length, 0),
                Change::Length(_) => {}
                Change::Write(at, bytes) if *at + bytes.len() <= kept.len() => {
                    let part = if whole { bytes.len() } else { rng.random_range(0..=bytes.len()) };
                    kept[*at..*at + part].copy_from_slice(&bytes[..part]);
                }
                Change::Write(..) => {}
            }
        }
        let after = State { seen: kept.clone(), synced: kept, ..State::default() };
        Self { gate: Arc::default(), state: Arc::new(Mutex::new(after)) }
    }
}

impl State {
    fn check(&self, failure: Failure) -> io::Result<()> {
        match (self.fails, failure) {
            (Some(Failure::Sync), Failure::Sync) => Err(io::Error::other("the sync failed")),
            (Some(Failure::Write), Failure::Write) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        let at = place(offset)?;
        let found = state.seen.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(Failure::Write)?;
        let length = place(len)?;
        state.seen.resize(length, 0);
        state.unsynced.push_back(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        drop(self.gate.lock());
        let state = &mut *self.state.lock();
        state.check(Failure::Sync)?;
        state.syncs += 1;
        for change in state.unsynced.drain(..) {
            match change {
                Change::Length(length) => state.synced.resize(length, 0),
                Change::Write(at, bytes) => {
                    state.synced[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(Failure::Write)?;
        let at = place(offset)?;
        let room = state.seen.get_mut(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        room.copy_from_slice(data);
        state.unsynced.push_back(Change::Write(at, data.to_vec()));
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}
