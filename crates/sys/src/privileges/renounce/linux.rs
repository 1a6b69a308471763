//! Renounces privileges with prctl(2).

use nix::sys::prctl;

use crate::error::{Error, Result};

pub(super) const SUPPORTS_TRACEABLE: bool = true;

pub(super) fn supports_no_new_privs() -> bool {
    true
}

pub(super) fn set_no_new_privs() -> Result<()> {
    prctl::set_no_new_privs().map_err(|error| Error::os("set no_new_privs", error))
}

pub(super) fn set_traceable(traceable: bool) -> Result<()> {
    prctl::set_dumpable(traceable).map_err(|error| {
        Error::os(format!("set whether this process is traceable to {traceable}"), error)
    })
}
