//! The one integration binary: a module per subject.

mod cli_config;
mod cli_doc;
mod client;
mod config;
mod forks;
mod full_disk;
mod history;
mod inner;
mod keeping;
mod kill;
mod load;
mod moves;
mod nodes;
mod owners;
mod protocol;
mod proxy;
mod quarantine;
mod raw;
mod relay;
mod server;
mod slow;
mod startup;
mod storm;
mod supervision;
mod tidy;
mod verbs;
