//! Systems on which a process cannot renounce these privileges.

use crate::error::{Error, Result};

pub(super) const SUPPORTS_TRACEABLE: bool = false;

pub(super) fn supports_no_new_privs() -> bool {
    false
}

pub(super) fn set_no_new_privs() -> Result<()> {
    Err(Error::Unsupported { action: "set no_new_privs".into() })
}

pub(super) fn set_traceable(traceable: bool) -> Result<()> {
    let action = format!("set whether this process is traceable to {traceable}");
    Err(Error::Unsupported { action })
}
