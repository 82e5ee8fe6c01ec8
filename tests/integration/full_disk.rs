//! A disk that fills up while people write: the server acknowledges nothing more, says why and
//! ends; with room again it has everything that it had acknowledged.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use quire::client::{Document, Options};
use quire::text::Operation;
use tokio::time::timeout;

use crate::server::{Server, free_port, quire};

const SETTINGS: &[&str] = &["telemetry.log-level=warn"];

/// A small file system of its own, taken away when the test ends.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path, size: &str) -> Self {
        let options = format!("size={size}");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], folder);
        Self(folder)
    }

    fn grow(&self, size: &str) {
        mount(&["-o", &format!("remount,size={size}")], self.0);
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // What is left goes with the machine.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn mount(args: &[&str], folder: &Path) {
    let mounted = Command::new("mount").args(args).arg(folder).status();
    let mounted = mounted.is_ok_and(|status| status.success());
    assert!(mounted, "this test mounts a small file system: run it as root");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_the_server_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(folder.path(), "6m");
    let data = folder.path().join("data");
    let mut server = Server::start(&data, free_port(), SETTINGS);
    let document = Document::open("full".parse().expect("an id"), Options::new(&server.url));
    let text = "0123456789abcdef".repeat(4_096);
    let mut durable = 0;
    // Twice what the disk holds.
    for round in 0..200 {
        let op = Operation::builder().insert(&text).build();
        document.edit(&op).expect("it fits");
        if timeout(Duration::from_secs(5), document.wait_durable()).await.is_err() {
            break;
        }
        assert!(round < 190, "the disk is full by now");
        durable += 1;
    }
    assert!(durable > 2, "there was room at first");
    let status = server.child.wait().expect("it was started here").code();
    assert_eq!(status, Some(1), "a server that can promise nothing more ends");
    drop(document);
    disk.grow("64m");
    let server = Server::start(&data, free_port(), SETTINGS);
    let kept = quire(&["doc", "cat", "full", "--url", &server.url]);
    let rounds = kept.len() / text.len();
    // The last one may have been written although it was not acknowledged.
    assert!(rounds == durable || rounds == durable + 1, "{rounds} of {durable}");
    assert_eq!(kept, text.repeat(rounds));
}
