//! Whole nodes in one process, seeded: a failing seed is printed and replays the run.
