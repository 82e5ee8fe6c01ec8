//! A service of a test's own, run by its script.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quire::task::Tasks;

/// A service that is killed when the test ends.
pub(crate) struct Service {
    script: PathBuf,
    variables: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

impl Service {
    /// Starts a service and returns its address.
    pub(crate) async fn start(name: &str) -> (Self, String) {
        Self::start_with(name, &[]).await
    }

    /// Starts a service under variables that its script knows.
    pub(crate) async fn start_with(name: &str, variables: &[(&str, &str)]) -> (Self, String) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables = variables.iter().map(owned).collect();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name);
        let service = Self { script, variables, folder: tempfile::tempdir().expect("a folder") };
        let address = service.run("start").await;
        (service, address)
    }

    /// Returns where it keeps its data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Has the script do something, to one part of it where a number follows, and returns what it
    /// prints.
    pub(crate) async fn run(&self, verb: &str) -> String {
        let mut command = self.command(verb);
        let output = Tasks::offload(move || command.output().expect("the script runs")).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {verb}: {said}", self.script.display());
        String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(self.folder.path()).args(verb.split(' ')).stdin(Stdio::null());
        command.envs(self.variables.iter().cloned());
        command
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // What is left goes with the machine.
        let _ = self.command("kill").status();
    }
}

/// Returns a figure that the server at `url` counts.
pub(crate) async fn metric(url: &str, name: &str) -> f64 {
    let page = reqwest::get(format!("{url}/metrics")).await.expect("it answers");
    let page = page.text().await.expect("it is text");
    let row = page.lines().find_map(|row| row.strip_prefix(name)?.strip_prefix(' '));
    // A row with labels is there once it counts something.
    row.map_or(0.0, |row| row.parse().expect("it is a number"))
}
