//! Tests the conventions of this repository: which crates and modules may depend on each other,
//! which crates may contain unsafe code, which words the code may use, and whether the documents
//! agree with the code.
//!
//! The layers, the table of crates and the replaced words are read from the documents that define
//! them, so that the tests always agree with the documents.

#![expect(clippy::unwrap_used, reason = "a missing value fails the test")]

mod circles;
mod documents;
mod errors;
mod layers;
mod source_tree;
mod unsafe_code;
mod vocabulary;
