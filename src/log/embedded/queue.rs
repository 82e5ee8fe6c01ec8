//! What waits for the writer: records, bounded in bytes, and trims.
//!
//! The only lock between callers and the writer; it is held for a push or a swap.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::log::{AppendError, ReadError, Refusal};
use crate::types::{Offset, ShardId};

/// What a record in the queue is charged beside its bytes.
const APPEND_OVERHEAD: usize = size_of::<Append>();

/// Is a record that waits, and where its answer goes.
#[derive(Debug)]
pub(in crate::log) struct Append {
    pub(in crate::log) shard: ShardId,
    pub(in crate::log) record: Bytes,
    pub(in crate::log) answer: oneshot::Sender<Result<Offset, AppendError>>,
}

/// Is a trim that waits, and where its answer goes.
#[derive(Debug)]
pub(in crate::log) struct Trim {
    pub(in crate::log) shard: ShardId,
    pub(in crate::log) before: Offset,
    pub(in crate::log) answer: oneshot::Sender<Result<(), ReadError>>,
}

/// Passes work to the writer, in the order it came.
#[derive(Debug)]
pub(in crate::log) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    appends: Vec<Append>,
    trims: VecDeque<Trim>,
    /// What waits and what is being written.
    bytes: usize,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Takes nothing more, and is written to its end.
    Closing,
    /// The writer is gone.
    Stopped,
}

impl Queue {
    pub(in crate::log) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), work: Condvar::new(), bytes_max }
    }

    /// Puts a record behind those that wait; its place is fixed from here on.
    pub(in crate::log) fn push(&self, append: Append) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Err(Refusal::Stopped);
        }
        let bytes = state.bytes.saturating_add(charge(&append));
        // A record alone may be over the bound: it would wait for ever.
        if bytes > self.bytes_max && state.bytes > 0 {
            return Err(Refusal::Full { bytes_max: self.bytes_max });
        }
        state.bytes = bytes;
        state.appends.push(append);
        let first = state.appends.len() == 1;
        drop(state);
        if first {
            self.work.notify_one();
        }
        Ok(())
    }

    pub(in crate::log) fn trim(&self, trim: Trim) -> Result<(), ReadError> {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Err(ReadError::Stopped);
        }
        state.trims.push_back(trim);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Waits for work and moves it out: all records into `appends`, which is empty, and one trim
    /// into `trim`, unless one is under way. Returns whether there is work: there is none once the
    /// queue is closed and empty.
    pub(in crate::log) fn take(&self, appends: &mut Vec<Append>, trim: &mut Option<Trim>) -> bool {
        let mut state = self.state.lock();
        loop {
            std::mem::swap(&mut state.appends, appends);
            if trim.is_none() {
                *trim = state.trims.pop_front();
            }
            if !appends.is_empty() || trim.is_some() {
                return true;
            }
            if state.phase != Phase::Open {
                return false;
            }
            self.work.wait(&mut state);
        }
    }

    /// Makes room again for what `take` gave.
    pub(in crate::log) fn release(&self, appends: &[Append]) {
        let bytes = appends.iter().map(charge).sum::<usize>();
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Lets nothing more in.
    pub(in crate::log) fn close(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        drop(state);
        self.work.notify_one();
    }

    /// Lets nothing more in and gives back what nobody will write.
    pub(in crate::log) fn stop(&self) -> (Vec<Append>, VecDeque<Trim>) {
        let mut state = self.state.lock();
        state.phase = Phase::Stopped;
        state.bytes = 0;
        (std::mem::take(&mut state.appends), std::mem::take(&mut state.trims))
    }
}

fn charge(append: &Append) -> usize {
    append.record.len() + APPEND_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(bytes: usize) -> Append {
        let (answer, _) = oneshot::channel();
        Append { shard: ShardId(0), record: Bytes::from(vec![0; bytes]), answer }
    }

    #[test]
    fn what_waits_is_bounded_until_it_is_written() {
        let queue = Queue::new(3 * (APPEND_OVERHEAD + 10));
        for _ in 0..3 {
            assert_eq!(queue.push(append(10)), Ok(()));
        }
        let full = Err(Refusal::Full { bytes_max: 3 * (APPEND_OVERHEAD + 10) });
        assert_eq!(queue.push(append(10)), full);
        let (mut taken, mut trim) = (Vec::new(), None);
        assert!(queue.take(&mut taken, &mut trim));
        assert_eq!(taken.len(), 3);
        assert_eq!(queue.push(append(10)), full, "taken is not written");
        queue.release(&taken);
        assert_eq!(queue.push(append(10_000)), Ok(()), "alone it may be longer");
        assert_eq!(queue.push(append(0)), full);
    }

    #[test]
    fn a_closed_queue_is_emptied_and_takes_nothing() {
        let queue = Queue::new(1000);
        queue.push(append(1)).unwrap();
        queue.close();
        assert_eq!(queue.push(append(1)), Err(Refusal::Stopped));
        let (mut taken, mut trim) = (Vec::new(), None);
        assert!(queue.take(&mut taken, &mut trim));
        assert_eq!(taken.len(), 1);
        taken.clear();
        assert!(!queue.take(&mut taken, &mut trim));
    }

    #[test]
    fn a_stopped_queue_gives_back_what_waits() {
        let queue = Queue::new(1000);
        queue.push(append(1)).unwrap();
        let (answer, _) = oneshot::channel();
        let trim = Trim { shard: ShardId(0), before: Offset(1), answer };
        assert!(queue.trim(trim).is_ok());
        let (appends, trims) = queue.stop();
        assert_eq!((appends.len(), trims.len()), (1, 1));
        assert_eq!(queue.push(append(1)), Err(Refusal::Stopped));
        assert!(!queue.take(&mut Vec::new(), &mut None));
    }
}
