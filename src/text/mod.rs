//! Operations on text: pure, counted in Unicode scalar values.
