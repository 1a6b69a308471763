//! Sets no parent death signal. The caller detects the closed end of its link instead.

use super::Signal;
use crate::error::Result;

#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
pub(super) fn set_parent_death_signal(_: Signal) -> Result<()> {
    Ok(())
}
