//! Operations on text: pure, counted in Unicode scalar values.
//!
//! An [`Operation`] rewrites one text into the next. [`transform`] rebases it over another one made
//! on the same text, [`compose`] joins two in a row, [`apply`] runs it, [`diff`] finds one, and
//! [`map_position`] carries a place through it; a [`Rope`] takes many in a row. [`Run`] and
//! [`Stick`] are the rule that keeps one writer's run of text together where several type at one
//! place.
//!
//! This module knows no history, no storage and no encoding.

mod apply;
mod chars;
mod compose;
mod cursor;
mod diff;
mod error;
mod myers;
mod op;
mod position;
mod rope;
mod run;
mod split;
mod transform;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod vectors;

pub use apply::apply;
pub use compose::{compose, compose_all};
pub use diff::diff;
pub use error::{Invalid, OutOfBounds};
pub use op::{Builder, Component, Operation};
pub use position::map_position;
pub use rope::Rope;
pub use run::{Run, Stick};
pub use split::split;
pub use transform::{Side, collides, transform};
