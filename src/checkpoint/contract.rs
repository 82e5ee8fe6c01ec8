//! What every store has to do, as cases that are run on each of them, and what [`save`] and
//! [`load`] make of it. Each case wants an empty store.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::access::{Access, AccessChange, Right, Visibility};
use crate::checkpoint::{
    BlobId, BlobKind, CHUNK_BYTES, CheckpointId, Damage, Error, Life, Loaded, Manifest, Progress,
    SealedSegment, SessionRow, Snapshot, Store, StoreError, WindowRow, erase, load, load_segment,
    save, save_segment,
};
use crate::text::Operation;
use crate::types::{
    Author, DocId, Epoch, LogId, Offset, Revision, Seq, SessionId, ShardId, Timestamp,
};

/// Is one case of the contract.
pub struct Case {
    /// What it shows.
    pub name: &'static str,
    run: for<'a> fn(&'a dyn Store) -> BoxFuture<'a, Result<(), Error>>,
}

/// The log that snapshots of the cases belong to.
pub const LOG: LogId = LogId(1 << 100);

/// Lists the cases.
pub const CASES: &[Case] = &[
    case("a snapshot round-trips", |store| Box::pin(round_trip(store))),
    case("a chunk may be put again", |store| Box::pin(chunks_are_replaced(store))),
    case("blobs are kept apart", |store| Box::pin(blobs_are_apart(store))),
    case("manifests come newest first", |store| Box::pin(newest_first(store))),
    case("removing what is not there is fine", |store| Box::pin(removing_nothing(store))),
    case("the newest two are kept", |store| Box::pin(newest_two(store))),
    case("a repeated save changes nothing", |store| Box::pin(repeated(store))),
    case("another text is a conflict", |store| Box::pin(conflict(store))),
    case("a stale save does no harm", |store| Box::pin(stale(store))),
    case("what is of the log before is older", |store| Box::pin(log_before(store))),
    case("a damaged chunk leads to the older one", |store| Box::pin(damaged(store))),
    case("a missing chunk leads to the older one", |store| Box::pin(missing(store))),
    case("all damaged is not none", |store| Box::pin(all_damaged(store))),
    case("a repeated save heals", |store| Box::pin(healing(store))),
    case("a newer format is not skipped", |store| Box::pin(newer_format(store))),
    case("chunks without a manifest are swept", |store| Box::pin(garbage(store))),
    case("two documents are saved at once", |store| Box::pin(concurrent(store))),
    case("segments round-trip", |store| Box::pin(segments(store))),
    case("segments that nothing lists are swept", |store| Box::pin(unlisted_segments(store))),
    case("a cut takes the past along", |store| Box::pin(cut(store))),
    case("erasing leaves nothing", |store| Box::pin(erasing(store))),
    case("progress only rises", |store| Box::pin(progress(store))),
    case("documents are listed page by page", |store| Box::pin(listing(store))),
    case("a closed store says so", |store| Box::pin(closed(store))),
];

const fn case(
    name: &'static str,
    run: for<'a> fn(&'a dyn Store) -> BoxFuture<'a, Result<(), Error>>,
) -> Case {
    Case { name, run }
}

impl Case {
    /// Runs the case on an empty store.
    ///
    /// # Panics
    /// If the store does not hold the contract.
    pub async fn run(&self, store: &dyn Store) {
        if let Err(error) = (self.run)(store).await {
            panic!("{}: {error:?}", self.name);
        }
    }
}

/// Returns a document's name.
///
/// # Panics
/// If it is none.
pub fn doc(name: &str) -> DocId {
    name.parse().expect("a document id")
}

/// Returns a snapshot of which every field depends on the document and the revision, and whose
/// segment has `live_bytes`.
pub fn snapshot(doc: &DocId, revision: u64, live_bytes: usize) -> Snapshot {
    let session = SessionId([7; 16]);
    let author: Author = "ada".parse().expect("an author");
    let at = Timestamp(1_700_000_000_000 + revision);
    let row = |rev: u64| WindowRow {
        session,
        seq: Seq(rev),
        author: author.clone(),
        base: Revision(rev - 1),
        op: Operation::builder().retain(3).insert("é\r\n🦀").delete(2).build(),
    };
    let mut noise = revision;
    let live = (0..live_bytes).map(|_| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.to_be_bytes()[0]
    });
    Snapshot {
        doc: doc.clone(),
        revision: Revision(revision),
        log: LOG,
        offset: Offset(revision * 10),
        epoch: Epoch(4),
        text_hash: revision ^ 0xabcd_0000_0000_0000,
        life: Life::Live,
        created: at,
        live: live.collect(),
        sessions: vec![SessionRow { session, seq: Seq(revision), rev: Revision(revision), at }],
        window: (revision.saturating_sub(3) + 1..=revision).map(row).collect(),
        sealed: Vec::new(),
        versions: Vec::new(),
        cut: Revision(0),
        access: access(revision),
    }
}

fn access(revision: u64) -> Access {
    let subject = |name: &str| name.parse().expect("a subject");
    let mut access = Access::default();
    (access.owner, access.visibility) = (Some(subject("ada@example.org")), Visibility::Public);
    let member = subject(&format!("member-{revision}"));
    access.apply(&AccessChange::Member(member, Right::Write.into())).expect("there is room");
    access
}

async fn saved(store: &dyn Store, snapshot: Snapshot) -> Result<Arc<Snapshot>, Error> {
    let snapshot = Arc::new(snapshot);
    save(store, &snapshot).await?;
    Ok(snapshot)
}

async fn check_loads(store: &dyn Store, expected: &Snapshot, skipped: u32) -> Result<(), Error> {
    let loaded = load(store, &expected.doc, LOG).await?;
    assert_eq!(loaded, Some(Loaded { snapshot: expected.clone(), skipped }));
    Ok(())
}

async fn revisions(store: &dyn Store, doc: &DocId) -> Result<Vec<u64>, Error> {
    let manifests = store.manifests(doc, 100).await?;
    Ok(manifests.iter().map(|manifest| manifest.id.revision.0).collect())
}

fn body_of(snapshot: &Snapshot) -> BlobId {
    snapshot.encode().0.body()
}

async fn round_trip(store: &dyn Store) -> Result<(), Error> {
    for (name, live) in [("empty", 0), ("small", 10), ("one", CHUNK_BYTES - 200), ("big", 900_000)]
    {
        assert_eq!(load(store, &doc(name), LOG).await?, None);
        let snapshot = saved(store, snapshot(&doc(name), 5, live)).await?;
        check_loads(store, &snapshot, 0).await?;
    }
    Ok(())
}

async fn chunks_are_replaced(store: &dyn Store) -> Result<(), Error> {
    let blob = body_of(&snapshot(&doc("a"), 1, 1));
    assert_eq!(store.chunk(&blob, 0).await?, None);
    for content in ["first", "second, longer", ""] {
        store.put_chunk(&blob, 0, content.into()).await?;
        assert_eq!(store.chunk(&blob, 0).await?, Some(content.into()));
        assert_eq!(store.chunk(&blob, 1).await?, None);
    }
    Ok(())
}

async fn blobs_are_apart(store: &dyn Store) -> Result<(), Error> {
    let blob = |name: &str, kind, revision, hash| BlobId {
        doc: doc(name),
        kind,
        revision: Revision(revision),
        hash,
    };
    let all = [
        blob("a", BlobKind::Body, 1, 1),
        blob("a", BlobKind::Body, 1, u64::MAX),
        blob("a", BlobKind::Body, u64::MAX, 1),
        blob("a", BlobKind::Segment, 0, 1),
        blob("a-", BlobKind::Body, 1, 1),
        blob("aa", BlobKind::Segment, 1, 1),
    ];
    for (index, blob) in (0..).zip(&all) {
        store.put_chunk(blob, index, format!("{index}").into()).await?;
        store.put_chunk(blob, u32::MAX, "last".into()).await?;
    }
    for (index, blob) in (0..).zip(&all) {
        assert_eq!(store.chunk(blob, index).await?, Some(format!("{index}").into()));
    }
    let mut listed = store.blobs(&doc("a")).await?;
    listed.sort();
    assert_eq!(listed, all[..4]);
    store.remove_blob(&all[0]).await?;
    assert_eq!(store.chunk(&all[0], u32::MAX).await?, None);
    for blob in &all[1..] {
        assert_eq!(store.chunk(blob, u32::MAX).await?, Some("last".into()), "{blob:?}");
    }
    assert_eq!(store.blobs(&doc("a")).await?.len(), 3);
    Ok(())
}

async fn newest_first(store: &dyn Store) -> Result<(), Error> {
    let id = |revision, offset| CheckpointId {
        doc: doc("a"),
        revision: Revision(revision),
        offset: Offset(offset),
    };
    let oldest_first = [id(0, u64::MAX), id(1, 0), id(1, 7), id(256, 3), id(u64::MAX, 1)];
    for at in [3, 0, 4, 2, 1] {
        store.put_manifest(&oldest_first[at], format!("{at}").into()).await?;
    }
    store.put_manifest(&id(1, 7), "2 again".into()).await?;
    let listed = store.manifests(&doc("a"), 100).await?;
    assert!(listed.iter().map(|manifest| &manifest.id).eq(oldest_first.iter().rev()));
    assert_eq!(listed[2].bytes, "2 again");
    assert_eq!(store.manifests(&doc("a"), 2).await?, listed[..2]);
    store.remove_manifest(&oldest_first[4]).await?;
    assert_eq!(store.manifests(&doc("a"), 100).await?, listed[1..]);
    Ok(())
}

async fn removing_nothing(store: &dyn Store) -> Result<(), Error> {
    let snapshot = snapshot(&doc("a"), 1, 1);
    store.remove_blob(&body_of(&snapshot)).await?;
    store.remove_manifest(&snapshot.encode().0.id()).await?;
    erase(store, &doc("a")).await?;
    assert_eq!(store.docs(None, 10).await?, []);
    Ok(())
}

async fn newest_two(store: &dyn Store) -> Result<(), Error> {
    for revision in 1..=4 {
        let snapshot = saved(store, snapshot(&doc("a"), revision, 600_000)).await?;
        check_loads(store, &snapshot, 0).await?;
    }
    assert_eq!(revisions(store, &doc("a")).await?, [4, 3]);
    assert_eq!(store.blobs(&doc("a")).await?.len(), 2);
    Ok(())
}

async fn repeated(store: &dyn Store) -> Result<(), Error> {
    let older = saved(store, snapshot(&doc("a"), 1, 10)).await?;
    let newer = saved(store, snapshot(&doc("a"), 2, 10)).await?;
    let before = store.manifests(&doc("a"), 10).await?;
    save(store, &newer).await?;
    assert_eq!(store.manifests(&doc("a"), 10).await?, before);
    // The same revision at a later offset: a record that is no batch came after it.
    let mut later = Snapshot::clone(&newer);
    later.offset = Offset(newer.offset.0 + 1);
    later.life = Life::Deleted;
    let later = saved(store, later).await?;
    check_loads(store, &later, 0).await?;
    // The stale one of the two does not hide the newer.
    save(store, &newer).await?;
    save(store, &older).await?;
    check_loads(store, &later, 0).await
}

async fn conflict(store: &dyn Store) -> Result<(), Error> {
    let first = saved(store, snapshot(&doc("a"), 3, 10)).await?;
    let mut other = Snapshot::clone(&first);
    other.text_hash = 1;
    other.offset = Offset(9_999);
    let error = save(store, &Arc::new(other)).await.err();
    let Some(Error::Conflict { revision: Revision(3), stored, ours: 1, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(stored, first.text_hash);
    check_loads(store, &first, 0).await
}

async fn stale(store: &dyn Store) -> Result<(), Error> {
    saved(store, snapshot(&doc("a"), 7, 10)).await?;
    let newest = saved(store, snapshot(&doc("a"), 9, 10)).await?;
    saved(store, snapshot(&doc("a"), 3, 10)).await?;
    saved(store, snapshot(&doc("a"), 5, 10)).await?;
    check_loads(store, &newest, 0).await?;
    assert_eq!(revisions(store, &doc("a")).await?[..2], [9, 7]);
    saved(store, snapshot(&doc("a"), 11, 10)).await?;
    assert_eq!(revisions(store, &doc("a")).await?, [11, 9]);
    Ok(())
}

async fn damaged(store: &dyn Store) -> Result<(), Error> {
    let older = saved(store, snapshot(&doc("a"), 1, 600_000)).await?;
    let newer = saved(store, snapshot(&doc("a"), 2, 600_000)).await?;
    for index in [0, 2] {
        let good = store.chunk(&body_of(&newer), index).await?.unwrap_or_default();
        let mut bad = good.to_vec();
        bad[good.len() / 2] ^= 1;
        for bad in [Bytes::from(bad), good.slice(1..), [&good[..], b"x"].concat().into()] {
            store.put_chunk(&body_of(&newer), index, bad).await?;
            check_loads(store, &older, 1).await?;
        }
        store.put_chunk(&body_of(&newer), index, good).await?;
        check_loads(store, &newer, 0).await?;
    }
    let newest = &store.manifests(&doc("a"), 1).await?[0];
    store.put_manifest(&newest.id, newest.bytes.slice(1..)).await?;
    check_loads(store, &older, 1).await?;
    let misplaced = store.manifests(&doc("a"), 2).await?.remove(1).bytes;
    store.put_manifest(&newest.id, misplaced).await?;
    check_loads(store, &older, 1).await
}

async fn missing(store: &dyn Store) -> Result<(), Error> {
    let older = saved(store, snapshot(&doc("a"), 1, 10)).await?;
    let newer = saved(store, snapshot(&doc("a"), 2, 600_000)).await?;
    let last = store.chunk(&body_of(&newer), 2).await?.unwrap_or_default();
    let first = store.chunk(&body_of(&newer), 0).await?.unwrap_or_default();
    store.remove_blob(&body_of(&newer)).await?;
    check_loads(store, &older, 1).await?;
    store.put_chunk(&body_of(&newer), 0, first).await?;
    store.put_chunk(&body_of(&newer), 2, last).await?;
    check_loads(store, &older, 1).await
}

async fn all_damaged(store: &dyn Store) -> Result<(), Error> {
    for revision in 1..=2 {
        let snapshot = saved(store, snapshot(&doc("a"), revision, 10)).await?;
        store.remove_blob(&body_of(&snapshot)).await?;
    }
    let error = load(store, &doc("a"), LOG).await.err();
    let Some(Error::AllDamaged { skipped: 2, source, .. }) = error else { panic!("{error:?}") };
    assert_eq!(source, Damage::Chunk { index: 0 });
    assert_eq!(load(store, &doc("b"), LOG).await?, None);
    Ok(())
}

async fn healing(store: &dyn Store) -> Result<(), Error> {
    let snapshot = saved(store, snapshot(&doc("a"), 1, 600_000)).await?;
    store.put_chunk(&body_of(&snapshot), 1, "bad".into()).await?;
    save(store, &snapshot).await?;
    check_loads(store, &snapshot, 0).await
}

async fn newer_format(store: &dyn Store) -> Result<(), Error> {
    saved(store, snapshot(&doc("a"), 1, 10)).await?;
    let newer = snapshot(&doc("a"), 2, 10).encode().0;
    let mut bytes = newer.encode();
    bytes[0] = 3;
    let content = bytes.len() - 4;
    let checksum = crc32fast::hash(&bytes[..content]);
    bytes[content..].copy_from_slice(&checksum.to_le_bytes());
    store.put_manifest(&newer.id(), bytes.into()).await?;
    let error = load(store, &doc("a"), LOG).await.err();
    assert!(matches!(error, Some(Error::Newer { found: 3, .. })), "{error:?}");
    Ok(())
}

async fn garbage(store: &dyn Store) -> Result<(), Error> {
    let older = saved(store, snapshot(&doc("a"), 1, 10)).await?;
    // Two saves that died between their chunks and their manifest.
    let (died, ahead) = (snapshot(&doc("a"), 2, 10), snapshot(&doc("a"), 4, 10));
    for blob in [body_of(&died), body_of(&ahead)] {
        store.put_chunk(&blob, 0, "half".into()).await?;
    }
    check_loads(store, &older, 0).await?;
    let newer = saved(store, snapshot(&doc("a"), 3, 10)).await?;
    let expected = [body_of(&older), body_of(&newer), body_of(&ahead)];
    assert_eq!(store.blobs(&doc("a")).await?, expected, "a save ahead may still be on its way");
    let newest = saved(store, snapshot(&doc("a"), 5, 10)).await?;
    assert_eq!(store.blobs(&doc("a")).await?, [body_of(&newer), body_of(&newest)]);
    Ok(())
}

async fn concurrent(store: &dyn Store) -> Result<(), Error> {
    let (a, b) = (doc("a"), doc("b"));
    for revision in 1..=3 {
        let (first, second) = futures_util::try_join!(
            saved(store, snapshot(&a, revision, 700_000)),
            saved(store, snapshot(&b, revision, 300)),
        )?;
        check_loads(store, &first, 0).await?;
        check_loads(store, &second, 0).await?;
    }
    // One revision saved by two owners, in other words: the later offset is loaded.
    let mut other = snapshot(&a, 4, 700_000);
    other.live = other.live.slice(1..);
    other.offset = Offset(41);
    let (_, other) =
        futures_util::try_join!(saved(store, snapshot(&a, 4, 700_000)), saved(store, other))?;
    check_loads(store, &other, 0).await
}

async fn sealed(
    store: &dyn Store,
    doc: &DocId,
    (base, head): (u64, u64),
) -> Result<(SealedSegment, Bytes), Error> {
    let bytes = snapshot(doc, base + 100, 600_000).live;
    let range = (Revision(base), Revision(head));
    Ok((save_segment(store, doc, range, &bytes).await?, bytes))
}

async fn segments(store: &dyn Store) -> Result<(), Error> {
    let (segment, bytes) = sealed(store, &doc("a"), (0, 50)).await?;
    assert_eq!(sealed(store, &doc("a"), (0, 50)).await?.0, segment);
    assert_eq!(load_segment(store, &doc("a"), &segment).await?, bytes);
    let blob = &store.blobs(&doc("a")).await?[0];
    store.put_chunk(blob, 1, "bad".into()).await?;
    let error = load_segment(store, &doc("a"), &segment).await.err();
    assert!(matches!(error, Some(Error::Segment { source: Damage::Hash, .. })), "{error:?}");
    store.remove_blob(blob).await?;
    let error = load_segment(store, &doc("a"), &segment).await.err();
    let missing = Damage::Chunk { index: 0 };
    assert!(matches!(error, Some(Error::Segment { source, .. }) if source == missing));
    let claims = SealedSegment { bytes: u64::MAX, ..segment };
    assert!(load_segment(store, &doc("a"), &claims).await.is_err());
    Ok(())
}

async fn unlisted_segments(store: &dyn Store) -> Result<(), Error> {
    let (listed, _) = sealed(store, &doc("a"), (0, 50)).await?;
    // Sealed by an owner who never came to list them: below what is sealed, and at its end.
    sealed(store, &doc("a"), (20, 50)).await?;
    let (next, _) = sealed(store, &doc("a"), (50, 80)).await?;
    let mut first = snapshot(&doc("a"), 60, 10);
    first.sealed = vec![listed.clone()];
    let first = saved(store, first).await?;
    let expected = [body_of(&first), listed.blob(&doc("a")), next.blob(&doc("a"))];
    assert_eq!(store.blobs(&doc("a")).await?, expected);
    let mut second = snapshot(&doc("a"), 90, 10);
    second.sealed = vec![listed, next];
    saved(store, second.clone()).await?;
    check_loads(store, &second, 0).await?;
    assert_eq!(store.blobs(&doc("a")).await?.len(), 4);
    Ok(())
}

async fn log_before(store: &dyn Store) -> Result<(), Error> {
    let mut before = snapshot(&doc("a"), 5, 10);
    before.log = LogId(7);
    before.offset = Offset(1_000);
    let before = saved(store, before).await?;
    let now = saved(store, snapshot(&doc("a"), 5, 20)).await?;
    check_loads(store, &now, 0).await?;
    let back = load(store, &doc("a"), LogId(7)).await?.map(|loaded| loaded.snapshot);
    assert_eq!(back.as_ref(), Some(&*before));
    // The older one is the first to go.
    let mut later = snapshot(&doc("a"), 5, 30);
    later.offset = now.offset.next();
    let later = saved(store, later).await?;
    check_loads(store, &later, 0).await?;
    let left = store.manifests(&doc("a"), 9).await?.into_iter().map(|stored| stored.id.offset);
    assert_eq!(left.collect::<Vec<_>>(), [later.offset, now.offset]);
    Ok(())
}

async fn cut(store: &dyn Store) -> Result<(), Error> {
    let (segment, _) = sealed(store, &doc("a"), (0, 50)).await?;
    let mut before = snapshot(&doc("a"), 60, 10);
    before.sealed = vec![segment];
    saved(store, before).await?;
    let mut after = snapshot(&doc("a"), 61, 10);
    after.cut = Revision(60);
    let after = saved(store, after).await?;
    check_loads(store, &after, 0).await?;
    assert_eq!(revisions(store, &doc("a")).await?, [61]);
    assert_eq!(store.blobs(&doc("a")).await?, [body_of(&after)]);
    Ok(())
}

async fn erasing(store: &dyn Store) -> Result<(), Error> {
    let kept = saved(store, snapshot(&doc("b"), 1, 10)).await?;
    for revision in 1..=2 {
        saved(store, snapshot(&doc("a"), revision, 600_000)).await?;
    }
    sealed(store, &doc("a"), (0, 50)).await?;
    erase(store, &doc("a")).await?;
    assert_eq!(load(store, &doc("a"), LOG).await?, None);
    assert_eq!(store.blobs(&doc("a")).await?, []);
    assert_eq!(store.docs(None, 10).await?, [doc("b")]);
    check_loads(store, &kept, 0).await
}

async fn progress(store: &dyn Store) -> Result<(), Error> {
    let (log, other) = (LogId(u128::MAX), LogId(1));
    let at = |log, low_water: u64, epoch: Option<u64>, released| Progress {
        log,
        low_water: Offset(low_water),
        epoch: epoch.map(Epoch),
        released,
    };
    let shard = ShardId(3);
    assert_eq!(store.progress(shard, log).await?, None);
    let fifty = at(log, 50, Some(7), true);
    for (progress, expected) in [
        (at(log, 0, None, false), at(log, 0, None, false)),
        (fifty, fifty),
        (at(log, 49, Some(8), false), fifty),
        (at(log, 50, Some(7), true), fifty),
        (at(log, u64::MAX, Some(u64::MAX), false), at(log, u64::MAX, Some(u64::MAX), false)),
    ] {
        store.advance(shard, progress).await?;
        assert_eq!(store.progress(shard, log).await?, Some(expected));
        assert_eq!(store.progress(ShardId(4), log).await?, None);
        assert_eq!(store.progress(shard, other).await?, None);
    }
    store.advance(shard, at(other, 5, None, false)).await?;
    assert_eq!(store.progress(shard, other).await?, Some(at(other, 5, None, false)));
    let mut logs = store.logs().await?;
    logs.sort_unstable();
    assert_eq!(logs, [other, log]);
    Ok(())
}

async fn listing(store: &dyn Store) -> Result<(), Error> {
    let mut names: Vec<DocId> = ["b", "a", "a-", "aa", "a.b", "Z", "~"].map(doc).into();
    for name in &names {
        for revision in 1..=2 {
            let manifest = snapshot(name, revision, 1).encode().0;
            store.put_manifest(&manifest.id(), manifest.encode().into()).await?;
        }
    }
    store.put_chunk(&body_of(&snapshot(&doc("chunks"), 1, 1)), 0, "only".into()).await?;
    for limit in [1, 2, 7, 100] {
        let mut listed: Vec<DocId> = Vec::new();
        loop {
            let page = store.docs(listed.last(), limit).await?;
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
        }
        listed.sort();
        names.sort();
        assert_eq!(listed, names, "{limit} at a time");
    }
    Ok(())
}

async fn closed(store: &dyn Store) -> Result<(), Error> {
    let snapshot = saved(store, snapshot(&doc("a"), 1, 10)).await?;
    store.close().await?;
    store.close().await?;
    let manifest: Manifest = snapshot.encode().0;
    let put = store.put_manifest(&manifest.id(), manifest.encode().into()).await;
    assert!(matches!(put, Err(StoreError::Closed)), "{put:?}");
    let loaded = load(store, &doc("a"), LOG).await;
    assert!(matches!(loaded, Err(Error::Store(StoreError::Closed))), "{loaded:?}");
    Ok(())
}
