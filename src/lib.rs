//! Quire: a server for text documents that many people edit at once.
//!
//! A client's batch of edits enters through [`edge`], is routed by [`router`] to the document's one
//! actor ([`doc`]), which puts it in order, rebases it ([`text`]) and hands it to its [`shard`]'s
//! writer. The writer appends it to the [`log`]; what is proven accepted there is applied to the
//! document's history ([`crdt`]), acknowledged and broadcast. A [`checkpoint`] bounds what has to
//! be read again. [`wire`] is the protocol, [`client`] speaks it, [`load`] measures, and [`node`]
//! builds and connects it all.

pub mod types;

pub mod access;
#[cfg(any(test, feature = "testing"))]
pub mod broken;
pub mod clock;
pub mod folder;
pub mod shares;
pub mod task;
pub mod text;

pub mod auth;
pub mod checkpoint;
pub mod cluster;
pub mod crdt;
pub mod log;
pub mod wire;

pub mod doc;

pub mod shard;

pub mod relay;

pub mod router;

pub mod listener;

pub mod admin;
pub mod client;
pub mod edge;

pub mod audit;
pub mod load;

pub mod cli;
pub mod config;
pub mod node;
pub mod telemetry;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// The examples of the README are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
