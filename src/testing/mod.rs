//! What tests of the whole need and the program does not: seeded faults and samples.
//!
//! Compiled for tests and under the feature `testing` only.

mod around;
mod faulty_log;
mod faulty_store;
mod hex;
mod ports;
mod records;
mod way;

pub use around::Around;
pub use faulty_log::{Faults, FaultyLog};
pub use faulty_store::{FaultyStore, StoreFaults};
pub use hex::hex;
pub use ports::ports;
pub use records::{every_kind, random_operation, random_record};
pub use way::Way;
