//! `quire token`, by the real binary: what it issues and shows, and what it never prints.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::server::QUIRE;

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth");

/// Runs the binary with something on stdin.
fn token(args: &[&str], stdin: &str) -> Output {
    let piped = || Stdio::piped();
    let mut command = Command::new(QUIRE);
    command.arg("token").args(args).stdin(piped()).stdout(piped()).stderr(piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut input = child.stdin.take().expect("it is piped");
    // One that has seen enough closes the pipe, which is no failure.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn ok(args: &[&str], stdin: &str) -> String {
    let output = token(args, stdin);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Checks exit code and messages, and returns all that was printed.
#[track_caller]
fn check(args: &[&str], stdin: &str, code: i32, on_stdout: &str, on_stderr: &str) -> String {
    let output = token(args, stdin);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stdout}{stderr}");
    assert!(stdout.contains(on_stdout), "{args:?}: {stdout}");
    assert!(stderr.contains(on_stderr), "{args:?}: {stderr}");
    format!("{stdout}{stderr}")
}

fn key(name: &str) -> String {
    format!("{KEYS}/{name}")
}

#[test]
fn what_is_issued_is_verified_with_the_public_half() {
    for (private, public, algorithm) in [
        ("secret.txt", "secret.txt", "HS256"),
        ("rsa.pem", "rsa-public.pem", "RS256"),
        ("p256.pem", "p256-public.pem", "ES256"),
        ("ed25519.pem", "ed25519-public.pem", "EdDSA"),
    ] {
        let (private, public) = (key(private), key(public));
        let issue = ["issue", "--sub", "anna", "--rights", "acme.**=read,write", "--key", &private];
        let issued = ok(&[&issue[..], &["--ttl", "5m", "--kid", "k"]].concat(), "");
        assert_eq!(issued.lines().count(), 1, "the token alone, for scripts");
        let shown = ok(&["inspect", "--key", &public, "--output", "json"], &issued);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(shown["verified"], true);
        assert_eq!(
            (&shown["header"]["alg"], &shown["header"]["kid"]),
            (&algorithm.into(), &"k".into())
        );
        let claims = &shown["claims"];
        assert_eq!((&claims["sub"], &claims["aud"]), (&"anna".into(), &"quire".into()));
        assert_eq!(claims["docs"][0]["pattern"], "acme.**");
        let lasting = claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(a, b)| a - b);
        assert_eq!(lasting, Some(300));
        assert_eq!(claims["jti"].as_str().map(str::len), Some(32), "so that it can be revoked");
    }
}

#[test]
fn a_verdict_names_its_rule_and_the_signature_is_not_printed() {
    let (secret, public) = (key("secret.txt"), key("p256-public.pem"));
    let issued = ok(&["issue", "--sub", "anna", "--key", &secret], "");
    let issued = issued.trim();
    let signature = issued.rsplit('.').next().expect("three parts");
    let inspect = |args: &[&str], code, told: &str| {
        let printed = check(&[&["inspect"], args].concat(), issued, code, told, "");
        assert!(!printed.contains(signature), "{args:?}: {printed}");
        assert!(printed.contains("\"sub\": \"anna\""), "{args:?}: {printed}");
    };
    inspect(&["--key", &secret], 0, "\nverified\n");
    inspect(&[], 1, "not verified: name the key with --key or --jwks");
    inspect(&["--key", &public], 1, "refused: the token's algorithm is not the one that its key");
    inspect(&["--key", &secret, "--aud", "other"], 1, "refused: the token is for another audience");
    inspect(&["--key", &secret, "--iss", "x"], 1, "refused: the token has no iss");
    inspect(&["--jwks", &key("jwks.json")], 1, "refused: the token's algorithm is not the one");
}

#[test]
fn a_token_is_no_argument_and_is_not_repeated() {
    let issued = ok(&["issue", "--sub", "anna", "--key", &key("secret.txt")], "");
    let issued = issued.trim();
    let printed = check(&["inspect", issued], "", 1, "", "a token is not an argument");
    assert!(!printed.contains(&issued[..20]), "{printed}");
    let printed = check(&["inspect"], &format!("\"{issued}\""), 1, "", "this is no JWT");
    assert!(!printed.contains(&issued[..20]), "{printed}");
}

#[test]
fn what_no_server_would_take_is_not_issued() {
    let secret = key("secret.txt");
    let issue = |args: &[&str], code, told: &str| {
        check(&[&["issue", "--key", &secret], args].concat(), "", code, "", told);
    };
    issue(&["--sub", "a", "--ttl", "32d"], 1, "--ttl 1s to 31d");
    issue(&["--sub", "a", "--ttl", "0s"], 1, "--ttl 1s to 31d");
    issue(&["--sub", "a b"], 2, "a subject is 1 to 255 visible ASCII characters");
    issue(&["--sub", "a", "--rights", "acme*=read"], 2, "put one of . _ ~ - before *");
    issue(&["--sub", "a", "--rights", "acme.*"], 2, "a pattern, = and rights are wanted");
    issue(&["--sub", "a", "--rights", "a=all"], 2, "a right is one of read, write");
    issue(&["--sub", "a", "--name", "a\u{202e}b"], 1, "the token's name is not at most 64 bytes");
    let sign = |name: &str, told: &str| {
        check(&["issue", "--sub", "a", "--key", &key(name)], "", 1, "", told);
    };
    sign("p256-public.pem", "this is a public key, which signs nothing");
    sign("p256-certificate.pem", "this is no key");
    sign("no-such-file", "could not be read");
}

#[test]
fn claims_cannot_drive_the_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let file: &Path = &folder.path().join("token");
    let text = "{\"sub\":\"a\u{9b}2J\u{202e}\"}";
    let encode = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    };
    let forged = format!("{}.{}.", encode("{\"alg\":\"none\"}"), encode(text));
    fs::write(file, forged).expect("it is written");
    let file = file.to_str().expect("UTF-8");
    let args = ["inspect", file, "--key", &key("secret.txt")];
    let printed = check(&args, "", 1, "refused: the token is not signed", "");
    assert!(!printed.contains('\u{9b}') && printed.contains("\\u{9b}"), "{printed}");
}
