//! Bad input and what it is refused with; odd input that is not refused.

use super::samples::{SESSION, keystroke, op, session};
use crate::text::Component;
use crate::types::{Revision, Seq};
use crate::wire::ErrorCode::{BadFrame, BadOp, TooLarge, Version};
use crate::wire::*;

const LIMITS: Limits = Limits { frame_bytes: 4096, op_components: 4, op_bytes: 16 };

#[track_caller]
fn check(codec: Codec, frame: &[u8], code: ErrorCode, fragment: &str) {
    let shown = String::from_utf8_lossy(frame);
    let refusal = decode_client(codec, frame, &LIMITS).expect_err(&shown);
    assert_eq!(refusal.code, code, "{shown}: {refusal}");
    assert!(refusal.message.contains(fragment), "{shown}: {refusal} says {fragment}");
    assert!(refusal.message.len() < 250, "{refusal}");
}

#[test]
fn json_that_is_no_message_is_refused() {
    let deep = format!(r#"{{"t":"ping","n":1,"x":{}"#, "[".repeat(2000));
    let deep_first =
        format!(r#"{{"x":{}{},"t":"ping","n":1}}"#, "[".repeat(2000), "]".repeat(2000));
    let cases = [
        ("", "cut off"),
        ("x", "not JSON"),
        ("7", "a JSON object"),
        ("null", "a JSON object"),
        ("[]", "a JSON object"),
        (r#"["ping"]"#, "one message"),
        ("{}", "with one string t"),
        (r#"{"t":7}"#, "with one string t"),
        (r#"{"n":1,"t":"ping","t":"ping"}"#, "with one string t"),
        (r#"{"t":"ping","n":1,"t":"ping"}"#, "t stands twice"),
        (r#"{"t":"nonsense"}"#, "t must be hello, op, cursor or ping"),
        (r#"{"t":"welcome"}"#, "t must be hello, op, cursor or ping"),
        (r#"{"t":"Ping","n":1}"#, "t must be hello"),
        (r#"{"t":"ping"}"#, "n is missing"),
        (r#"{"t":"ping","n":1"#, "cut off"),
        (r#"{"t":"ping","n":1}{}"#, "not JSON"),
        (r#"{"t":"ping","n":1,}"#, "not JSON"),
        (r#"{"t":"ping","n":}"#, "n is not JSON"),
        (r#"{"t":"ping","n":"1"}"#, "n must be a whole number"),
        (r#"{"t":"ping","n":1.0}"#, "n must be a whole number"),
        (r#"{"t":"ping","n":-1}"#, "n must be a whole number"),
        (r#"{"t":"ping","n":1e400}"#, "n is not JSON"),
        (r#"{"t":"ping","n":9007199254740992}"#, "to 9007199254740991"),
        (r#"{"t":"ping","n":99999999999999999999}"#, "to 9007199254740991"),
        (r#"{"t":"ping","n":null}"#, "n must be"),
        (r#"{"t":"ping","n":1,"n":2}"#, "n stands twice"),
        (&deep, "recursion limit"),
        (&deep_first, "recursion limit"),
    ];
    for (json, fragment) in cases {
        check(Codec::Json, json.as_bytes(), BadFrame, fragment);
    }
    check(Codec::Json, b"{\"t\":\"ping\",\"n\":1,\"\xff\":1}", BadFrame, "not JSON");
}

#[test]
fn json_fields_of_op_and_cursor_are_checked() {
    let cases = [
        (r#"{"t":"op","base":0,"op":[]}"#, "seq is missing"),
        (r#"{"t":"op","seq":1,"op":[]}"#, "base is missing"),
        (r#"{"t":"op","seq":1,"base":0}"#, "op is missing"),
        (r#"{"t":"op","seq":0,"base":0,"op":[]}"#, "seq must be a whole number from 1"),
        (r#"{"t":"op","seq":"1","base":0,"op":[]}"#, "seq must be"),
        (r#"{"t":"op","seq":1,"base":-1,"op":[]}"#, "base must be"),
        (r#"{"t":"op","seq":1,"base":[],"op":[]}"#, "base must be"),
        (r#"{"t":"op","seq":1,"base":0,"op":[],"op":[]}"#, "op stands twice"),
        (r#"{"t":"op","seq":1,"base":0,"op":[1"#, "cut off"),
        (r#"{"t":"cursor","rev":1}"#, "sel is missing"),
        (r#"{"t":"cursor","sel":null}"#, "rev is missing"),
        (r#"{"t":"cursor","rev":1,"sel":[]}"#, "sel must be two positions"),
        (r#"{"t":"cursor","rev":1,"sel":[1]}"#, "sel must be two positions"),
        (r#"{"t":"cursor","rev":1,"sel":[1,2,3]}"#, "sel must be two positions"),
        (r#"{"t":"cursor","rev":1,"sel":[1,-2]}"#, "sel must be two positions"),
        (r#"{"t":"cursor","rev":1,"sel":{"anchor":1,"head":2}}"#, "sel must be two positions"),
        (r#"{"t":"cursor","rev":null,"sel":null}"#, "rev must be"),
    ];
    for (json, fragment) in cases {
        check(Codec::Json, json.as_bytes(), BadFrame, fragment);
    }
}

#[test]
fn json_operations_are_checked() {
    let cases = [
        ("7", "op must be a list"),
        ("null", "op must be a list"),
        ("{}", "op must be a list"),
        (r#""abc""#, "op must be a list"),
        ("[0]", "op[0] must be"),
        ("[1,0]", "op[1] must be"),
        ("[-1]", "op[0] must be"),
        ("[1.5]", "op[0] must be"),
        ("[1e3]", "op[0] must be"),
        ("[4294967296]", "op[0] must be"),
        ("[18446744073709551616]", "op[0] must be"),
        ("[1e999]", "op[0] is not JSON: number out of range"),
        (r#"[""]"#, "op[0] must be"),
        (r#"[1,"a",""]"#, "op[2] must be"),
        (r#"["\ud800"]"#, "op[0] is not JSON"),
        (r#"["\udc00 "]"#, "op[0] is not JSON"),
        (r#"[1,"\ud800\u0041"]"#, "op[1] is not JSON"),
        ("[null]", "op[0] must be"),
        ("[true]", "op[0] must be"),
        ("[[1]]", "op[0] must be"),
        ("[{}]", "op[0] must be"),
        (r#"[{"d":0}]"#, "op[0] must be"),
        (r#"[{"d":-1}]"#, "op[0] must be"),
        (r#"[{"d":1.0}]"#, "op[0] must be"),
        (r#"[{"d":"1"}]"#, "op[0] must be"),
        (r#"[{"d":4294967296}]"#, "op[0] must be"),
        (r#"[{"d":1,"d":1}]"#, "op[0] must be"),
        (r#"[{"d":1,"x":1}]"#, "op[0] must be"),
        (r#"[{"i":"a"}]"#, "op[0] must be"),
        ("[4294967295,4294967295]", "op is refused"),
        (r#"[{"d":4294967295},{"d":1}]"#, "op is refused"),
    ];
    for (list, fragment) in cases {
        let json = format!(r#"{{"t":"op","seq":1,"base":0,"op":{list}}}"#);
        check(Codec::Json, json.as_bytes(), BadOp, fragment);
        let json = format!(r#"{{"op":{list},"seq":1,"base":0,"t":"op"}}"#);
        check(Codec::Json, json.as_bytes(), BadOp, fragment);
    }
    let deep = format!(r#"{{"t":"op","seq":1,"base":0,"op":{}"#, "[".repeat(2000));
    check(Codec::Json, deep.as_bytes(), BadOp, "op[0] must be");
}

#[test]
fn json_hellos_are_checked() {
    let long = "é".repeat(33);
    let name = format!(r##""user":{{"name":"{long}","color":"#123456"}}"##);
    let cases = [
        ("", "v is missing"),
        (r#""v":"1""#, "v must be a whole number"),
        (r#""v":1"#, "session is missing"),
        (r#""v":1,"session":"00112233445566778899AABBCCDDEEFF""#, "session must be 32 lower"),
        (r#""v":1,"session":"0011""#, "session must be 32 lower"),
        (r#""v":1,"session":7"#, "session must be 32 lower"),
        (r#""rev":-1"#, "rev must be"),
        (r#""rev":"7""#, "rev must be"),
        (r#""mode":"admin""#, "mode must be edit or view"),
        (r#""mode":1"#, "mode must be edit or view"),
        (r#""ordered":1"#, "ordered must be true or false"),
        (r#""user":"Zoe""#, "user must be a name and a color"),
        (r##""user":["Zoe","#123456"]"##, "user must be a name and a color"),
        (r##""user":{"color":"#123456"}"##, "user.name is missing"),
        (r#""user":{"name":"Zoe"}"#, "user.color is missing"),
        (r#""user":{"name":"Zoe","color":"red"}"#, "user.color must be"),
        (r#""user":{"name":"Zoe","color":"url(//x)"}"#, "user.color must be"),
        (r##""user":{"name":"a\u0000","color":"#123456"}"##, "user.name must be"),
        (r##""user":{"name":1,"color":"#123456"}"##, "user.name must be"),
        (r##""user":{"name":"a","name":"b","color":"#123456"}"##, "user.name stands twice"),
        (&name, "user.name must be a string of at most 64 bytes"),
    ];
    for (members, fragment) in cases {
        let comma = if members.is_empty() { "" } else { "," };
        check(
            Codec::Json,
            format!(r#"{{"t":"hello"{comma}{members}}}"#).as_bytes(),
            BadFrame,
            fragment,
        );
    }
    check(Codec::Json, br#"{"t":"hello","v":2,"session":7}"#, Version, "v must be 1");
}

#[test]
fn binary_that_is_no_message_is_refused() {
    let hello = |rest: &[u8]| [&[0, 1], &session().0[..], rest].concat();
    let cases: Vec<(Vec<u8>, ErrorCode, &str)> = vec![
        (vec![], BadFrame, "cut off in t"),
        (vec![4], BadFrame, "t must be hello"),
        (vec![0xff; 20], BadFrame, "t must be hello"),
        (vec![3], BadFrame, "cut off in n"),
        (vec![3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10], BadFrame, "n must be"),
        (vec![3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], BadFrame, "n must"),
        (vec![2, 1], BadFrame, "cut off in sel"),
        (vec![2, 1, 2], BadFrame, "sel must be"),
        (vec![1, 0, 0, 0], BadFrame, "seq must be a whole number from 1"),
        (vec![1, 1], BadFrame, "cut off in base"),
        (vec![1, 1, 0], BadFrame, "cut off in op"),
        (vec![1, 1, 0, 1], BadFrame, "cut off in op"),
        (vec![1, 1, 0, 1, 3, 1], BadOp, "op[0] must be"),
        (vec![1, 1, 0, 1, 0, 0], BadOp, "op[0] must be"),
        (vec![1, 1, 0, 2, 0, 1, 2, 0], BadOp, "op[1] must be"),
        (vec![1, 1, 0, 1, 1, 0], BadOp, "op[0] must be"),
        (vec![1, 1, 0, 1, 1, 3, 0xed, 0xa0, 0x80], BadOp, "op[0] must be"),
        (vec![1, 1, 0, 1, 1, 9, b'a'], BadFrame, "cut off in op"),
        (vec![1, 1, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x1f], BadOp, "op[0] must be"),
        (vec![1, 1, 0, 5, 0, 1], TooLarge, "op has at most 4 components"),
        (vec![1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], TooLarge, "op has at most 4 components"),
        (vec![0, 2, 99], Version, "v must be 1"),
        (hello(&[2]), BadFrame, "rev must be"),
        (hello(&[0, 2]), BadFrame, "mode must be edit or view"),
        (hello(&[0, 0, 2]), BadFrame, "ordered must be"),
        (hello(&[0, 0, 0, 2]), BadFrame, "user must be"),
        (hello(&[0, 0, 0, 1, 1, 0xff, 0, 0, 0]), BadFrame, "user.name must be"),
        (hello(&[0, 0, 0, 1, 1, b'\n', 0, 0, 0]), BadFrame, "user.name must be"),
        (hello(&[0, 0, 0, 1, 1, b'a', 0, 0]), BadFrame, "cut off in user.color"),
        (vec![0, 1, 7], BadFrame, "cut off in session"),
    ];
    for (frame, code, fragment) in cases {
        check(Codec::Binary, &frame, code, fragment);
    }
}

#[test]
fn what_is_over_a_limit_is_too_large() {
    let send = |op| ClientMessage::Op { seq: Seq(1), base: Revision(0), op };
    let text = |length| send(keystroke(1, &"x".repeat(length)));
    let pieces = |n: u32| {
        let piece = |n| [Component::Retain(n), Component::Insert("x".into())];
        send(op(&(1..=n).flat_map(piece).collect::<Vec<_>>()))
    };
    for codec in [Codec::Json, Codec::Binary] {
        for message in [text(16), pieces(2)] {
            let frame = encode_client(codec, &message);
            assert_eq!(decode_client(codec, &frame, &LIMITS), Ok(message));
        }
        check(codec, &encode_client(codec, &text(17)), TooLarge, "op inserts at most 16 bytes");
        check(codec, &encode_client(codec, &pieces(3)), TooLarge, "op has at most 4 components");
        check(codec, &encode_client(codec, &text(4096)), TooLarge, "a frame has at most 4096");
    }
}

#[test]
fn what_was_sent_is_not_repeated() {
    let frames = [
        r#"{"t":"hello","v":1,"session":"sesame"}"#,
        r#"{"t":"op","seq":"sesame","base":0,"op":[]}"#,
        r#"{"t":"op","seq":1,"base":0,"op":["sesame","\ud800"]}"#,
        r#"{"t":"sesame"}"#,
        r#"{"t":"op","seq":1,"base":0,"op":"sesame"}"#,
    ];
    for frame in frames {
        let refusal = decode_client(Codec::Json, frame.as_bytes(), &LIMITS).unwrap_err();
        assert!(!refusal.to_string().contains("sesame"), "{refusal}");
    }
}

#[test]
fn what_is_merely_unusual_is_taken() {
    let keystroke =
        ClientMessage::Op { seq: Seq(1), base: Revision(0), op: keystroke(2, "a\u{1f600}") };
    let frames = [
        r#"{"t":"op","seq":1,"base":0,"op":[2,"a\ud83d\ude00"]}"#,
        " { \"t\" : \"op\", \"seq\": 1 ,\t\"base\":0,\"op\":[ 2, \"a\", \"😀\", 3 ] }\n",
        r#"{"op":[2,"a😀"],"base":0,"n":"?","seq":1,"t":"op","x":{"t":[{"op":null}]},"x":2.5}"#,
        r#"{"t":"op","\u0073eq":1,"base":0,"op":[2,"a😀"],"v":"of another message"}"#,
    ];
    for frame in frames {
        let decoded = decode_client(Codec::Json, frame.as_bytes(), &LIMITS);
        assert_eq!(decoded.as_ref(), Ok(&keystroke), "{frame}");
    }
    let nulls = r#""rev":null,"mode":null,"ordered":null,"user":null"#;
    let hello = format!(r#"{{"t":"hello","v":1,"session":"{SESSION}",{nulls}}}"#);
    let decoded = decode_client(Codec::Json, hello.as_bytes(), &LIMITS);
    let ClientMessage::Hello(hello) = decoded.unwrap() else { panic!("it is a hello") };
    assert_eq!((hello.rev, hello.mode, hello.ordered, hello.user), (None, Mode::Edit, false, None));
    let appended = [&encode_client(Codec::Binary, &keystroke)[..], &[1, 2, 3]].concat();
    assert_eq!(decode_client(Codec::Binary, &appended, &LIMITS), Ok(keystroke));
}

#[test]
fn a_client_is_tolerant() {
    let later = [
        (Codec::Json, &br#"{"t":"later","n":[{}]}"#[..]),
        (Codec::Json, br#"{"n":1,"t":"later"}"#),
        (Codec::Binary, &[10, 1, 2]),
    ];
    for (codec, frame) in later {
        assert_eq!(decode_server(codec, frame), Ok(None));
    }
    let odd = br#"{"t":"error","code":"teapot","fatal":true,"msg":"m","more":{},"seq":null}"#;
    let Ok(Some(ServerMessage::Error { code, seq, .. })) = decode_server(Codec::Json, odd) else {
        panic!("it is an error");
    };
    assert_eq!((code, seq), (ErrorCode::Internal, None));
    for frame in ["", "[]", r#"{"t":"pong"}"#, r#"{"t":"welcome","v":1}"#, r#"{"t":"pong","n":1}x"#]
    {
        let refusal = decode_server(Codec::Json, frame.as_bytes()).expect_err(frame);
        assert_eq!(refusal.code, BadFrame);
    }
    for frame in [&[][..], &[9], &[1, 1, 1, 1, 1, 0, 0], &[5, 1, 1, 9]] {
        let refusal = decode_server(Codec::Binary, frame).expect_err("it is cut off or wrong");
        assert_eq!(refusal.code, BadFrame);
    }
}
