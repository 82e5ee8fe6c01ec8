//! Owners that answer when nobody waits any more, because the document has moved.

use std::sync::Arc;

use prometheus::Registry;
use quire::doc::{self, ConnId, Join, Refusal, Welcome};
use quire::relay::{
    Access, Ask, Blob, Caret, Config, Content, Denial, Handle, Hello, Identity, Members, Metrics,
    Peers, Request, SPEAKS, Tcp, Told, Who, decode, encode,
};
use quire::task::Tasks;
use quire::types::{NodeId, ParticipantId, Revision, Seq, SessionId};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::inner::{self, PATIENCE, id};
use crate::nodes::{CLUSTER, name};
use crate::strangers::{frame, framed};

/// A node that is played by the test.
struct Owner {
    name: NodeId,
    listener: TcpListener,
    link: Option<TcpStream>,
}

impl Owner {
    async fn bind(number: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self { name: name(number), listener, link: None }
    }

    fn address(&self) -> String {
        self.listener.local_addr().expect("it is bound").to_string()
    }

    async fn greet(&mut self) {
        self.greet_as(SPEAKS).await;
    }

    /// Greets as a program that speaks these versions.
    async fn greet_as(&mut self, speaks: (u16, u16)) {
        let (link, _) =
            timeout(PATIENCE, self.listener.accept()).await.expect("in time").expect("a socket");
        self.link = Some(link);
        let hello = frame(self.link()).await;
        Hello::decode(&hello).expect("it greets");
        let node = self.name.clone();
        let hello = Hello { cluster: CLUSTER, node, boot: 1, speaks };
        self.send(&hello.encode()).await;
    }

    fn link(&mut self) -> &mut TcpStream {
        self.link.as_mut().expect("it is greeted")
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.link().write_all(&framed(bytes)).await.expect("it is taken");
    }

    async fn tell(&mut self, call: u64, told: &Told) {
        self.send(&encode(call, told)).await;
    }

    /// Returns the next thing asked that is no ping.
    async fn asked(&mut self) -> (u64, Ask) {
        loop {
            let (call, ask) = decode::<Ask>(&frame(self.link()).await).expect("it is known");
            if !matches!(ask, Ask::Ping) {
                return (call, ask);
            }
        }
    }

    /// Answers the subscription, and returns it with the call that attaches a client.
    async fn subscribed(&mut self, content: Content) -> (u64, u64) {
        let (call, Ask::Follow { sub, .. }) = self.asked().await else { panic!("it begins") };
        self.tell(call, &Told::Subscribed { head: Revision(5), content }).await;
        let (call, Ask::Attach { .. }) = self.asked().await else { panic!("a client comes") };
        (sub, call)
    }

    async fn attached(&mut self, call: u64, conn: u64) {
        let (head, seq, mode) = (Revision(5), Seq(0), Access::Edit);
        let told = Told::Attached { conn, head, seq, mode, you: ParticipantId(1) };
        self.tell(call, &told).await;
    }
}

async fn join(peers: &Peers, owner: &NodeId) -> Result<(Handle, Welcome), Refusal> {
    let join = || Join::new(SessionId([1; 16]), Arc::new(inner::Told::default()));
    timeout(PATIENCE, peers.join(owner, &id("a"), join)).await.expect("in time")
}

#[tokio::test]
async fn what_an_earlier_owner_answers_late_is_taken_for_nothing_else() {
    let (mut first, mut second) = (Owner::bind(1).await, Owner::bind(2).await);
    let (one, two) = (first.name.clone(), second.name.clone());
    let (peers, tasks) = peers(&[&first, &second]);

    let (moved, early) = tokio::join!(join(&peers, &one), async {
        first.greet().await;
        let (sub, call) = first.subscribed(Content::Text("text".to_owned())).await;
        let denial = Denial::from(&Refusal::Moved);
        first.tell(0, &Told::Closed { sub, denial }).await;
        call
    });
    assert!(matches!(moved, Err(Refusal::Moved)), "{moved:?}");

    let (joined, ()) = tokio::join!(join(&peers, &two), async {
        second.greet().await;
        let (_, call) = second.subscribed(Content::Changes(Vec::new())).await;
        let (method, target) = ("GET".to_owned(), "/".to_owned());
        let request = Request {
            method,
            target,
            content_type: None,
            headers: Vec::new(),
            who: Who::anything(),
            body: Blob("".into()),
        };
        let (carried, ()) = tokio::join!(peers.carry(&one, request), async {
            // What answers the request comes behind, and so is heard after it.
            let (request, _) = first.asked().await;
            first.attached(early, 77).await;
            first.attached(call, 78).await;
            first.tell(request, &Told::Unknown).await;
        });
        carried.expect_err("it is not known");
        second.attached(call, 5).await;
    });
    let (_, welcome) = joined.expect("it is taken");
    assert_eq!(welcome.conn.0, 5, "what the owner says");
    tasks.stop().await;
}

pub(crate) struct Known(pub(crate) Vec<(NodeId, String)>);

impl Members for Known {
    fn address(&self, node: &NodeId) -> Option<String> {
        self.0.iter().find(|(name, _)| name == node).map(|(_, address)| address.clone())
    }

    fn up(&self) -> Vec<NodeId> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// Makes what reaches owners from node 0.
fn peers(owners: &[&Owner]) -> (Peers, Tasks) {
    let known = owners.iter().map(|owner| (owner.name.clone(), owner.address()));
    let known = Arc::new(Known(known.collect()));
    let me = Identity { cluster: CLUSTER, node: name(0), boot: 1, speaks: SPEAKS };
    let metrics = Metrics::register(&Registry::new()).expect("a new registry");
    let configs = (Config::default(), Arc::new(doc::Config::default()));
    let (network, tasks) = (Arc::new(Tcp::default()), Tasks::new());
    (Peers::over(network, (me, known), configs, tasks.clone(), metrics), tasks)
}

#[tokio::test]
async fn an_owner_of_the_version_before_is_asked_as_it_knows() {
    let mut owner = Owner::bind(1).await;
    let node = owner.name.clone();
    let (peers, tasks) = peers(&[&owner]);
    let (joined, ()) = tokio::join!(join(&peers, &node), async {
        owner.greet_as((2, 2)).await;
        let (call, Ask::Subscribe { .. }) = owner.asked().await else { panic!("it begins") };
        let content = Content::Text("text".to_owned());
        owner.tell(call, &Told::Subscribed { head: Revision(5), content }).await;
        let (call, Ask::Attach { .. }) = owner.asked().await else { panic!("a client comes") };
        owner.attached(call, 10).await;
    });
    joined.expect("it is taken");
    tasks.stop().await;
}

#[tokio::test]
async fn carets_of_many_clients_are_told_together() {
    let mut owner = Owner::bind(1).await;
    let node = owner.name.clone();
    let (peers, tasks) = peers(&[&owner]);
    let (joined, ()) = tokio::join!(join(&peers, &node), async {
        owner.greet().await;
        let (_, call) = owner.subscribed(Content::Text("text".to_owned())).await;
        owner.attached(call, 10).await;
    });
    let (first, _) = joined.expect("it is taken");
    let (joined, ()) = tokio::join!(join(&peers, &node), async {
        let (call, Ask::Attach { .. }) = owner.asked().await else { panic!("a client comes") };
        owner.attached(call, 11).await;
    });
    let (second, _) = joined.expect("it is taken");
    let place = |handle: &Handle, conn, at| {
        handle.place(ConnId(conn), Revision(5), Some((at, at))).expect("it lasts");
    };
    for at in 0..3 {
        place(&first, 10, at);
        place(&second, 11, at);
    }
    let caret = |conn, at| Caret { conn, rev: Revision(5), sel: Some((at, at)) };
    for expected in [vec![caret(10, 0)], vec![caret(10, 2), caret(11, 2)]] {
        let (_, Ask::Place { carets, .. }) = owner.asked().await else { panic!("a caret moves") };
        assert_eq!(carets, expected);
    }
    tasks.stop().await;
}

#[tokio::test]
async fn carets_go_to_the_owner_of_now() {
    let mut owner = Owner::bind(1).await;
    let node = owner.name.clone();
    let (peers, tasks) = peers(&[&owner]);
    let (joined, before) = tokio::join!(join(&peers, &node), async {
        owner.greet().await;
        let (sub, call) = owner.subscribed(Content::Text("text".to_owned())).await;
        owner.attached(call, 10).await;
        sub
    });
    let (first, _) = joined.expect("it is taken");
    let place = |handle: &Handle, conn, at| {
        handle.place(ConnId(conn), Revision(5), Some((at, at))).expect("it lasts");
    };
    // The second one waits, and is not told any more.
    place(&first, 10, 0);
    place(&first, 10, 1);
    owner.tell(0, &Told::Closed { sub: before, denial: Denial::from(&Refusal::Moved) }).await;
    let (joined, after) = tokio::join!(
        async {
            while first.place(ConnId(10), Revision(5), None).is_ok() {
                tokio::task::yield_now().await;
            }
            join(&peers, &node).await
        },
        async {
            let (_, Ask::Place { .. }) = owner.asked().await else { panic!("the first one") };
            loop {
                let (call, ask) = owner.asked().await;
                let Ask::Follow { sub, .. } = ask else { continue };
                let content = Content::Changes(Vec::new());
                owner.tell(call, &Told::Subscribed { head: Revision(5), content }).await;
                let (call, Ask::Attach { .. }) = owner.asked().await else { panic!("it comes") };
                owner.attached(call, 11).await;
                break sub;
            }
        }
    );
    let (second, _) = joined.expect("it is taken again");
    place(&second, 11, 7);
    let (_, Ask::Place { sub, carets }) = owner.asked().await else { panic!("a caret moves") };
    assert_ne!(before, after);
    assert_eq!((sub, carets.len()), (after, 1), "{carets:?}");
    tasks.stop().await;
}
