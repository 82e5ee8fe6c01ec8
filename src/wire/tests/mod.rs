//! Tests of both encodings together: samples of every message, golden bytes, bad input, round
//! trips of arbitrary messages.

mod golden;
mod refusals;
mod round_trip;
mod samples;
