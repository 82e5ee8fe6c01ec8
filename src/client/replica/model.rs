//! Model test: replicas against a small server written from PROTOCOL.md section 5, over a network
//! that is slow, loses connections and delivers batches late, in whatever order a seed says.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::client::replica::{Batch, Effects, Keep, Missed, Replica, Snapshot, Welcome};
use crate::text::{
    Operation, Run, Side, Stick, apply, collides, compose_all, map_position, transform,
};
use crate::types::{Revision, Seq};

/// What the network does, besides being slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Faults {
    None,
    /// Connections drop, batches arrive after the reconnect or twice, the server forgets.
    All,
}

/// So little that pending edits are sent in several batches now and then.
const OP_BYTES: usize = 80;

struct Accepted {
    session: usize,
    seq: Seq,
    base: Revision,
    op: Operation,
}

/// What the server knows of a session.
#[derive(Clone, Default)]
struct Session {
    /// The revisions of its batches 1, 2, 3 ...
    revisions: Vec<Revision>,
    connection: u64,
    welcomed: Revision,
}

enum Down {
    Op { revision: Revision, base: Revision, op: Operation },
    Ack { seq: Seq, revision: Revision, op: Option<Operation> },
    Welcome(Welcome),
}

enum Event {
    Edit { client: usize },
    Drop { client: usize },
    Hello { client: usize, connection: u64, from: Option<Revision> },
    Batch { client: usize, connection: u64, batch: Batch },
    Down { client: usize, connection: u64, message: Down },
}

struct Server {
    texts: Vec<String>,
    accepted: Vec<Accepted>,
    sessions: Vec<Session>,
    /// How many acknowledgements carried an operation.
    corrections: usize,
}

impl Server {
    fn head(&self) -> Revision {
        Revision(self.accepted.len() as u64)
    }

    fn since(&self, base: Revision) -> &[Accepted] {
        &self.accepted[usize::try_from(base.0).unwrap()..]
    }

    /// The run of a session at a revision, word for word as defined.
    fn run(&self, session: usize, at: Revision) -> Option<Run> {
        let until = &self.accepted[..usize::try_from(at.0).unwrap()];
        let last = until.iter().rposition(|k| k.session == session && k.op.inserted_chars() > 0)?;
        let mut run = Run::begin(&until[last].op, Revision(last as u64 + 1))?;
        until[last + 1..].iter().for_each(|revision| run.map(&revision.op));
        Some(run)
    }

    /// Rebases a batch; returns what is accepted and whether the client may have predicted another
    /// operation.
    fn rebase(&self, session: usize, batch: &Batch, memory: Memory) -> (Operation, bool) {
        let mut op = batch.op.clone();
        if memory == Memory::Fork {
            let others: Vec<_> = self.since(batch.base).iter().map(|next| &next.op).collect();
            return (transform(&op, &compose_all(&others), Side::Right), true);
        }
        let run = self.run(session, batch.base).filter(|_| memory == Memory::Runs);
        let stick = Stick::of(&op, run.as_ref());
        let mut tie = false;
        for revision in self.since(batch.base) {
            tie |= collides(&op, &revision.op);
            op = transform(&op, &revision.op, stick.side_over(revision.base));
        }
        // A copy from before a drop: the client has rebased the batch over what it was welcomed
        // with, maybe a text, and may have found another run to go on with.
        let overtook = batch.base < self.sessions[session].welcomed;
        let doubtful = tie && (stick != Stick::NONE || memory == Memory::NoRuns);
        (op, overtook || doubtful)
    }

    fn accept(&mut self, session: usize, batch: &Batch, memory: Memory) -> Option<Operation> {
        let (op, doubtful) = self.rebase(session, batch, memory);
        let text = apply(&op, self.texts.last().unwrap()).unwrap();
        self.texts.push(text);
        let base = batch.base;
        self.accepted.push(Accepted { session, seq: batch.seq, base, op: op.clone() });
        let head = self.head();
        self.sessions[session].revisions.push(head);
        doubtful.then_some(op)
    }

    fn welcome(&self, session: usize, from: Option<Revision>) -> Welcome {
        let snapshot = match from {
            None => Snapshot::Text(self.texts.last().unwrap().clone()),
            Some(after) => {
                let own = |k: &Accepted| (k.session == session).then_some(k.seq);
                let missed = |k: &Accepted| Missed { base: k.base, op: k.op.clone(), own: own(k) };
                Snapshot::Missed { after, list: self.since(after).iter().map(missed).collect() }
            }
        };
        let seq = Seq(self.sessions[session].revisions.len() as u64);
        Welcome { head: self.head(), seq, op_bytes: OP_BYTES, snapshot }
    }
}

/// What the server still holds to rebase a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Runs,
    NoRuns,
    /// The revisions are merged in one go.
    Fork,
}

/// A person's editor beside the replica: shows what it is told to.
struct Client {
    replica: Replica,
    connection: u64,
    editor: String,
    caret: u64,
    /// What this one types; each writer has letters of its own.
    letters: [&'static str; 3],
    typed: String,
    edits_left: u32,
}

struct World {
    rng: ChaCha8Rng,
    faults: Faults,
    latency_max: u64,
    /// Everybody types on at one place and does nothing else.
    one_place: bool,
    server: Server,
    clients: Vec<Client>,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    /// When the last message of each client arrives: up, down.
    arrivals: Vec<[u64; 2]>,
}

const LETTERS: [[&str; 3]; 5] = [
    ["a", "A", "á"],
    ["b", "B", "😀"],
    ["c", "\r\n", "ç"],
    ["d", "e\u{301}", "D"],
    ["f", "F", "👩"],
];

impl World {
    fn new(seed: u64, faults: Faults, one_place: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(2..=5);
        let edits_left = if one_place { 12 } else { rng.random_range(5..20) };
        // Some of the writers keep no text; which text a batch deletes is then not known for sure
        // after a forgotten revision, so that what was typed is not counted with them.
        let lengths = faults == Faults::All && !one_place;
        let mut keep = || if lengths && rng.random_bool(0.2) { Keep::Length } else { Keep::Text };
        let client = |letters: &[&'static str; 3]| Client {
            replica: Replica::new(keep()),
            connection: 1,
            editor: String::new(),
            caret: 0,
            letters: *letters,
            typed: String::new(),
            edits_left,
        };
        let clients: Vec<_> = LETTERS[..count].iter().map(client).collect();
        let server = Server {
            texts: vec![String::new(), "[]".to_owned()],
            accepted: vec![Accepted {
                session: count,
                seq: Seq(1),
                base: Revision(0),
                op: Operation::builder().insert("[]").build(),
            }],
            sessions: vec![Session::default(); count + 1],
            corrections: 0,
        };
        let latency_max = rng.random_range(2..40);
        let arrivals = vec![[0, 0]; count];
        let mut world = Self {
            rng,
            faults,
            latency_max,
            one_place,
            server,
            clients,
            now: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            arrivals,
        };
        for client in 0..count {
            world.up(client, Event::Hello { client, connection: 1, from: None });
            // In the same-place test all have the document before the first one types.
            world.schedule(100, Event::Edit { client });
        }
        world
    }

    fn run(&mut self) {
        while let Some((time, event)) = self.events.pop_first() {
            self.now = time.0;
            self.step(event);
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Edit { client } => self.edit(client),
            Event::Drop { client } => self.drop_connection(client),
            Event::Hello { client, connection, from } => self.hello(client, connection, from),
            Event::Batch { client, connection, batch } => {
                // Half of what was on its way when a connection dropped is lost.
                let stale = connection != self.clients[client].connection;
                if !stale || self.rng.random_bool(0.5) {
                    self.batch(client, &batch);
                }
            }
            Event::Down { client, connection, message } => {
                if connection == self.clients[client].connection {
                    self.receive(client, message);
                }
            }
        }
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + after, self.scheduled), event);
    }

    /// Sends in order: nothing overtakes on one connection.
    fn up(&mut self, client: usize, event: Event) {
        self.send(client, 0, event);
    }

    fn down(&mut self, client: usize, message: Down) {
        let connection = self.server.sessions[client].connection;
        self.send(client, 1, Event::Down { client, connection, message });
    }

    fn send(&mut self, client: usize, direction: usize, event: Event) {
        let latency = self.rng.random_range(1..=self.latency_max);
        let arrival = (self.now + latency).max(self.arrivals[client][direction]);
        self.arrivals[client][direction] = arrival;
        self.schedule(arrival - self.now, event);
    }

    fn edit(&mut self, client: usize) {
        let op = self.next_edit(client);
        let it = &mut self.clients[client];
        if it.replica.view().is_some() {
            it.editor = apply(&op, &it.editor).unwrap();
        }
        it.caret = op.last_insert_end().unwrap_or_else(|| map_position(it.caret, &op, Side::Left));
        let batch = it.replica.edit(&op).unwrap();
        it.edits_left -= 1;
        let again = it.edits_left > 0;
        self.submit(client, batch);
        self.check(client);
        if again {
            let pause = self.rng.random_range(0..15);
            self.schedule(pause, Event::Edit { client });
        }
        if self.faults == Faults::All && self.rng.random_bool(0.08) {
            let pause = self.rng.random_range(0..10);
            self.schedule(pause, Event::Drop { client });
        }
    }

    fn next_edit(&mut self, client: usize) -> Operation {
        let length = self.clients[client].replica.view_chars();
        // Without a text, a correction is not shown and does not move the caret.
        let caret = self.clients[client].caret.min(length);
        let letters = &self.clients[client].letters;
        let text = letters[self.rng.random_range(0..letters.len())];
        let (at, deleted) = if self.one_place {
            (caret, 0)
        } else {
            let far = self.rng.random_bool(0.3);
            let at = if far { self.rng.random_range(0..=length) } else { caret };
            let deleted = self.rng.random_range(0..=6u64).saturating_sub(3);
            (at, deleted.min(length - at))
        };
        let types = deleted == 0 || self.rng.random_bool(0.5);
        let text = if types { text } else { "" };
        self.clients[client].typed.push_str(text);
        let number = |n: u64| u32::try_from(n).unwrap();
        let op = Operation::builder().retain(number(at));
        op.insert(text).delete(number(deleted)).build()
    }

    fn submit(&mut self, client: usize, batch: Option<Batch>) {
        let Some(batch) = batch else { return };
        let connection = self.clients[client].connection;
        if self.faults == Faults::All && self.rng.random_bool(0.05) {
            let batch = batch.clone();
            self.up(client, Event::Batch { client, connection, batch });
        }
        self.up(client, Event::Batch { client, connection, batch });
    }

    fn drop_connection(&mut self, client: usize) {
        let it = &mut self.clients[client];
        it.replica.disconnected();
        it.connection += 1;
        let connection = it.connection;
        let from = it.replica.resume_from();
        self.arrivals[client] = [self.now, self.now];
        self.up(client, Event::Hello { client, connection, from });
    }

    fn hello(&mut self, client: usize, connection: u64, from: Option<Revision>) {
        if connection < self.server.sessions[client].connection {
            return;
        }
        let forgot = self.faults == Faults::All && self.rng.random_bool(0.2);
        let welcome = self.server.welcome(client, from.filter(|_| !forgot));
        let session = &mut self.server.sessions[client];
        session.connection = connection;
        session.welcomed = welcome.head;
        self.down(client, Down::Welcome(welcome));
    }

    fn batch(&mut self, client: usize, batch: &Batch) {
        let seq = batch.seq;
        let known = &self.server.sessions[client].revisions;
        if let Some(revision) = known.get(usize::try_from(seq.0).unwrap() - 1) {
            let revision = *revision;
            self.down(client, Down::Ack { seq, revision, op: None });
            return;
        }
        assert_eq!(seq.0, known.len() as u64 + 1, "a session skipped a batch");
        let memory = match (self.faults, self.rng.random_range(0..10)) {
            (Faults::None, _) | (Faults::All, 2..) => Memory::Runs,
            (Faults::All, 1) => Memory::NoRuns,
            (Faults::All, _) => Memory::Fork,
        };
        let correction = self.server.accept(client, batch, memory);
        // Without faults every operation is predicted.
        let correction = correction.filter(|_| self.faults == Faults::All);
        self.server.corrections += usize::from(correction.is_some());
        let revision = self.server.head();
        let newest = &self.server.accepted[self.server.accepted.len() - 1];
        let (base, op) = (newest.base, newest.op.clone());
        for other in (0..self.clients.len()).filter(|other| *other != client) {
            if self.server.sessions[other].connection > 0 {
                self.down(other, Down::Op { revision, base, op: op.clone() });
            }
        }
        self.down(client, Down::Ack { seq, revision, op: correction });
    }

    fn receive(&mut self, client: usize, message: Down) {
        let replica = &mut self.clients[client].replica;
        let effects = match message {
            Down::Op { revision, base, op } => {
                let shown = replica.remote(revision, base, op).unwrap();
                Effects { show: vec![shown], send: None }
            }
            Down::Ack { seq, revision, op } => replica.ack(seq, revision, op).unwrap(),
            Down::Welcome(welcome) => replica.welcome(welcome).unwrap(),
        };
        let it = &mut self.clients[client];
        for op in &effects.show {
            if it.replica.view().is_some() {
                it.editor = apply(op, &it.editor).unwrap();
            }
            let first = it.edits_left == 12 && it.caret == 0 && self.one_place;
            it.caret = if first { 1 } else { map_position(it.caret, op, Side::Left) };
        }
        self.submit(client, effects.send);
        self.check(client);
    }

    /// What a replica holds is the server's text at its revision, and the editor shows its view.
    fn check(&self, client: usize) {
        let it = &self.clients[client];
        let Some(view) = it.replica.view() else { return };
        let revision = usize::try_from(it.replica.revision().0).unwrap();
        assert_eq!(it.replica.confirmed().as_ref(), Some(&self.server.texts[revision]));
        assert_eq!(view, it.editor);
        assert_eq!(it.replica.view_chars(), it.editor.chars().count() as u64);
    }

    fn check_settled(&self, seed: u64) {
        let text = self.server.texts.last().unwrap();
        for (session, it) in self.clients.iter().enumerate() {
            if it.replica.view().is_some() {
                assert_eq!(&it.editor, text, "seed {seed}, client {session}");
            }
            let chars = text.chars().count() as u64;
            assert_eq!(it.replica.view_chars(), chars, "seed {seed}, client {session}");
            assert!(it.replica.is_settled(), "seed {seed}, client {session}");
            let last = Seq(self.server.sessions[session].revisions.len() as u64);
            assert_eq!(it.replica.durable(), last, "seed {seed}, client {session}");
        }
    }
}

#[test]
fn replicas_converge_and_predict_every_operation() {
    for seed in 0..200 {
        let mut world = World::new(seed, Faults::None, false);
        world.run();
        world.check_settled(seed);
    }
}

#[test]
fn replicas_converge_over_lost_connections() {
    let mut corrections = 0;
    // The last one is of a failure.
    for seed in (0..300).chain([1_181]) {
        let mut world = World::new(seed, Faults::All, false);
        world.run();
        world.check_settled(seed);
        corrections += world.server.corrections;
    }
    assert!(corrections > 0, "the runs reach corrected batches");
}

#[test]
fn writers_at_one_place_end_as_one_fragment_each() {
    for seed in 0..200 {
        let mut world = World::new(seed, Faults::None, true);
        world.run();
        world.check_settled(seed);
        let text = world.server.texts.last().unwrap();
        let typed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let mut writers: Vec<_> = typed.unwrap().chars().map(writer_of).collect();
        writers.dedup();
        assert_eq!(writers.len(), world.clients.len(), "seed {seed}: {text}");
    }
}

#[test]
fn what_was_typed_is_there_once_whatever_the_network_does() {
    for seed in 0..200 {
        let mut world = World::new(seed, Faults::All, true);
        world.run();
        world.check_settled(seed);
        let text = world.server.texts.last().unwrap();
        let sorted = |text: &str| {
            let mut letters: Vec<_> = text.chars().collect();
            letters.sort_unstable();
            letters
        };
        let typed: String = world.clients.iter().map(|it| it.typed.as_str()).collect();
        assert_eq!(sorted(text), sorted(&format!("[]{typed}")), "seed {seed}: {text}");
    }
}

fn writer_of(letter: char) -> Option<usize> {
    LETTERS.iter().position(|letters| letters.iter().any(|piece| piece.contains(letter)))
}
