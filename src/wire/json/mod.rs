//! JSON in text frames: compact, `t` first; a keystroke is decoded without a tree of values.

pub(crate) mod client;
pub(crate) mod component;
mod context;
pub(crate) mod encode;
pub(crate) mod server;
mod tag;
