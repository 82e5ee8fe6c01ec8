//! Costs of the log: a keystroke's frame as bytes, and a durable append against its floor.
fn main() {}
