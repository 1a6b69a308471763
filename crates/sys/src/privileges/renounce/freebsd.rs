//! Renounces privileges with procctl(2).

use std::io;

use libc::c_int;

use crate::error::{Error, Result};

pub(super) const SUPPORTS_TRACEABLE: bool = true;

/// FreeBSD 14 was the first to support it.
pub(super) fn supports_no_new_privs() -> bool {
    let mut status: c_int = 0;
    control(libc::PROC_NO_NEW_PRIVS_STATUS, &mut status).is_ok()
}

pub(super) fn set_no_new_privs() -> Result<()> {
    let action = "set no_new_privs";
    if !supports_no_new_privs() {
        return Err(Error::Unsupported { action: action.into() });
    }
    control(libc::PROC_NO_NEW_PRIVS_CTL, &mut libc::PROC_NO_NEW_PRIVS_ENABLE.clone())
        .map_err(|error| Error::os(action, error))
}

pub(super) fn set_traceable(traceable: bool) -> Result<()> {
    let mut mode = match traceable {
        true => libc::PROC_TRACE_CTL_ENABLE,
        false => libc::PROC_TRACE_CTL_DISABLE,
    };
    control(libc::PROC_TRACE_CTL, &mut mode).map_err(|error| {
        Error::os(format!("set whether this process is traceable to {traceable}"), error)
    })
}

/// Controls this process.
fn control(command: c_int, value: &mut c_int) -> io::Result<()> {
    // SAFETY: the pointer is to an int, which each of these commands reads or writes; id 0 with
    // P_PID is this process.
    match unsafe { libc::procctl(libc::P_PID, 0, command, std::ptr::from_mut(value).cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
