//! The operator's way in: a Unix socket on which the parent answers, and what is said there.

pub mod protocol;
