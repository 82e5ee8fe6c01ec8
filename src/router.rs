//! Finds the owner of a document.
