//! One document: a pure state machine inside one actor.
