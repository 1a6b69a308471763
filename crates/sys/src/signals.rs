//! Signals that come to this process: which are blocked, which ignored, and a queue to read them
//! from. Sending is in `process`.
//!
//! Nothing here runs a program's code in a signal handler.

mod action;
mod listener;
mod mask;
mod queue;

pub(crate) use action::handle_with_context;
pub use action::{ignore, restore_all_defaults, restore_default};
pub use listener::SignalListener;
pub use mask::{SignalBlockGuard, block_all, unblock};
pub use queue::SignalQueue;
