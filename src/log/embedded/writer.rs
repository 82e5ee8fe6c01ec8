//! The one thread that writes: everything that waits in one commit, then marks, then answers.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::log::embedded::View;
use crate::log::embedded::queue::{Append, Queue, Trim};
use crate::log::embedded::store::{Cut, Store, Write};
use crate::log::{AppendError, Cause, Marks, Metrics, ReadError, Refusal};
use crate::types::{Offset, ShardId};

/// How many records one commit removes: a long trim is done in steps, between the records.
const TRIM_RECORDS_MAX: u64 = 4096;

/// Owns the right to write to the file.
pub(in crate::log) struct Writer {
    pub(in crate::log) store: Arc<Store>,
    pub(in crate::log) queue: Arc<Queue>,
    pub(in crate::log) shards: Arc<[watch::Sender<View>]>,
    /// The marks of each shard, with what is not committed yet.
    pub(in crate::log) marks: Vec<Marks>,
    pub(in crate::log) metrics: Metrics,
}

impl Writer {
    /// Writes until the queue is closed and empty, or a commit fails.
    pub(in crate::log) fn run(mut self) {
        let (mut appends, mut trim) = (Vec::new(), None);
        while self.queue.take(&mut appends, &mut trim) {
            let cut = trim.as_ref().map(|trim| self.next_cut(trim));
            let began = Instant::now();
            let offsets = match self.write(&appends, cut) {
                Ok(offsets) => offsets,
                Err(error) => {
                    tracing::error!(%error, "a commit of the log failed, it stops");
                    self.fail(&mut appends, trim, Arc::new(error));
                    return;
                }
            };
            self.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
            self.publish(&appends, cut);
            self.answer(&mut appends, &offsets);
            let done = cut.zip(trim.as_ref()).is_some_and(|(cut, trim)| cut.below >= trim.before);
            if done && let Some(trim) = trim.take() {
                // Whoever asked may have gone.
                let _ = trim.answer.send(Ok(()));
            }
        }
    }

    /// Returns the step that brings a trim nearer to its end.
    fn next_cut(&self, trim: &Trim) -> Cut {
        let low = self.marks[index(trim.shard)].low;
        let step = Offset(low.0.saturating_add(TRIM_RECORDS_MAX));
        Cut { shard: trim.shard, from: low, below: trim.before.min(step).max(low) }
    }

    /// Gives the records their offsets, in order, and commits them.
    fn write(&mut self, appends: &[Append], cut: Option<Cut>) -> Result<Vec<Offset>, redb::Error> {
        let mut offsets = Vec::with_capacity(appends.len());
        let marks = &mut self.marks;
        let writes = appends.iter().map(|append| {
            let high = &mut marks[index(append.shard)].high;
            let offset = *high;
            *high = high.next();
            offsets.push(offset);
            Write { shard: append.shard, offset, record: &append.record }
        });
        self.store.commit(writes, cut)?;
        if let Some(cut) = cut {
            self.marks[index(cut.shard)].low = cut.below;
        }
        Ok(offsets)
    }

    /// Shows readers what is durable now.
    fn publish(&self, appends: &[Append], cut: Option<Cut>) {
        let touched = appends.iter().map(|append| append.shard).chain(cut.map(|cut| cut.shard));
        for shard in touched {
            let marks = self.marks[index(shard)];
            self.shards[index(shard)].send_if_modified(|view| {
                let before = std::mem::replace(&mut view.marks, marks);
                before.high != marks.high
            });
        }
    }

    fn answer(&self, appends: &mut Vec<Append>, offsets: &[Offset]) {
        self.queue.release(appends);
        self.metrics.records.inc_by(offsets.len() as u64);
        let bytes = appends.iter().map(|append| append.record.len() as u64).sum();
        self.metrics.bytes.inc_by(bytes);
        for (append, offset) in appends.drain(..).zip(offsets) {
            // Whoever appended may have gone: the record is written all the same.
            let _ = append.answer.send(Ok(*offset));
        }
    }

    /// Lets nothing more in, then tells each that waits what is known.
    fn fail(&self, appends: &mut Vec<Append>, trim: Option<Trim>, cause: Cause) {
        let (waiting, trims) = self.queue.stop();
        self.metrics.in_doubt.inc_by(appends.len() as u64);
        self.metrics.refused.inc_by(waiting.len() as u64);
        for append in appends.drain(..) {
            let error = AppendError::Unknown { source: Arc::clone(&cause) };
            let _ = append.answer.send(Err(error));
        }
        for append in waiting {
            let error = AppendError::NotWritten { reason: Refusal::Stopped };
            let _ = append.answer.send(Err(error));
        }
        for trim in trim.into_iter().chain(trims) {
            let error = ReadError::Failed { source: Arc::clone(&cause) };
            let _ = trim.answer.send(Err(error));
        }
    }
}

/// However the writer ends, nobody waits for it any more.
impl Drop for Writer {
    fn drop(&mut self) {
        // Dropping an answer's sender tells whoever waits for it.
        drop(self.queue.stop());
        for shard in self.shards.iter() {
            shard.send_modify(|view| view.writable = false);
        }
    }
}

fn index(shard: ShardId) -> usize {
    usize::try_from(shard.0).expect("the queue takes shards of the log only")
}
