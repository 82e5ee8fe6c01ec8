//! The bytes of every message, kept for ever; docs/PROTOCOL.md shows the same ones.
//!
//! `QUIRE_BLESS=1` adds examples that the file lacks; it never changes one that is there.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::samples::{self, Sample};
use crate::testing::hex;
use crate::wire::*;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Example {
    name: String,
    from: String,
    json: String,
    hex: String,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn stored() -> Vec<Example> {
    let text = fs::read_to_string(path("tests/fixtures/wire/v1.json"));
    text.map_or(Vec::new(), |text| serde_json::from_str(&text).unwrap())
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn example(sample: &Sample) -> Example {
    let (name, from, [json, binary]) = match sample {
        Sample::Client(name, message) => {
            (name, "client", [Codec::Json, Codec::Binary].map(|c| encode_client(c, message)))
        }
        Sample::Server(name, message) => {
            (name, "server", [Codec::Json, Codec::Binary].map(|c| encode_server(c, message)))
        }
    };
    let json = String::from_utf8(json.to_vec()).unwrap();
    Example { name: (*name).into(), from: from.into(), json, hex: hex(&binary) }
}

#[test]
fn every_message_has_its_golden_bytes() {
    let mut stored = stored();
    let find = |stored: &[Example], new: &Example| {
        stored.iter().position(|old| (&old.from, &old.name) == (&new.from, &new.name))
    };
    if std::env::var_os("QUIRE_BLESS").is_some() {
        let new = samples::all().iter().map(example).collect::<Vec<_>>();
        stored
            .extend(new.into_iter().filter(|new| find(&stored, new).is_none()).collect::<Vec<_>>());
        let text = serde_json::to_string_pretty(&stored).unwrap();
        fs::write(path("tests/fixtures/wire/v1.json"), text + "\n").unwrap();
    }
    for sample in samples::all() {
        let new = example(&sample);
        let at = find(&stored, &new).unwrap_or_else(|| panic!("QUIRE_BLESS=1 adds {}", new.name));
        assert_eq!(new, stored[at]);
    }
}

#[test]
fn golden_bytes_are_decoded() {
    let stored = stored();
    assert!(stored.len() >= samples::all().len());
    for sample in samples::all() {
        let Example { name, json, hex, .. } = example(&sample);
        let old = stored.iter().find(|old| old.json == json && old.hex == hex).expect(&name);
        let frames =
            [(Codec::Json, old.json.clone().into_bytes()), (Codec::Binary, unhex(&old.hex))];
        for (codec, frame) in frames {
            match &sample {
                Sample::Client(_, message) => {
                    let decoded = decode_client(codec, &frame, &Limits::default());
                    assert_eq!(decoded.as_ref(), Ok(message), "{name}");
                }
                Sample::Server(_, message) => {
                    let decoded = decode_server(codec, &frame).unwrap();
                    assert_eq!(decoded.as_ref(), Some(message), "{name}");
                }
            }
        }
    }
}

#[test]
fn the_protocol_text_shows_the_golden_bytes() {
    let text = fs::read_to_string(path("docs/PROTOCOL.md")).unwrap();
    for Example { name, json, hex, .. } in stored() {
        assert!(text.contains(&json), "the JSON of {name}: {json}");
        assert!(text.contains(&hex), "the bytes of {name}: {hex}");
    }
}

#[test]
fn borrowed_parts_encode_as_the_message_does() {
    for codec in [Codec::Json, Codec::Binary] {
        for sample in samples::all() {
            let Sample::Server(name, message) = &sample else { continue };
            let borrowed = match message {
                ServerMessage::Op { rev, author, base, op } => {
                    encode_op(codec, *rev, *author, *base, op)
                }
                ServerMessage::Ops { rev, list } => {
                    encode_ops(codec, *rev, list.iter().map(|e| (e.author, e.base, &e.op)))
                }
                ServerMessage::Ack { seq, rev, op } => encode_ack(codec, *seq, *rev, op.as_ref()),
                _ => continue,
            };
            assert_eq!(borrowed, encode_server(codec, message), "{name}");
        }
    }
}

#[test]
fn a_keystroke_is_small() {
    let message = ClientMessage::Op {
        seq: crate::types::Seq(97),
        base: crate::types::Revision(4711),
        op: samples::keystroke(1500, "e"),
    };
    assert_eq!(encode_client(Codec::Binary, &message).len(), 11);
    assert!(encode_client(Codec::Json, &message).len() <= 51);
}
