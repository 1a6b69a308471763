//! The conventions of this repository, checked: which crate may build on which, where unsafe code may
//! stand, which words are used, and whether the documents agree with the code.
//!
//! Each rule is read from the document that states it, so that the two cannot drift apart.

#![expect(clippy::unwrap_used, reason = "a missing value fails the test")]

mod documents;
mod errors;
mod layers;
mod source_tree;
mod unsafe_code;
mod vocabulary;
