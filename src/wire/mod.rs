//! The client protocol: messages and their encodings, pure.
