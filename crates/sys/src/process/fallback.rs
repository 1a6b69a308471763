//! Does nothing, on systems without a parent death signal (the signal that a process receives when
//! its parent exits). Callers detect the parent's exit with a [link](crate::link) instead: when the
//! parent exits, the parent's end of the link is closed.

use super::Signal;
use crate::error::Result;

#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
pub(super) fn set_parent_death_signal(_: Signal) -> Result<()> {
    Ok(())
}
