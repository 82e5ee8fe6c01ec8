//! The real binary as a child process: started on a port of its own, killed or stopped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// The binary under test.
pub(crate) const QUIRE: &str = env!("CARGO_BIN_EXE_quire");

/// A server that is running; it is killed when the test ends.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Server {
    /// Starts a server on `port` and waits until it serves.
    pub(crate) fn start(data: &Path, port: u16, set: &[&str]) -> Self {
        Self::start_under(&[], data, port, set)
    }

    /// Starts a server under variables of the environment, too.
    pub(crate) fn start_under(
        variables: &[(&str, &str)],
        data: &Path,
        port: u16,
        set: &[&str],
    ) -> Self {
        Self::start_with((variables, Stdio::inherit()), data, port, set)
    }

    /// Starts a server under variables of the environment, which logs where it is told.
    pub(crate) fn start_with(
        (variables, log): (&[(&str, &str)], Stdio),
        data: &Path,
        port: u16,
        set: &[&str],
    ) -> Self {
        let mut command = Command::new(QUIRE);
        command.envs(variables.iter().copied());
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(data);
        for setting in set {
            command.args(["--set", setting]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the binary runs");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout.read_line(&mut line).expect("it can be read");
        let url = line.trim().strip_prefix("listening on ").expect("it serves").to_owned();
        Self { child, url }
    }

    /// Returns the address of its port.
    pub(crate) fn address(&self) -> SocketAddr {
        let (_, address) = self.url.split_once("://").expect("a URL");
        address.parse().expect("an address")
    }

    /// Returns what it holds in memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number.expect("it is told").parse().expect("a number")
    }

    /// Ends the server as a power cut would end the process.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is running");
        self.child.wait().expect("it was started here");
    }

    /// Tells the server to stop, and waits for it.
    pub(crate) fn stop(mut self) {
        terminate(&self.child);
        let status = self.child.wait().expect("it was started here");
        assert_eq!(status.code(), Some(0), "a server that is told to stop exits 0");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            eprintln!("the server had ended by itself: {status}");
        }
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds a port that was free just now, for a server that is killed and started again on it. It is
/// below those that the system gives to outgoing connections: one of them would take it meanwhile.
/// Each call gets another one.
pub(crate) fn free_port() -> u16 {
    static FIRST: LazyLock<u16> = LazyLock::new(|| rand::random_range(0..10_000));
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let next = u32::from(*FIRST) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(next % 10_000).expect("below 10,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs a command of the binary and returns what it prints.
pub(crate) fn quire(args: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(QUIRE).args(args).stdin(Stdio::null()).output().expect("the binary runs");
    assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("it prints text")
}

/// Tells a process to stop.
pub(crate) fn terminate(child: &Child) {
    let pid = child.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
    assert!(told.success());
}
