//! What an enemy does at a socket: handshakes, frames and messages that are right, nearly right and
//! wrong, one case a seed. The same seed makes the same case.

use std::ops::Range;

use quire::wire::{ClientMessage, Codec, Limits, decode_client};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::mutation::{WORDS, examples, mutate};
use crate::socket::line::Frame;
use crate::socket::pass::May;

/// The longest frame that the server under siege takes, and the most text of an operation.
pub(crate) const FRAME_BYTES: usize = 64 << 10;
pub(crate) const OP_BYTES: usize = 16 << 10;

/// How many documents the enemies have, and how many honest ones they look into.
const OWN_DOCS: u64 = 48;
const HONEST_DOCS: u64 = 2;

/// After so many seeds the enemies leave their documents for new ones: what they write stays in
/// them, so the longer they had the same ones, the more memory these would take.
const ERA: u64 = 5_000;

/// Bases from here on are above every head.
const FAR: u64 = 1 << 40;

/// What an enemy writes whose token was revoked before; nobody else writes it.
pub(crate) const LATE: &str = "\u{2620}";

/// One connection of an enemy.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) handshake: Vec<u8>,
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
    /// What may come of it.
    pub(crate) may: May,
}

#[derive(Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Waits for what the server has to say to the message before.
    Hear,
    /// Has the enemy's own token revoked, and waits until the server takes it no more.
    Revoke {
        id: String,
        token: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Says goodbye, in some way, and waits for the end.
    Close,
    /// Writes nothing more, and waits for the end.
    Shut,
    Reset,
    /// Stays, and says nothing.
    Stay,
}

struct Enemy {
    rng: ChaCha8Rng,
    codec: Codec,
    /// It is in an honest document: nothing it says may be an edit that fits.
    is_guest: bool,
    /// Whether what was said so far is whole frames of messages that are whole.
    is_intact: bool,
    /// Whether it behaves for most of the time, so that it gets far.
    is_patient: bool,
    /// The number of its last batch.
    seq: u64,
    steps: Vec<Step>,
}

/// Makes the case of a seed, against a server that is open to all.
pub(crate) fn case(seed: u64) -> Case {
    case_in(seed, None)
}

/// Makes the case of a seed, in a document where whatever it says may be said, if one is named.
pub(crate) fn case_in(seed: u64, named: Option<&str>) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let codec = if rng.random() { Codec::Json } else { Codec::Binary };
    let is_guest = rng.random_ratio(1, 4);
    let doc = match is_guest {
        true => format!("kill-{}", rng.random_range(0..HONEST_DOCS)),
        false => own_doc(seed / ERA, rng.random_range(0..OWN_DOCS)),
    };
    let (doc, is_guest) = named.map_or((doc, is_guest), |doc| (doc.to_owned(), false));
    let is_patient = rng.random_ratio(1, 3);
    let (is_intact, seq, steps) = (true, 0, Vec::new());
    let mut enemy = Enemy { rng, codec, is_guest, is_intact, is_patient, seq, steps };
    let handshake = enemy.handshake(&doc);
    if enemy.rng.random_ratio(9, 10) {
        let payload = enemy.hello();
        enemy.say(&payload, true);
    }
    for _ in 0..enemy.rng.random_range(0..8) {
        enemy.act();
    }
    let end = match enemy.rng.random_range(0..8) {
        0..4 if enemy.is_intact => End::Close,
        0..6 => End::Shut,
        6 => End::Reset,
        _ => End::Stay,
    };
    if end == End::Close {
        enemy.goodbye();
    }
    Case { handshake, steps: enemy.steps, end, may: May::Write }
}

/// Makes the case of a seed whose token is revoked in the middle: what it says then would fit.
pub(crate) fn late_case(seed: u64, doc: &str, (id, token): (String, String)) -> Case {
    let rng = ChaCha8Rng::seed_from_u64(seed);
    let codec = if seed.is_multiple_of(2) { Codec::Json } else { Codec::Binary };
    let (is_guest, is_intact, is_patient) = (false, true, true);
    let mut enemy =
        Enemy { rng, codec, is_guest, is_intact, is_patient, seq: 0, steps: Vec::new() };
    let handshake = enemy.handshake(doc);
    let payload = enemy.hello();
    enemy.say(&payload, true);
    for _ in 0..enemy.rng.random_range(0..4) {
        enemy.act();
    }
    enemy.steps.push(Step::Revoke { id, token });
    let payload = edit(codec, enemy.seq + 1, 0, &[Part::Insert(LATE.to_owned())]);
    let opcode = if codec == Codec::Json { 1 } else { 2 };
    let bytes = enemy.frame(true, opcode, &payload);
    enemy.steps.push(Step::Send(bytes));
    Case { handshake, steps: enemy.steps, end: End::Shut, may: May::Write }
}

/// Returns the documents that the enemies of some seeds have.
pub(crate) fn own_docs(seeds: Range<u64>) -> impl Iterator<Item = String> {
    let eras = seeds.start / ERA..seeds.end.div_ceil(ERA);
    eras.flat_map(|era| (0..OWN_DOCS).map(move |number| own_doc(era, number)))
}

fn own_doc(era: u64, number: u64) -> String {
    format!("siege-{era}-{number}")
}

impl Enemy {
    fn one_in(&mut self, of: u32) -> bool {
        self.rng.random_ratio(1, of)
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.rng.random_range(0..all.len())]
    }

    fn handshake(&mut self, doc: &str) -> Vec<u8> {
        let offer = self.codec.subprotocol();
        let right = format!(
            "GET /ws/{doc} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: {offer}\r\n\r\n"
        );
        if !self.one_in(8) {
            return right.into_bytes();
        }
        let (old, new) = self.pick(&[
            ("version: 13", "version: 8"),
            ("Zw==", ""),
            ("connection: upgrade\r\n", ""),
            ("upgrade: websocket", "upgrade: h2c"),
            ("quire.v1", "quire.v9"),
            ("quire.v1", "quire.v1, csrf.a, csrf.b"),
            ("quire.v1", "\u{e9}, quire.v1"),
            ("GET ", "POST "),
            ("GET ", "PRI "),
            ("/ws/", "/ws/..%2f"),
            ("/ws/", "/ws/%00"),
            ("/ws/", "//ws//"),
            ("/ws/", "http://elsewhere/ws/"),
            (" HTTP/1.1", "?ticket=0 HTTP/1.1"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("HTTP/1.1", "HTTP/9.9"),
            ("host: localhost\r\n", "host: a\r\nhost: b\r\n"),
            ("host:", "authorization: Bearer a.b.c\r\nhost:"),
            ("host:", "cookie: __Host-quire-login=x; __Host-quire-login=y\r\nhost:"),
            ("host:", "content-length: 5\r\nhost:"),
            ("host:", "transfer-encoding: chunked\r\ncontent-length: 1\r\nhost:"),
            ("host:", "origin: null\r\nhost:"),
            ("host:", "x: a\rb\r\nhost:"),
            ("\r\n\r\n", "\r\n x\r\n\r\n"),
            ("\r\n\r\n", ""),
        ]);
        let mut bytes = right.replacen(old, new, 1).into_bytes();
        if self.one_in(4) {
            let at = self.rng.random_range(0..bytes.len());
            bytes[at] = self.rng.random();
        }
        if self.one_in(16) {
            let line = format!("x: {}\r\n", "y".repeat(self.pick(&[1 << 10, 40 << 10])));
            let at = bytes.len() - 2;
            drop(bytes.splice(at..at, line.into_bytes()));
        }
        bytes
    }

    /// Says or does one more thing.
    fn act(&mut self) {
        let kinds = if self.is_patient && !self.one_in(6) { 10 } else { 20 };
        match self.rng.random_range(0..kinds) {
            0..7 => {
                let payload = self.op();
                self.say(&payload, true);
            }
            7 | 8 => {
                let payload = self.cursor();
                self.say(&payload, false);
            }
            9 => {
                let payload = self.ping();
                self.say(&payload, false);
            }
            10 => {
                let payload = self.hello();
                self.say(&payload, true);
            }
            11..14 => {
                let payload = self.nearly();
                self.say(&payload, false);
            }
            14 => {
                let payload = self.garbage();
                self.say(&payload, false);
            }
            15 | 16 => self.control(),
            _ => self.broken_frame(),
        }
    }

    /// Sends a message, seldom in parts, and may wait for what the server says to it.
    fn say(&mut self, payload: &[u8], is_answered: bool) {
        if self.is_guest && fits(self.codec, payload) {
            return;
        }
        let opcode = if self.codec == Codec::Json { 1 } else { 2 };
        let mut bytes = Vec::new();
        let parts = if self.one_in(6) { self.rng.random_range(2..6) } else { 1 };
        let mut rest = payload;
        for part in 0..parts {
            let is_last = part + 1 == parts;
            let at = if is_last { rest.len() } else { self.rng.random_range(0..=rest.len()) };
            let (payload, left) = rest.split_at(at);
            let opcode = if part == 0 { opcode } else { 0 };
            bytes.extend(self.frame(is_last, opcode, payload));
            if !is_last && self.one_in(3) {
                // Control frames may come in between.
                bytes.extend(self.frame(true, 9, b"between"));
            }
            rest = left;
        }
        // What is sent may arrive in pieces, too.
        let cut = if self.one_in(4) { self.rng.random_range(0..bytes.len()) } else { 0 };
        let rest = bytes.split_off(cut);
        self.steps.extend([bytes, rest].into_iter().filter(|b| !b.is_empty()).map(Step::Send));
        if is_answered && self.is_intact && !self.one_in(5) {
            self.steps.push(Step::Hear);
        }
    }

    fn frame(&mut self, is_last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = Some(self.rng.random());
        Frame { is_last, reserved: 0, opcode, mask, claimed: None, payload }.bytes()
    }

    fn goodbye(&mut self) {
        let payload = self.pick::<&[u8]>(&[
            b"",
            b"\x03",
            b"\x03\xe8",
            b"\x03\xe8bye",
            b"\x03\xed",
            b"\x00\x00",
            b"\xff\xff",
            b"\x11\x94\xff\xfe",
        ]);
        let bytes = self.frame(true, 8, payload);
        self.steps.push(Step::Send(bytes));
    }

    /// A control frame: right, too long, in parts, of an unknown kind.
    fn control(&mut self) {
        let opcode = self.pick(&[9, 9, 10, 10, 11, 15]);
        let length = self.pick(&[0, 1, 125, 126, 70_000]);
        let (is_last, payload) = (!self.one_in(6), vec![b'p'; length]);
        let mut bytes = self.frame(is_last, opcode, &payload);
        if self.one_in(8) {
            bytes = bytes.repeat(if length > 125 { 2 } else { 200 });
        }
        self.is_intact &= is_last && length <= 125 && opcode < 11;
        self.steps.push(Step::Send(bytes));
    }

    /// A frame that no client sends.
    fn broken_frame(&mut self) {
        self.is_intact = false;
        let mut payload = self.nearly();
        if self.is_guest && fits(self.codec, &payload) {
            return;
        }
        let mut frame = Frame {
            is_last: true,
            reserved: 0,
            opcode: if self.codec == Codec::Json { 1 } else { 2 },
            mask: Some(self.rng.random()),
            claimed: None,
            payload: &[],
        };
        match self.rng.random_range(0..9) {
            0 => frame.reserved = self.rng.random_range(1..8),
            1 => frame.opcode = self.rng.random_range(3..8),
            2 => frame.mask = None,
            3 => frame.claimed = Some(self.pick(&[u64::MAX, 1 << 63, i64::MAX as u64, 1 << 32])),
            4 => frame.claimed = Some(FRAME_BYTES as u64 + 1),
            // A continuation of nothing, a message inside of another, one that never ends.
            5 => frame.opcode = 0,
            6 => frame.is_last = false,
            7 => payload = vec![b' '; FRAME_BYTES + 1],
            _ => frame.opcode = 3 - frame.opcode,
        }
        let mut bytes = Frame { payload: &payload, ..frame }.bytes();
        if !frame.is_last {
            let next = Frame { opcode: 0, payload: &vec![b' '; FRAME_BYTES / 4], ..frame }.bytes();
            bytes.extend(next.repeat(self.rng.random_range(0..8)));
        }
        if self.one_in(8) {
            bytes.truncate(self.rng.random_range(0..bytes.len()));
        }
        self.steps.push(Step::Send(bytes));
    }

    /// A golden message that was changed here and there.
    fn nearly(&mut self) -> Vec<u8> {
        let all = examples();
        let codec = self.codec;
        let own: Vec<_> = all.iter().filter(|(of, _)| *of == codec).collect();
        let mut message = own[self.rng.random_range(0..own.len())].1.clone();
        let other = &all[self.rng.random_range(0..all.len())].1;
        for _ in 0..self.rng.random_range(1..5) {
            mutate(&mut message, other, &mut self.rng);
        }
        message
    }

    /// Words of the language without its grammar, what is deep, and what is no text.
    fn garbage(&mut self) -> Vec<u8> {
        let deep = self.pick(&[100, 10_000, FRAME_BYTES - 200]);
        match self.rng.random_range(0..8) {
            0 => vec![b'['; deep],
            1 => [b"{\"t\":\"op\",\"x\":".to_vec(), vec![b'['; deep]].concat(),
            2 => "{\"t\":".repeat(deep / 5).into_bytes(),
            3 => format!("{{\"t\":\"ping\",\"n\":1{}}}", "0".repeat(deep)).into_bytes(),
            4 => self.bad_utf8(),
            5 => (0..self.rng.random_range(0..300)).map(|_| self.rng.random()).collect(),
            6 => Vec::new(),
            _ => (0..self.rng.random_range(1..40))
                .map(|_| self.pick(WORDS))
                .collect::<String>()
                .into(),
        }
    }

    /// JSON that would be right, with bytes that are no UTF-8 in a string.
    fn bad_utf8(&mut self) -> Vec<u8> {
        let bad = self.pick::<&[u8]>(&[
            b"\xff",
            b"\xc0\x80",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe2\x82",
            b"\x80",
        ]);
        [b"{\"t\":\"op\",\"seq\":1,\"base\":0,\"op\":[\"", bad, b"\"]}"].concat()
    }

    fn number(&mut self) -> u64 {
        if self.is_patient || !self.one_in(4) {
            return self.rng.random_range(0..6);
        }
        self.pick(&[1_000, FAR, (1 << 53) - 1, 1 << 53, u64::MAX])
    }

    /// A session: one of a few that all enemies share, or a new one.
    fn session(&mut self) -> [u8; 16] {
        if self.rng.random() { [self.rng.random_range(0..8); 16] } else { self.rng.random() }
    }

    fn hello(&mut self) -> Vec<u8> {
        let is_plain = self.is_patient && !self.one_in(8);
        let session = if is_plain { self.rng.random() } else { self.session() };
        let rev = (!is_plain && self.rng.random_bool(0.4)).then(|| self.number());
        let (is_view, ordered) = (self.one_in(8), self.rng.random::<bool>());
        let version = if !is_plain && self.one_in(20) { self.number() } else { 1 };
        let name = if is_plain { "\u{1f600}" } else { self.pick(NAMES) };
        if self.codec == Codec::Binary {
            let mut bytes = vec![0];
            varint(&mut bytes, version);
            bytes.extend(session);
            optional(&mut bytes, rev);
            bytes.extend([u8::from(is_view), u8::from(ordered)]);
            match name {
                "" => bytes.push(0),
                name => {
                    bytes.push(1);
                    string(&mut bytes, name);
                    bytes.extend([1, 2, 3]);
                }
            }
            return bytes;
        }
        let session: String = session.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut hello = serde_json::json!({
            "t": "hello", "v": version, "session": session, "ordered": ordered,
            "mode": if is_view { "view" } else { "edit" },
        });
        if let Some(rev) = rev {
            hello["rev"] = rev.into();
        }
        if !name.is_empty() {
            hello["user"] = serde_json::json!({"name": name, "color": "#102030"});
        }
        hello.to_string().into_bytes()
    }

    fn op(&mut self) -> Vec<u8> {
        let (mut seq, mut base) = (self.number(), self.number());
        let mut parts: Vec<Part> = (0..self.rng.random_range(0..6)).map(|_| self.part()).collect();
        if self.rng.random_ratio(if self.is_patient { 15 } else { 1 }, 16) {
            // One that is likely to be taken.
            self.seq += 1;
            (seq, base) = (self.seq, self.pick(&[0, 0, 0, 1, 2]));
            parts.retain(|part| matches!(part, Part::Insert(text) if !text.is_empty()));
        }
        if self.is_guest {
            base = base.max(FAR);
        }
        edit(self.codec, seq, base, &parts)
    }

    fn part(&mut self) -> Part {
        match self.rng.random_range(0..12) {
            0..4 => Part::Retain(self.number()),
            4..8 => {
                let word = self.pick(&["a", "\u{1f600}", "\u{0}", "e\u{301}", "\r\n", ""]);
                let times = self.pick(&[1, 1, 1, 3, OP_BYTES]);
                let times = if times == OP_BYTES && !self.one_in(20) { 1 } else { times };
                Part::Insert(word.repeat(times))
            }
            8..11 => Part::Delete(self.number()),
            _ => Part::Odd(self.pick(ODD)),
        }
    }

    fn cursor(&mut self) -> Vec<u8> {
        let (rev, anchor, head) = (self.number(), self.number(), self.number());
        if self.codec == Codec::Json {
            let text = format!("{{\"t\":\"cursor\",\"rev\":{rev},\"sel\":[{anchor},{head}]}}");
            return text.into_bytes();
        }
        let mut bytes = vec![2];
        varint(&mut bytes, rev);
        bytes.push(1);
        varint(&mut bytes, anchor);
        varint(&mut bytes, head);
        bytes
    }

    fn ping(&mut self) -> Vec<u8> {
        let n = self.number();
        if self.codec == Codec::Json {
            return format!("{{\"t\":\"ping\",\"n\":{n}}}").into_bytes();
        }
        let mut bytes = vec![3];
        varint(&mut bytes, n);
        bytes
    }
}

const NAMES: &[&str] =
    &["", "", "", "Ann", "Zo\u{eb}", "\u{202e}", "<script>", "a\u{0}", "\u{1f600}"];

/// A component of an operation.
enum Part {
    Retain(u64),
    Insert(String),
    Delete(u64),
    /// None at all, in JSON and in binary.
    Odd((&'static str, &'static [u8])),
}

const ODD: &[(&str, &[u8])] = &[
    ("null", &[3]),
    ("-1", &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    ("1.5", &[0, 0x80]),
    ("1e999", &[1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    ("[]", &[0x80, 0]),
    ("{}", &[1, 1, 0xff]),
    ("{\"d\":-1}", &[2, 0]),
    ("{\"d\":1,\"e\":2}", &[1, 2, 0xc0, 0x80]),
    ("{\"d\":{\"d\":1}}", &[0xff]),
    ("\"\\ud800\"", &[1, 3, 0xed, 0xa0, 0x80]),
    ("\"\\udc00\\ud800\"", &[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]),
    ("true", &[]),
];

impl Part {
    fn json(&self) -> String {
        match self {
            Self::Retain(count) => count.to_string(),
            Self::Insert(text) => serde_json::json!(text).to_string(),
            Self::Delete(count) => format!("{{\"d\":{count}}}"),
            Self::Odd((json, _)) => (*json).to_owned(),
        }
    }

    fn binary(&self, out: &mut Vec<u8>) {
        match self {
            Self::Retain(count) => {
                out.push(0);
                varint(out, *count);
            }
            Self::Insert(text) => {
                out.push(1);
                string(out, text);
            }
            Self::Delete(count) => {
                out.push(2);
                varint(out, *count);
            }
            Self::Odd((_, bytes)) => out.extend(*bytes),
        }
    }
}

fn edit(codec: Codec, seq: u64, base: u64, parts: &[Part]) -> Vec<u8> {
    if codec == Codec::Json {
        let op: Vec<String> = parts.iter().map(Part::json).collect();
        let op = op.join(",");
        return format!("{{\"t\":\"op\",\"seq\":{seq},\"base\":{base},\"op\":[{op}]}}").into();
    }
    let mut bytes = vec![1];
    varint(&mut bytes, seq);
    varint(&mut bytes, base);
    varint(&mut bytes, parts.len() as u64);
    parts.iter().for_each(|part| part.binary(&mut bytes));
    bytes
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 127 {
        out.push(u8::try_from(number & 127).expect("seven bits") | 128);
        number >>= 7;
    }
    out.push(u8::try_from(number).expect("seven bits"));
}

fn optional(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(u8::from(number.is_some()));
    number.into_iter().for_each(|number| varint(out, number));
}

fn string(out: &mut Vec<u8>, text: &str) {
    varint(out, text.len() as u64);
    out.extend(text.bytes());
}

/// Tells whether a payload is an edit that might fit a document.
fn fits(codec: Codec, payload: &[u8]) -> bool {
    let decoded = decode_client(codec, payload, &Limits::default());
    matches!(decoded, Ok(ClientMessage::Op { base, .. }) if base.0 < FAR)
}
