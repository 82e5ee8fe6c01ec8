//! Edits from long ago by clients that do not stay.

use std::sync::Arc;

use quire::access::{Asker, Right};
use quire::doc::{self, Batch, Join};
use quire::text::Operation;
use quire::types::{Author, Revision, Seq, SessionId};
use tokio::time::{Instant, timeout};

use crate::inner::{PATIENCE, Told, Under, id, router, write};

#[tokio::test]
async fn a_long_fork_keeps_its_author_who_leaves_while_it_is_merged() {
    let config = doc::Config { window_revisions: 1, ..doc::Config::default() };
    let router = router(Under { config, ..Under::default() }).await;
    let handle = router.open(&id("a")).await.expect("it opens");
    for base in 0..3 {
        write(&handle, base).await;
    }
    let author: Author = "Ada".parse().expect("a name");
    let told = Arc::new(Told::default());
    let join = Join { author: author.clone(), ..Join::new(SessionId([1; 16]), told) };
    let conn = handle.join(join).await.expect("it is open").expect("it is taken").conn;
    let op = Operation::builder().insert("late").build();
    let received = Instant::now();
    let batch = Batch { seq: Seq(1), base: Revision(1), op, received, permit: None };
    handle.submit(conn, batch, 10).await.expect("there is room");
    // The document hears of both, one after the other, before anything can have been merged.
    handle.leave(conn);
    let merged = async {
        loop {
            let past = handle.past(&Asker::anything(), Right::History).await.expect("it is open");
            if past.head() == Revision(4) {
                return past.page(Revision(4), 1).await.expect("it is at hand");
            }
            tokio::task::yield_now().await;
        }
    };
    let page = timeout(PATIENCE, merged).await.expect("it gets its place");
    assert_eq!(page.rows[0].author, author);
    router.drain().await;
}
