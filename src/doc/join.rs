//! Who is taken: clients, and copies on other nodes with the clients behind them.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::doc::actor::{Running, stalled};
use crate::doc::audience::Hears;
use crate::doc::handle::{Heard, Join, Listen, Welcome};
use crate::doc::{ConnId, Event, Handle, Refusal};
use crate::types::{Author, Revision};

/// A client that was taken; it leaves where nobody takes the seat, also after it was answered.
pub(in crate::doc) struct Seat {
    welcome: Option<Welcome>,
    doc: Handle,
}

impl Seat {
    pub(in crate::doc) fn take(mut self) -> Welcome {
        self.welcome.take().expect("a seat has a welcome until it is taken")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(welcome) = &self.welcome {
            self.doc.leave(welcome.conn);
        }
    }
}

impl Running {
    pub(in crate::doc) fn join(&mut self, join: Join) -> Result<Welcome, Refusal> {
        self.check_open()?;
        if join.through.is_some_and(|copy| !self.audience.is_copy(copy)) {
            return Err(Refusal::Moved);
        }
        self.audience.catch_up();
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let welcome = self.state.join(conn, &join, &mut self.effects)?;
        // The connection that this one replaces must be told before the newcomer is added.
        self.carry_out();
        let hears = join.through.map_or(Hears::Client(welcome.mode), Hears::Behind);
        self.audience.add(conn, hears, join.author, join.outbox);
        if join.through.is_none() {
            self.tell_who_is_there(conn);
        }
        self.participants.join(conn, welcome.you, join.user);
        self.watch_presence();
        Ok(welcome)
    }

    /// Answers a client.
    pub(in crate::doc) fn welcome(
        &mut self,
        welcome: Result<Welcome, Refusal>,
        reply: oneshot::Sender<Result<Seat, Refusal>>,
    ) {
        let seat = |welcome| Seat { welcome: Some(welcome), doc: self.handle.clone() };
        // Where it has gone meanwhile, its seat is given back.
        let _ = reply.send(welcome.map(seat));
        self.let_go_if_nothing();
    }

    pub(in crate::doc) fn listen(&mut self, listen: Listen) -> Result<Heard, Refusal> {
        self.check_open()?;
        self.state.let_in(&listen.asker, listen.mode)?;
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        // A copy that goes on from what it has would keep what was cut from the history since.
        let from = listen.from.filter(|_| self.state.cut == Revision(0));
        let (head, (_, content)) = (self.state.head(), self.state.content(from));
        self.audience.add(conn, Hears::Copy, Author::anonymous(), listen.outbox);
        self.tell_who_is_there(conn);
        Ok(Heard { conn, head, content })
    }

    /// Refuses where nobody is taken just now.
    fn check_open(&self) -> Result<(), Refusal> {
        if self.handing_over {
            return Err(Refusal::Moved);
        }
        if self.draining {
            return Err(self.going_away());
        }
        if self.stalled {
            return Err(stalled());
        }
        Ok(())
    }

    fn tell_who_is_there(&self, conn: ConnId) {
        if self.participants.is_empty() {
            return;
        }
        let listed_max = self.ports.config.participants_listed_max;
        let map = |placed| self.state.mapped(placed);
        let all = self.participants.all(self.state.head(), listed_max, map);
        self.audience.tell(conn, Event::Presence(Arc::new(all)));
    }
}
