//! Kafka over TLS with a log-in. The tests need the feature `kafka-tls`; without it, it is told
//! that the program cannot do that.

use std::process::{Command, Stdio};

use crate::server::QUIRE;

/// Reads the log as it can be read with these settings of Kafka's client, within a time; tells how
/// that ended and what was said.
fn read(log: &str, properties: &str, within: &str) -> (Option<i32>, String) {
    let within = format!("kafka.open-timeout={within}");
    let properties = format!("kafka.properties={properties}");
    let mut command = Command::new(QUIRE);
    command.args(["log", "stats", "--log", log, "--set", &within, "--set"]);
    let output = command.arg(properties).stdin(Stdio::null()).output().expect("the binary runs");
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), String::from_utf8(said).expect("it is text"))
}

#[cfg(not(feature = "kafka-tls"))]
#[test]
fn a_program_that_was_built_without_tls_says_so() {
    let (code, said) = read("kafka://127.0.0.1:1/secured", "security.protocol=SSL", "1s");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("OpenSSL not available at build time"), "{said}");
}

#[cfg(feature = "kafka-tls")]
mod with_tls {
    use std::path::Path;

    use super::*;
    use crate::server::{Server, free_port, quire};
    use crate::service::Service;

    /// Returns settings that are right but for the password and whom to trust.
    fn properties(ca: &Path, password: &str) -> String {
        format!(
            "security.protocol=SASL_SSL;ssl.ca.location={};sasl.mechanisms=SCRAM-SHA-512;\
             sasl.username=quire;sasl.password={password}",
            ca.display()
        )
    }

    /// Makes a certificate that nobody has signed anything with.
    fn stranger(folder: &Path) {
        let make = r#". "$0/tests/services/lib.sh" && certificate "$1""#;
        let mut bash = Command::new("bash");
        bash.args(["-c", make, env!("CARGO_MANIFEST_DIR")]).arg(folder);
        assert!(bash.status().is_ok_and(|status| status.success()), "the certificate is made");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_serves_over_tls_and_who_may_not_is_told_why() {
        let (kafka, broker) = Service::start_with("kafka", &[("KAFKA_TLS", "on")]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let log = format!("kafka://{broker}/secured");
        let ca = kafka.folder().join("ca.pem");
        let right = properties(&ca, "testing");
        let own = [
            format!("log={log}"),
            format!("kafka.properties={right}"),
            "kafka.create-topics=true".to_owned(),
            "kafka.allow-single-replica=true".to_owned(),
            "shards=2".to_owned(),
            "telemetry.log-level=warn".to_owned(),
        ];
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let server = Server::start(folder.path(), free_port(), &own);
        let file = folder.path().join("in.txt");
        std::fs::write(&file, "over TLS").expect("it can be written");
        let file = file.display().to_string();
        quire(&["doc", "import", "a", &file, "--author", "ann", "--url", &server.url]);
        // What was acknowledged is in the log, and read back over TLS, too.
        server.kill();
        let server = Server::start(folder.path(), free_port(), &own);
        assert_eq!(quire(&["doc", "cat", "a", "--url", &server.url]), "over TLS");
        server.stop();
        // A broker that is busy says late what is the matter: it is asked until it does.
        let (code, said) = read(&log, &right, "1m");
        assert_eq!(code, Some(0), "{said}");

        let refused = format!("Kafka at {broker} cannot be used (");
        let check = |(properties, within): (&str, &str), begin: &str, why: &str| {
            let (code, said) = read(&log, properties, within);
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains(begin) && said.contains(why), "{said}");
        };
        let wrong = properties(&ca, "wrong");
        check((&wrong, "1m"), &refused, "invalid credentials with SASL mechanism SCRAM-SHA-512");
        stranger(folder.path());
        let distrusting = properties(&folder.path().join("ca.pem"), "testing");
        check((&distrusting, "1m"), &refused, "broker certificate could not be verified");
        check(("", "1s"), &format!("no Kafka broker answers at {broker}"), "");
    }
}
