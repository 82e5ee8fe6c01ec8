//! What is done to a server under siege: one enemy after the other goes through its case, and
//! whatever it is told that it must not be told is a finding.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quire::wire::{Codec, ServerMessage, decode_server};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::socket::grammar::{Case, End, Step};
use crate::socket::line::{Finding, Frame, Heard, Line};
use crate::socket::pass::{Desk, May};

/// Enemies at once, and those who stay after what they have said.
const AT_ONCE: usize = 24;
const STAY_MAX: usize = 32;

/// Where the enemies of a siege are, and what they do.
pub(crate) struct Field {
    pub(crate) address: SocketAddr,
    /// Makes the case of a seed.
    pub(crate) case: Box<dyn Fn(u64) -> Case + Send + Sync>,
    /// Takes tokens back, where there are any.
    pub(crate) desk: Option<Desk>,
}

/// What was seen of all cases.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) findings: Vec<String>,
    pub(crate) staying: Vec<Line>,
    pub(crate) counts: Arc<Counts>,
}

/// What all enemies were told together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Edits that were acknowledged.
    pub(crate) acks: AtomicU64,
    pub(crate) welcomes: AtomicU64,
    /// Handshakes that were answered, of those whose credentials are good for nothing.
    pub(crate) refused: AtomicU64,
}

/// One enemy, and what it may be told.
struct Enemy<'a> {
    line: Line,
    codec: Codec,
    may: May,
    counts: &'a Counts,
}

/// Runs cases from `first` on, some at once.
pub(crate) async fn run(field: &Arc<Field>, first: u64, count: u64, seen: &Arc<Mutex<Seen>>) {
    let counts = seen.lock().counts.clone();
    let next = Arc::new(AtomicU64::new(first));
    let mut enemies = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, seen, counts) = (next.clone(), seen.clone(), counts.clone());
        let field = field.clone();
        enemies.spawn(async move {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return;
                }
                let attacked = attack(&field, (field.case)(seed), &counts).await;
                let mut seen = seen.lock();
                match attacked {
                    Ok((how, stays)) => {
                        *seen.answers.entry(how).or_default() += 1;
                        seen.staying.extend(stays);
                        let too_many = seen.staying.len().saturating_sub(STAY_MAX);
                        drop(seen.staying.drain(..too_many));
                    }
                    Err(finding) => seen.findings.push(format!("seed {seed}: {finding}")),
                }
            }
        });
    }
    while let Some(ended) = enemies.join_next().await {
        ended.expect("an enemy does not fail by itself");
    }
}

/// Is one enemy from its first byte to its end.
async fn attack(
    field: &Field,
    case: Case,
    counts: &Counts,
) -> Result<(String, Option<Line>), Finding> {
    let mut line = Line::open(field.address).await;
    line.send(&case.handshake).await?;
    if !case.handshake.windows(4).any(|four| four == b"\r\n\r\n") {
        line.shut().await;
        return line.drain().await.map(|()| ("half a request".to_owned(), None));
    }
    let codec = match line.answered().await? {
        Some((101, codec)) => codec,
        Some((status @ 100..500, _)) => return Ok((status.to_string(), None)),
        Some((status, _)) => return Err(format!("the handshake was answered by {status}")),
        None => return Ok(("no answer".to_owned(), None)),
    };
    if case.may == May::Knock {
        counts.refused.fetch_add(1, Ordering::Relaxed);
    }
    let mut enemy = Enemy { line, codec, may: case.may, counts };
    for step in &case.steps {
        match step {
            Step::Send(bytes) => enemy.line.send(bytes).await?,
            Step::Hear => {
                if let Some(end) = enemy.answer().await? {
                    return Ok((end, None));
                }
            }
            Step::Revoke { id, token } => {
                field.desk.as_ref().expect("who has tokens has one").revoke(id, token).await?;
            }
        }
    }
    match case.end {
        End::Stay => return Ok(("stays".to_owned(), Some(enemy.line))),
        End::Reset => {
            enemy.line.reset();
            return Ok(("resets".to_owned(), None));
        }
        End::Shut => enemy.line.shut().await,
        End::Close => {}
    }
    loop {
        match enemy.line.hear().await? {
            Heard::End => return Ok(("ended".to_owned(), None)),
            Heard::Close(code) => return enemy.closed(code).await.map(|end| (end, None)),
            Heard::Data { is_text, payload } => drop(enemy.read(is_text, &payload)?),
            Heard::Ping(_) | Heard::Pong => {}
        }
    }
}

impl Enemy<'_> {
    /// Waits for what the server says to a message; returns how the connection ended, if it did.
    async fn answer(&mut self) -> Result<Option<String>, Finding> {
        loop {
            match self.line.hear().await? {
                Heard::End => return Ok(Some("ended".to_owned())),
                Heard::Close(code) => return self.closed(code).await.map(Some),
                Heard::Pong => {}
                Heard::Ping(payload) => {
                    let (mask, payload) = (Some([7; 4]), payload.as_slice());
                    let pong = Frame {
                        is_last: true,
                        reserved: 0,
                        opcode: 10,
                        mask,
                        claimed: None,
                        payload,
                    };
                    self.line.send(&pong.bytes()).await?;
                }
                Heard::Data { is_text, payload } => match self.read(is_text, &payload)? {
                    ServerMessage::Ack { .. }
                    | ServerMessage::Welcome(_)
                    | ServerMessage::Error { .. }
                    | ServerMessage::Moved { .. } => return Ok(None),
                    _ => {}
                },
            }
        }
    }

    /// Reads a message strictly, and judges whether this one may be told it.
    fn read(&self, is_text: bool, payload: &[u8]) -> Result<ServerMessage, Finding> {
        let shown = || String::from_utf8_lossy(payload).chars().take(200).collect::<String>();
        if is_text != (self.codec == Codec::Json) {
            return Err(format!("a frame of the other kind: {}", shown()));
        }
        if is_text && serde_json::from_slice::<Value>(payload).is_err() {
            return Err(format!("no JSON: {}", shown()));
        }
        let message = match decode_server(self.codec, payload) {
            Ok(Some(message)) => message,
            other => return Err(format!("{other:?}: {}", shown())),
        };
        let least = match message {
            ServerMessage::Error { .. } | ServerMessage::Moved { .. } => May::Knock,
            ServerMessage::Ack { .. } | ServerMessage::Ordered { .. } => May::Write,
            _ => May::Read,
        };
        if self.may < least {
            return Err(format!("{:?} was told {}", self.may, shown()));
        }
        match message {
            ServerMessage::Ack { .. } => self.counts.acks.fetch_add(1, Ordering::Relaxed),
            ServerMessage::Welcome(_) => self.counts.welcomes.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        Ok(message)
    }

    /// Checks a close code, answers it, and waits for the end.
    async fn closed(&mut self, code: Option<u16>) -> Result<String, Finding> {
        if matches!(code, Some(4500 | 1011)) {
            return Err(format!("the server calls it its own fault: {code:?}"));
        }
        let bye = Frame {
            is_last: true,
            reserved: 0,
            opcode: 8,
            mask: Some([0; 4]),
            claimed: None,
            payload: b"\x03\xe8",
        };
        self.line.send(&bye.bytes()).await?;
        self.line.shut().await;
        self.line.drain().await?;
        Ok(code.map_or("closed".to_owned(), |code| format!("closed {code}")))
    }
}
