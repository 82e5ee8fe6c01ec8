//! The configuration as a whole: every mistake at once, the order of its sources, the example file.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use quire::config::{Config, Engine, Flags, Loaded, Mistakes, Sources, example, load};

#[derive(Default)]
struct Given {
    file: &'static str,
    environment: &'static [(&'static str, &'static str)],
    set: &'static [&'static str],
    own: &'static [(&'static str, &'static str)],
}

impl Given {
    fn load(&self) -> Result<Loaded, Mistakes> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("q.toml");
        fs::write(&path, self.file).expect("written");
        let variable = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
        load(&Sources {
            file: Some(path),
            environment: self.environment.iter().map(variable).collect(),
            flags: Flags {
                set: self.set.iter().map(ToString::to_string).collect(),
                own: self.own.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
            },
        })
    }

    /// Loads what has mistakes and compares them, each by what it begins with.
    fn refused(&self, expected: &[&str]) {
        let mistakes = self.load().expect_err("there are mistakes").0;
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let cut = |line: &String| match line.rsplit_once("q.toml") {
            Some((_, rest)) => format!("q.toml{rest}"),
            None => line.clone(),
        };
        let shown: Vec<String> = shown.iter().map(cut).collect();
        assert_eq!(shown.len(), expected.len(), "{shown:#?}");
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.starts_with(expected), "{shown}\nis not\n{expected}");
        }
    }
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place_and_what_is_allowed() {
    Given {
        file: "\
shards = 65537
listne = \"127.0.0.1:1\"
document = 5
[edge]
hello-timeout = \"1h\"
op-bytes-max = 1.5
hello-bytes-max = \"1023B\"
head-bytes-max = \"2MiB\"
[shard]
trim-margin = \"10\"
tail-age-max = [1]
",
        environment: &[
            ("QUIRE_DOCUMENT__IDLE_AFTER", "10"),
            ("QUIRE_DOCUMENT__IDLE_AFTR", "10s"),
            ("QUIRE_LOG_LEVEL", "debug"),
            ("QUIRE_EDGE__NOTHING_LIKE_IT", "1"),
        ],
        set: &["nothing", "edge.frame-bytes-max=1B", "other.key=1"],
        own: &[("log", "kafka://host"), ("listen", "localhost:80")],
    }
    .refused(&[
        "q.toml:1: shards: 65537 is out of range: write a number of shards from 0 to 65536",
        "q.toml:2: listne: unknown key: did you mean listen?",
        "q.toml:3: document: it is a section: write [document]",
        "q.toml:5: edge.hello-timeout: \"1h\" is out of range: write a duration from 100ms to 1m",
        "q.toml:6: edge.op-bytes-max: a fraction does not fit: write a size from 1KiB to 16MiB",
        "q.toml:7: edge.hello-bytes-max: \"1023B\" is out of range: write a size from 1KiB to \
         1MiB",
        "q.toml:8: edge.head-bytes-max: \"2MiB\" is out of range: write a size from 8KiB to 1MiB",
        "q.toml:10: shard.trim-margin: \"10\" is text, not a number: write a number of records",
        "q.toml:11: shard.tail-age-max: a list does not fit: write a duration from 1s to 30d",
        "environment QUIRE_DOCUMENT__IDLE_AFTER: document.idle-after: \"10\" has no unit: write a",
        "environment QUIRE_DOCUMENT__IDLE_AFTR: document.idle-aftr: unknown key: did you mean \
         QUIRE_DOCUMENT__IDLE_AFTER?",
        "environment QUIRE_EDGE__NOTHING_LIKE_IT: edge.nothing-like-it: unknown key: [edge] has \
         hello-timeout, ",
        "environment QUIRE_LOG_LEVEL: log-level: unknown key: did you mean \
         QUIRE_TELEMETRY__LOG_LEVEL?",
        "flag --set: \"nothing\" sets nothing: write section.key=value",
        "flag --set: edge.frame-bytes-max: \"1B\" is out of range: write a size from 1KiB to 64MiB",
        "flag --set: other.key: unknown key: there are node, data, listen, peer-listen, \
         admin-listen, log, checkpoints, shards, adopt-log and [document], [shard], [edge], \
         [auth], [purge], [cluster], [admin], [relay], [kafka], [cql], [telemetry]",
        "flag --log: log: \"kafka://host\" is no address: write \"embedded\" or \"memory\" or \
         \"kafka://HOST:PORT,.../NAME\"",
        "flag --listen: listen: \"localhost:80\" is no address: write an IP address and a port",
    ]);
}

#[test]
fn bad_files_are_refused_with_the_line() {
    for (file, expected) in [
        ("a = 1\n\nnode = \"x", &["q.toml:1: a: unknown key", "q.toml:3: not TOML: "][..]),
        ("shards = 1\nshards = 2", &["q.toml:2: not TOML: duplicate key"]),
        (
            "[document]\n[document.idle-after]\nx = 1",
            &["q.toml:2: document.idle-after: a table does not fit: write a duration from 1s"],
        ),
        (
            "[telemetry]\nlog-level = \"inof\"\nlog-format = \"xml\"",
            &[
                "q.toml:2: telemetry.log-level: \"inof\" is no log filter: write \"off\"",
                "q.toml:3: telemetry.log-format: \"xml\" is not known: write \"text\" or \"json\"",
            ],
        ),
        (
            "[edge]\nop-bytes-max = \"2MiB\"\n[document]\nframe-bytes-max = \"3MiB\"",
            &["q.toml:2: edge.op-bytes-max = \"2MiB\" exceeds edge.frame-bytes-max = \"1MiB\""],
        ),
        (
            "listen = \"0.0.0.0:80\"",
            &["q.toml:1: listen: nobody could be let in at 0.0.0.0:80: set auth.keys or \
                 auth.jwks-url for those with tokens, or --open and --open-public for everybody"],
        ),
        (
            "listen = \"0.0.0.0:80\"\n[auth]\nopen = true",
            &["q.toml:3: auth.open: whoever reaches 0.0.0.0:80 could read and change everything"],
        ),
        (
            "[auth]\nopen = true\nkeys = \"key.pem\"",
            &["q.toml:2: auth.open: a node that is open takes no tokens: leave auth.open or"],
        ),
        (
            "shards = 2\nadmin-listen = \"0.0.0.0:8081\"",
            &["q.toml:2: admin-listen: whoever reaches 0.0.0.0:8081 could move shards and revoke \
                 tokens, for there is no log-in: choose 127.0.0.1 or a private address, or set \
                 admin.allow-public"],
        ),
        (
            "[relay]\ntls-ca-file = \"ca.pem\"\ntls-certificate-file = \"node.pem\"",
            &["q.toml:3: relay.tls-certificate-file: TLS between nodes needs relay.tls-key-file, \
                 too: set all three, or none"],
        ),
        (
            "[document]\nqueue-bytes = \"512KiB\"",
            &["q.toml:2: document.frame-bytes-max = \"1MiB\" exceeds document.queue-bytes = \
             \"512KiB\", but a frame is filled from the queue: lower the first"],
        ),
        (
            "log = \"kafka://h/p\"\n[document]\nqueue-bytes-total = \"1GiB\"",
            &["q.toml:3: document.queue-bytes-total = \"1GiB\" exceeds kafka.queue-bytes = \
             \"320MiB\", but what waits in documents is handed to Kafka's client: lower the first"],
        ),
        (
            "checkpoints = \"memory\"",
            &["q.toml:1: checkpoints = \"memory\" would be lost with the process"],
        ),
        (
            "node = \"\"\nshards = 99999999999999999999",
            &[
                "q.toml:1: node: \"\" is no name: write a name, 1 to 128",
                "q.toml:2: shards: so large a number does not fit",
            ],
        ),
    ] {
        Given { file, ..Given::default() }.refused(expected);
    }
    let sources = Sources { file: Some(PathBuf::from("no/such/q.toml")), ..Sources::default() };
    let message = load(&sources).expect_err("it is not there").to_string();
    assert!(message.contains("no/such/q.toml: it cannot be read"), "{message}");
}

#[test]
fn a_port_on_the_internet_is_set_up_as_a_whole() {
    let file = "[edge]\ntls-key-file = \"k.pem\"\nproxy-protocol = true\n\
         trusted-proxies = \"10.0.0.1/8\"";
    Given { file, ..Given::default() }.refused(&[
        "q.toml:2: edge.tls-key-file: TLS needs edge.tls-certificate-file, too: set both",
        "q.toml:3: edge.proxy-protocol: it needs edge.trusted-proxies, too: whose word",
        "q.toml:4: edge.trusted-proxies: \"10.0.0.1/8\" is no list of networks: write IP",
    ]);
    let file = "[edge]\nproxy-header = \"x-forwarded\"\ntrusted-proxies = \"10.0.0.0/8, ::1\"";
    let edge = Given { file, ..Given::default() }.load().expect("it is whole").config.edge;
    assert_eq!(edge.trusted_proxies.to_string(), "10.0.0.0/8, ::1/128");
    assert_eq!(edge.proxy_header, quire::edge::ProxyHeader::XForwarded);
}

#[test]
fn everybody_is_let_in_on_loopback_or_where_it_is_said_twice() {
    for file in [
        "",
        "listen = \"[::1]:80\"\n[auth]\nopen = true",
        "listen = \"0.0.0.0:80\"\n[auth]\nopen = true\nopen-public = true",
        "listen = \"0.0.0.0:80\"\n[auth]\nkeys = \"key.pem\"",
    ] {
        let loaded = Given { file, ..Given::default() }.load();
        assert!(loaded.is_ok(), "{file}: {}", loaded.expect_err("it is not"));
    }
}

#[test]
fn operators_are_served_where_strangers_do_not_reach_them() {
    for file in [
        "peer-listen = \"0.0.0.0:1\"\nadmin-listen = \"10.0.0.1:1\"",
        "admin-listen = \"[::1]:1\"",
        "peer-listen = \"0.0.0.0:1\"\nadmin-listen = \"0.0.0.0:1\"\n[admin]\nallow-public = true",
    ] {
        let loaded = Given { file, ..Given::default() }.load().expect("it is right");
        assert!(loaded.config.admin_listen.is_some(), "{file}");
    }
}

#[test]
fn flags_win_over_the_environment_and_it_wins_over_the_file() {
    let file = "node = \"file\"\nshards = 1\n[document]\ntick = \"1ms\"\ntick-subscribers = 1";
    let environment = &[("QUIRE_SHARDS", "2"), ("QUIRE_DOCUMENT__TICK", "2ms"), ("PATH", "/bin")];
    let set = &["document.tick=4ms", "document.tick=3ms", "log=memory"];
    let given = Given { file, environment, set, own: &[("log", "embedded")] };
    let Loaded { config, effective } = given.load().expect("it is right");
    assert_eq!((config.node.0.as_str(), config.shards), ("file", 2));
    assert_eq!(
        (config.document.tick, config.document.tick_subscribers),
        (Duration::from_millis(3), 1)
    );
    assert_eq!(config.log, Engine::Embedded);
    let origin = |key| {
        let value = effective.iter().find(|value| value.key == key).expect("known");
        value.origin.as_ref().map(ToString::to_string)
    };
    assert!(origin("node").is_some_and(|origin| origin.ends_with("q.toml:1")));
    assert_eq!(origin("shards").as_deref(), Some("environment QUIRE_SHARDS"));
    assert_eq!(origin("document.tick").as_deref(), Some("flag --set"));
    assert_eq!(origin("log").as_deref(), Some("flag --log"));
    assert_eq!(origin("data"), None);
}

#[test]
fn a_replaced_value_is_judged_all_the_same() {
    let given = Given { file: "shards = -1", own: &[("shards", "4")], ..Given::default() };
    given.refused(&["q.toml:1: shards: -1 is out of range"]);
}

#[test]
fn variables_of_others_are_left_alone() {
    let environment = &[
        ("QUIRE_PORT", "tcp://10.0.0.1:80"),
        ("QUIRE_SERVICE_HOST", "10.0.0.1"),
        ("QUIRE_CONFIG", "q.toml"),
        ("QUIRE_URL", "http://127.0.0.1:8080"),
        ("QUIRE_BIN", "quire"),
        ("QUIRED__X", "1"),
    ];
    let loaded = Given { environment, ..Given::default() }.load().expect("it is right");
    assert_eq!(loaded.config, Config::default());
}

#[test]
fn values_of_every_kind_arrive() {
    let file = "\
listen = \"[::1]:0\"
log = \"memory\"
checkpoints = \"memory\"
[document]
window-bytes = 65536
session-expiry = \"1d 12h\"
doc-chars-max = 7
[edge]
body-bytes-max = \"1.5MiB\"
[telemetry]
log-level = \"warn,quire::log=debug\"
";
    let config = Given { file, ..Given::default() }.load().expect("it is right").config;
    assert_eq!(config.listen, "[::1]:0".parse::<SocketAddr>().expect("an address"));
    assert_eq!((config.log, config.checkpoints), (Engine::Memory, Engine::Memory));
    assert_eq!(config.document.window_bytes, ByteSize::kib(64));
    assert_eq!(config.document.session_expiry, Duration::from_hours(36));
    assert_eq!(config.document.doc_chars_max, 7);
    assert_eq!(config.edge.body_bytes_max, ByteSize::kib(1536));
    assert_eq!(config.telemetry.log_level, "warn,quire::log=debug");
}

#[test]
fn the_example_file_is_current_and_sets_every_option_to_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quire.toml");
    let file = fs::read_to_string(path).expect("config/quire.toml is there");
    assert!(file == example(), "write it anew: quire config example > config/quire.toml");
    let sources = Sources { file: Some(PathBuf::from(path)), ..Sources::default() };
    let loaded = load(&sources).expect("the example is right");
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.effective.iter().all(|value| value.origin.is_some()), "an option is missing");
    // What is no option is refused by the table, and what is no field by the modules' `Config`s.
    let fields: Config = toml::from_str(&file).expect("every option is a field");
    assert_eq!(fields, Config::default());
    assert_eq!(load(&Sources::default()).expect("nothing is set").config, Config::default());
}

#[test]
fn every_field_of_the_configs_is_an_option() {
    let shown = format!("{:#?}", Config::default());
    let is_field = |line: &&str| {
        let name = line.trim_start().split_once(": ").map(|(name, _)| name);
        name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let fields = shown.lines().filter(is_field).count();
    let sections = 11;
    let loaded = load(&Sources::default()).expect("nothing is set");
    assert_eq!(fields - sections, loaded.effective.len(), "{shown}");
}
