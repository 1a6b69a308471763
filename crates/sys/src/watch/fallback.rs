//! Registers the listener without exclusive wakeups, so a new connection wakes all processes that
//! wait on the listener.

use std::os::fd::OwnedFd;

/// Stores nothing, because tokio keeps the registration.
#[derive(Debug)]
pub(super) struct EpollRegistration;

impl EpollRegistration {
    pub(super) fn of(_listener: &OwnedFd) -> EpollRegistration {
        EpollRegistration
    }

    pub(super) fn wait(&self, _listener: &OwnedFd) -> WaitGuard {
        WaitGuard
    }
}

/// Does nothing when dropped.
#[derive(Debug)]
pub(super) struct WaitGuard;
