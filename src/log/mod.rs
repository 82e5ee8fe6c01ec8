//! The durable log: the truth everything else is derived from.
