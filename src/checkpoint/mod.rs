//! Checkpoints: what bounds replay.
