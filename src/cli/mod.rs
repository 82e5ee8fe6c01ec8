//! The command line: one file per command, exit codes for scripts, errors that say what to do next.

mod app;
mod audit;
mod checkpoints;
mod config;
mod credentials;
mod doc;
mod exit;
mod http;
mod load;
mod log;
mod migrate;
mod operate;
mod replay;
mod serve;
mod settings;
mod table;
mod token;

pub use app::run;
pub use exit::Exit;
