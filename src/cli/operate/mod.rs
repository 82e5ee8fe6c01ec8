//! Operators' commands: asked of any node's admin port.

mod args;
mod client;
mod print;
mod progress;
mod verbs;

pub(crate) use args::Verb;
pub(crate) use verbs::run;
