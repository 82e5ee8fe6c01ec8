//! One life of a node, as its clients find it.

use quire::router::Router;
use quire::task::Tasks;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;

/// One life of a node.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) router: Router,
    /// Tells its clients that it is over.
    pub(crate) dead: CancellationToken,
    pub(crate) gate: Gate,
    pub(crate) tasks: Tasks,
}

impl Life {
    /// Ends it as a crash does: nobody is told, its last appends may still land.
    pub(crate) fn kill(&self) {
        self.router.kill();
        self.tasks.token().cancel();
        self.dead.cancel();
    }

    /// Waits while the node stands still.
    pub(crate) async fn moves(&self) {
        self.tasks.ice().thawed().await;
    }
}

/// The nodes that a client may connect to, each with its current life.
#[derive(Clone)]
pub(crate) struct Lives(pub(crate) Vec<watch::Receiver<Option<Life>>>);

impl Lives {
    /// Chooses a node; nothing where that one is down.
    pub(crate) fn pick(&self, rng: &mut ChaCha8Rng) -> Option<Life> {
        let many = self.0.len() > 1;
        let at = if many { rng.random_range(0..self.0.len()) } else { 0 };
        self.0[at].borrow().clone()
    }
}
