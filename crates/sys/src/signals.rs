//! Receiving signals: dispositions, the signal mask, and descriptors to read signals from. The
//! module [`process`](crate::process) sends signals.
//!
//! Signal handlers run only code of this crate, never code of the program that uses it.

mod action;
mod listener;
mod mask;
mod queue;

pub(crate) use action::handle_with_context;
pub use action::{ignore, restore_all_defaults, restore_default};
pub use listener::SignalListener;
pub use mask::{SignalBlockGuard, block_all, unblock, unblock_all};
pub use queue::SignalQueue;
