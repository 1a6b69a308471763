//! No line: all that wait are woken.

use std::os::fd::OwnedFd;

/// Nothing to know.
#[derive(Debug)]
pub(super) struct Place;

impl Place {
    pub(super) fn of(_listener: &OwnedFd) -> Place {
        Place
    }

    pub(super) fn stand(&self, _listener: &OwnedFd) -> InLine {
        InLine
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct InLine;
