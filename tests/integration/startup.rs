//! A node that cannot start says why in one sentence, exits non-zero and leaves the data alone.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::server::{QUIRE, terminate};

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node, killed when the test ends.
struct Serving {
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(QUIRE);
    command.args(["serve", "--data"]).arg(data).args(more);
    if !more.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    command
}

/// Starts a node and waits until it serves.
fn start(data: &Path) -> Serving {
    start_with(data, &[])
}

fn start_with(data: &Path, more: &[&str]) -> Serving {
    let mut child = serve(data, more).spawn().expect("the binary runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it can be read");
    assert!(line.starts_with("listening on http://"), "{line:?}");
    Serving { child, _stdout: stdout }
}

/// Runs a node that must not start, and returns what it says.
fn refused(data: &Path, more: &[&str]) -> String {
    let Output { status, stdout, stderr } = serve(data, more).output().expect("the binary runs");
    let said = String::from_utf8(stderr).expect("it is text");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(stdout.is_empty(), "it did not serve");
    said
}

fn check(said: &str, wanted: &str) {
    let errors: Vec<_> = said.lines().filter(|line| line.contains(wanted)).collect();
    assert_eq!(errors.len(), 1, "{wanted:?} once in: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// Returns every file of a folder with its bytes.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder).expect("it is there");
    let mut contents: Vec<_> = files
        .map(|entry| {
            let path = entry.expect("it can be read").path();
            (path.display().to_string(), fs::read(&path).expect("it can be read"))
        })
        .collect();
    contents.sort();
    contents
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let _first = start(data.path());
    check(&refused(data.path(), &[]), "is in use by another process");
}

#[test]
fn a_port_in_use_is_told_with_its_address() {
    let data = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let said = refused(data.path(), &["--listen", &address]);
    check(&said, &format!("cannot listen on {address}"));
    assert!(contents(data.path()).is_empty(), "nothing was created");
}

#[test]
fn another_number_of_shards_is_refused_and_the_data_untouched() {
    let data = tempfile::tempdir().expect("a folder");
    drop(start(data.path()));
    drop(start(data.path()));
    let before = contents(data.path());
    check(&refused(data.path(), &["--shards", "3"]), "start with --shards 16");
    assert_eq!(contents(data.path()).len(), before.len());
    drop(start(data.path()));
}

#[test]
fn shards_that_are_there_are_taken_where_no_number_is_said() {
    let data = tempfile::tempdir().expect("a folder");
    drop(start_with(data.path(), &["--shards", "3"]));
    drop(start(data.path()));
    check(&refused(data.path(), &["--shards", "16"]), "start with --shards 3");
}

#[test]
fn a_data_folder_of_a_newer_format_is_refused_and_untouched() {
    let data = tempfile::tempdir().expect("a folder");
    drop(start(data.path()));
    let file = data.path().join("checkpoints.redb");
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    let newer = redb::Database::open(&file).expect("nobody has it open");
    let txn = newer.begin_write().expect("it can be written");
    txn.open_table(meta).expect("it is there").insert("format", 99).expect("it can be written");
    txn.commit().expect("it can be written");
    newer.close().expect("it can be written");
    let before = contents(data.path());
    check(&refused(data.path(), &[]), "is of format 99");
    assert_eq!(contents(data.path()).len(), before.len());
    // What the newer program wrote is what it finds again.
    let again = redb::Database::open(&file).expect("nobody has it open");
    let txn = redb::ReadableDatabase::begin_read(&again).expect("it can be read");
    let format = txn.open_table(meta).expect("it is there").get("format").expect("it can be read");
    assert_eq!(format.expect("it is there").value(), 99);
}

#[test]
fn files_that_are_no_log_are_refused_and_untouched() {
    for name in ["log.redb", "checkpoints.redb"] {
        let data = tempfile::tempdir().expect("a folder");
        let file = data.path().join(name);
        fs::write(&file, "something else entirely").expect("it can be written");
        let said = refused(data.path(), &[]);
        check(&said, name);
        assert_eq!(fs::read(&file).expect("it is there"), b"something else entirely");
    }
}

#[test]
fn a_log_that_is_gone_is_not_begun_anew() {
    let data = tempfile::tempdir().expect("a folder");
    drop(start(data.path()));
    let (log, away) = (data.path().join("log.redb"), data.path().join("away"));
    fs::rename(&log, &away).expect("it is there");
    check(&refused(data.path(), &[]), "log.redb is missing beside checkpoints.redb");
    assert!(!log.exists(), "nothing was created");
    fs::rename(&away, &log).expect("it is there");
    drop(start(data.path()));
}

#[test]
fn a_data_folder_that_cannot_be_written_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let inside = data.path().join("locked");
    fs::create_dir(&inside).expect("it can be made");
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o555)).expect("it is ours");
    if fs::write(inside.join("probe"), "").is_ok() {
        // Who may write everywhere is kept out by a file in the way instead.
        fs::remove_file(inside.join("probe")).expect("it was just made");
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::write(inside.join("file"), "").expect("it can be written");
        check(&refused(&inside.join("file"), &[]), "cannot create the data folder");
        return;
    }
    check(&refused(&inside, &[]), "cannot be written");
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[cfg(feature = "kafka")]
#[test]
fn a_node_that_waits_for_its_log_stops_when_it_is_told_to() {
    let data = tempfile::tempdir().expect("a folder");
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let log = format!("kafka://{}/quire", silent.local_addr().expect("it is bound"));
    let mut serving =
        serve(data.path(), &["--log", &log, "--set", "kafka.open-timeout=1h"]).spawn();
    let serving = serving.as_mut().expect("the binary runs");
    let mut stderr = serving.stderr.take().expect("it is piped");
    let connection = silent.accept().expect("the node connects");
    terminate(serving);
    let (ended, end) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut said = String::new();
        let read = stderr.read_to_string(&mut said);
        // Whoever waited has given up.
        let _ = ended.send(read.map(|_| said));
    });
    let said = end.recv_timeout(PATIENCE);
    // Where it still runs; otherwise it keeps the code that it ended with.
    let _ = serving.kill();
    let status = serving.wait().expect("it was started here");
    let said = said.expect("it ends").expect("it can be read");
    assert_eq!(status.code(), Some(0), "{said}");
    check(&said, "told to stop before it served");
    reading.join().expect("it has read everything");
    drop(connection);
}

#[test]
fn a_second_signal_stops_at_once() {
    let data = tempfile::tempdir().expect("a folder");
    let mut serving = serve(data.path(), &["--set", "edge.shutdown-grace=10m"]);
    let mut child = serving.spawn().expect("the binary runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let _stdout = {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it can be read");
        let address = line.trim().strip_prefix("listening on http://").expect("it serves");
        // A request that never ends: the first signal waits for it, once it is being answered.
        let mut stream = TcpStream::connect(address).expect("it listens");
        let head = format!(
            "PUT /v1/docs/a HTTP/1.1\r\nhost: {address}\r\ncontent-length: 9\r\n\
             expect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it is taken");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("it is asked to go on");
        assert_eq!(&answer, b"HTTP/1.1 100");
        terminate(&child);
        let told = stderr.any(|line| line.expect("it can be read").contains("stopping: "));
        assert!(told, "it says that it stops");
        assert!(child.try_wait().expect("it was started here").is_none(), "it waits");
        terminate(&child);
        stream
    };
    let status = child.wait().expect("it was started here");
    assert_eq!(status.code(), Some(1));
    assert!(stderr.any(|line| line.expect("it can be read").contains("stopped at once")));
    drop(start(data.path()));
}

#[test]
fn a_command_that_reads_makes_nothing_where_there_is_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("UTF-8");
    // An auditor that could decide nothing has a code of its own.
    let commands = [(&["log", "stats", "--data", data][..], 1), (&["audit", "--data", data], 2)];
    for (args, code) in commands {
        let output = Command::new(QUIRE).args(args).stdin(Stdio::null()).output();
        let Output { status, stderr, .. } = output.expect("the binary runs");
        let said = String::from_utf8(stderr).expect("it is text");
        assert_eq!(status.code(), Some(code), "{said}");
        check(&said, "there is no log at");
        assert_eq!(contents(folder.path()), []);
    }
}

#[test]
fn a_node_that_is_open_says_so_in_its_log() {
    let data = tempfile::tempdir().expect("a folder");
    let mut serving = start(data.path());
    terminate(&serving.child);
    let mut said = String::new();
    let mut log = serving.child.stderr.take().expect("it is piped");
    log.read_to_string(&mut said).expect("it is text");
    assert!(said.contains("open: whoever reaches this node may do everything"), "{said}");
}

#[test]
fn nobody_else_reads_the_data_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("new").join("data");
    let serving = start(&data);
    terminate(&serving.child);
    let mode = data.metadata().expect("it is made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
