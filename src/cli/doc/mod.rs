//! `quire doc`: reads and changes documents of a running node, over its HTTP interface.

mod args;
mod client;
mod model;
mod print;
mod verbs;

pub(crate) use args::Args;
pub(crate) use verbs::run;
