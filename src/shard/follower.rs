//! Reads a shard's log without owning it: up to its claim, or for as long as another owner lives.

use tokio_util::sync::CancellationToken;

use crate::checkpoint::Progress;
use crate::log::{Fence, Marks};
use crate::shard::claim::{Claimed, Claiming, Reader, stored_below};
use crate::shard::handle::Ports;
use crate::shard::{Handle, StartError, handle};
use crate::types::{DocId, Offset, ShardId};

/// Knows a shard up to a place in its log.
pub struct Follower {
    shard: ShardId,
    ports: Ports,
    reader: Reader,
    /// What each document's newest checkpoint must at least stand at.
    stored: Vec<(DocId, Offset)>,
}

/// What a follower has found.
pub enum Begun {
    /// The shard can be followed.
    Following(Box<Follower>),
    /// Its low-water mark is outside its log: records are lost.
    Lost(Marks, Offset),
}

impl Follower {
    /// Begins at the low-water mark; nothing above it is read yet.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn begin(shard: ShardId, ports: Ports) -> Result<Begun, StartError> {
        let (mut progress, mut marks) = look(shard, &ports).await?;
        while !covers(marks, &progress) {
            // An owner that lives may have gone on, and trimmed, between the two looks.
            let before = progress;
            (progress, marks) = look(shard, &ports).await?;
            if progress == before && !covers(marks, &progress) {
                return Ok(Begun::Lost(marks, progress.low_water));
            }
        }
        let Progress { low_water: from, epoch, released, .. } = progress;
        let bytes_max = ports.config.recovery_read_bytes.as_u64() as usize;
        let stored = stored_below(&*ports.log, shard, (marks.low, from), bytes_max).await?;
        let at = (from, Fence { epoch, released });
        let reader = Reader::new(ports.log.clone(), shard, at, bytes_max);
        let stored = stored.into_iter().collect();
        Ok(Begun::Following(Box::new(Self { shard, ports, reader, stored })))
    }

    /// Reads to where the log ends now.
    ///
    /// # Errors
    /// [`StartError`]; where its owner has trimmed what was next, another follower has to begin.
    pub async fn catch_up(&mut self) -> Result<(), StartError> {
        self.reader.read_to_end().await
    }

    /// Waits until the log goes on.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn wait(&self) -> Result<(), StartError> {
        self.reader.wait().await
    }

    /// Claims the shard, unless `until` is cancelled first, and serves it.
    ///
    /// # Errors
    /// [`StartError`]; nothing is served then.
    pub async fn claim(
        self: Box<Self>,
        claiming: Claiming,
        until: &CancellationToken,
    ) -> Result<Handle, StartError> {
        let (shard, ports) = (self.shard, self.ports.clone());
        let claimed = handle::wanted(shard, until, self.claim_only(claiming)).await?;
        handle::serve(shard, ports, claimed).await
    }

    pub(crate) async fn claim_only(
        self: Box<Self>,
        claiming: Claiming,
    ) -> Result<Claimed, StartError> {
        let Self { ports, reader, stored, .. } = *self;
        let mut claimed = reader.claim(&ports.claimant, claiming).await?;
        stored.iter().for_each(|(doc, offset)| claimed.tail.store(doc, *offset));
        Ok(claimed)
    }
}

/// Reads how far a shard is covered, and then where its log begins and ends.
async fn look(shard: ShardId, ports: &Ports) -> Result<(Progress, Marks), StartError> {
    let log = ports.log.id();
    let progress = ports.store.progress(shard, log).await;
    let progress = progress.map_err(|source| StartError::Progress { shard, source })?;
    let never = Progress { log, low_water: Offset(0), epoch: None, released: false };
    let marks = ports.log.marks(shard).await;
    let marks = marks.map_err(|source| StartError::Read { shard, source })?;
    Ok((progress.unwrap_or(never), marks))
}

fn covers(marks: Marks, progress: &Progress) -> bool {
    (marks.low..=marks.high).contains(&progress.low_water)
}
