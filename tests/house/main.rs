//! The house itself, as `docs/ARCHITECTURE.md` draws it: which crate may build on which, where unsafe
//! code may stand, where what is named there is, and what is said when something goes wrong.
//!
//! What they check is also read from the document, so that the two cannot drift apart.

#![expect(clippy::unwrap_used, reason = "a test that unwraps what is not there has failed")]

mod document;
mod floors;
mod sentences;
mod tree;
mod unsafe_room;
