//! The commands, and what becomes of their errors.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::exit::Exit;
use crate::cli::{
    audit, checkpoints, config, credentials, doc, load, log, migrate, operate, replay, serve, token,
};
use crate::config::Mistakes;

/// A server for text documents that many people edit at once.
#[derive(Debug, Parser)]
#[command(name = "quire", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 success, 1 failure, 2 usage or configuration, 99 SLO missed")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node: editor, WebSocket and HTTP on one port
    Serve(serve::Args),
    /// Read and change documents of a running node
    Doc(doc::Args),
    /// Replay recorded editing, or type, against running servers
    Load(load::Args),
    /// Read a log: print it, count it, name what does not count
    Log(log::Args),
    /// Decide whether a log, its checkpoints and what clients saw agree
    Audit(audit::Args),
    /// Make what checkpoints need in their store
    Checkpoints(checkpoints::Args),
    /// Move everything to another log and checkpoint store
    Migrate(migrate::Args),
    /// Record the traffic that a log holds
    Record(replay::RecordArgs),
    /// Send recorded traffic to servers again
    Replay(replay::ReplayArgs),
    /// Issue a token, or see what one says
    Token(token::Args),
    /// Check, show or print a configuration
    Config(config::Args),
    /// Print the description of the HTTP API (OpenAPI)
    Openapi,
    #[command(flatten)]
    Operate(operate::Verb),
}

/// Runs the command that the arguments name, the program's name first, and returns its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(message) => {
            // Nobody is left to be told when the terminal is gone.
            let _ = message.print();
            return if message.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Doc(args) => doc::run(args),
        Command::Load(args) => load::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Checkpoints(args) => checkpoints::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Record(args) => replay::record(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Token(args) => token::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Openapi => openapi(),
        Command::Operate(verb) => operate::run(verb),
    };
    done.unwrap_or_else(|error| failed(&error)).into()
}

fn openapi() -> anyhow::Result<Exit> {
    io::stdout().write_all(crate::edge::description().as_bytes())?;
    Ok(Exit::Success)
}

/// Tells on stderr what went wrong and what to do, and returns the exit code.
fn failed(error: &anyhow::Error) -> Exit {
    if error.is::<Mistakes>() {
        eprintln!("quire: {error}\n`quire config example` prints every option with its range");
        return Exit::Usage;
    }
    let io_kind = error.chain().find_map(|e| e.downcast_ref::<io::Error>()).map(io::Error::kind);
    if io_kind == Some(io::ErrorKind::BrokenPipe) {
        // The reader has seen enough: `quire doc history x | head`.
        return Exit::Success;
    }
    eprintln!("quire: {error:#}");
    if credentials::wants_token(error) {
        eprintln!("{}", credentials::HINT);
    }
    if let Some(hint) = io_kind.and_then(hint) {
        eprintln!("{hint}");
    }
    Exit::Failure
}

/// Says what to do about an error of the machine.
fn hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::AddrInUse => {
            Some("stop the process that has this port, or choose another one with --listen")
        }
        io::ErrorKind::AddrNotAvailable => {
            Some("choose an address of this machine with --listen, or 0.0.0.0 for all of them")
        }
        io::ErrorKind::PermissionDenied => {
            Some("give this user the right to it, or choose another place")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("mount it for writing, or choose another folder with --data")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space there; nothing that was acknowledged is lost")
        }
        _ => None,
    }
}
