//! The Rust client: a replica that resumes by itself.

pub mod replica;
