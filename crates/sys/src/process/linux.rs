//! Sets the parent death signal with prctl(2). The kernel sends this signal to the process when its
//! parent exits.

use super::Signal;
use crate::error::{Error, Result};
use crate::process::number_of;

#[inline]
pub(super) fn set_parent_death_signal(signal: Signal) -> Result<()> {
    let action = || format!("set parent death signal {signal}");
    // SAFETY: PR_SET_PDEATHSIG reads one number, which is a valid signal; no pointer is passed.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number_of(signal) as libc::c_ulong) };
    if result == 0 { Ok(()) } else { Err(Error::last(action())) }
}
