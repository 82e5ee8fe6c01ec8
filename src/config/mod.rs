//! The configuration: read from file, environment and flags, in this order, and checked once.
//!
//! Each module owns its own `Config`; here they are joined. `options` says what may be set to
//! what, `source` reads what was set where, `check` turns it into a [`Config`] or into the list
//! of every mistake at once.

mod check;
mod error;
mod example;
mod kind;
mod nearest;
mod options;
mod root;
mod source;

pub use check::{Effective, Loaded, load};
pub use error::{Mistake, Mistakes, Origin};
pub use example::example;
pub use root::{Config, Engine, Remote};
pub use source::{Flags, Sources};
