//! The real binary: its exit codes, and where it prints what.

use std::fs;
use std::process::{Command, Output, Stdio};

/// Runs the binary without the variables of this process that it would read.
fn quire(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("QUIRE_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).output().expect("the binary runs")
}

fn check(args: &[&str], code: i32, on_stdout: &str, on_stderr: &str) {
    let output = quire(args);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stdout}{stderr}");
    assert!(stdout.contains(on_stdout), "{args:?}: {stdout}");
    assert!(stderr.contains(on_stderr), "{args:?}: {stderr}");
    assert!(stderr.is_empty() == on_stderr.is_empty(), "{args:?}: {stderr}");
}

#[test]
fn exit_codes_tell_success_failure_and_usage_apart() {
    check(&["config", "check"], 0, "the configuration is right: 0 options set", "");
    check(&["config", "show", "--set", "document.tick=20ms"], 0, "tick = \"20ms\"", "");
    check(&["--version"], 0, env!("CARGO_PKG_VERSION"), "");
    check(&["--help"], 0, "Exit codes: 0 success", "");
    check(&[], 2, "", "Usage: quire");
    check(&["sing"], 2, "", "unrecognized subcommand 'sing'");
    check(&["serve", "--listne", "x"], 2, "", "--listen");
    check(
        &["serve", "--shards", "65537"],
        2,
        "",
        "flag --shards: shards: \"65537\" is out of range",
    );
    check(&["config", "check", "--config", "no/such/file"], 2, "", "it cannot be read");
    check(&["doc", "cat", "a/b"], 2, "", "a document id is 1 to 128 of the characters");
    check(&["doc", "cat", "x", "--url", "ftp://h"], 1, "", "takes an http:// or https:// address");
}

#[test]
fn everybody_is_let_in_from_elsewhere_by_two_flags_only() {
    let elsewhere = ["config", "check", "--listen", "0.0.0.0:80"];
    let with = |flags: &[&'static str]| [&elsewhere, flags].concat();
    for (flags, says) in [
        (&[][..], "nobody could be let in"),
        (&["--open"], "could read and change everything"),
        (&["--open-public"], "nobody could be let in"),
    ] {
        check(&with(flags), 2, "", says);
    }
    check(&with(&["--open", "--open-public"]), 0, "the configuration is right", "");
}

#[test]
fn every_mistake_is_on_stderr_at_once() {
    let args = ["serve", "--log", "kafka://h", "--set", "document.tik=1ms", "--set", "shards=x"];
    for expected in [
        "3 mistakes in the configuration",
        "flag --log: log: \"kafka://h\" is no address",
        "flag --set: document.tik: unknown key: did you mean document.tick?",
        "flag --set: shards: \"x\" is no number",
        "`quire config example` prints every option",
    ] {
        check(&args, 2, "", expected);
    }
}

#[test]
fn what_show_prints_is_a_file_that_can_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shown.toml");
    let shown = quire(&["config", "show", "--node", "n2", "--set", "edge.op-bytes-max=128KiB"]);
    fs::write(&path, &shown.stdout).expect("written");
    let path = path.to_str().expect("UTF-8");
    let again = quire(&["config", "show", "--config", path, "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(json["node"]["value"], "n2");
    assert_eq!(json["edge.op-bytes-max"]["value"], "128KiB");
    assert!(json["document.tick"]["origin"].as_str().is_some_and(|at| at.starts_with(path)));
}
