//! The parent death signal, as Linux has it.

use super::Signal;
use crate::error::{Error, Result};

#[inline]
pub(super) fn ask_for_signal(signal: Signal) -> Result<()> {
    let act = || format!("ask for {signal} at the parent's death");
    // SAFETY: PR_SET_PDEATHSIG reads one number, which is a valid signal; no pointer is passed.
    let answer = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal.number() as libc::c_ulong) };
    if answer == 0 { Ok(()) } else { Err(Error::last(act())) }
}
