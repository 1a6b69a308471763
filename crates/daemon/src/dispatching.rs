//! A pool that grows with the length of a queue, for crates that send tasks to children, as
//! `actix-dispatch` does.
//!
//! Most daemons do not need this module. In an [`OnDemand`] pool the parent queues tasks and sends
//! them to the children over links that it creates itself, for example socket pairs. The parent
//! uses these items:
//!
//! - [`RequestFactory`] makes the request that each child starts with, for example one end of a
//!   link.
//! - [`SetQueueDepth`] reports how many tasks wait for a child. The pool grows accordingly.
//! - [`KillRogue`] kills a child that a session in the parent has found misbehaving.
//!
//! In the child, [`ChildHandle::work`](crate::ChildHandle::work) runs the loop that receives tasks,
//! and [`ChildHandle::update_status`](crate::ChildHandle::update_status) reports the status of the
//! child.

use std::time::Duration;

use crate::builder::DaemonBuilder;
pub use crate::model::{KillRogue, OnDemand, RequestFactory, SetQueueDepth};

/// Returns the [boot timeout](DaemonBuilder::boot_timeout) of these settings. The parent should kill
/// a child that has not taken over its link within this time.
#[must_use]
pub fn boot_timeout<M>(settings: &DaemonBuilder<M>) -> Duration {
    settings.settings.boot_timeout
}
