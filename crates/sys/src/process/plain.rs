//! The parent death signal where there is none: the caller watches its link instead.

use super::Signal;
use crate::error::Result;

#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
pub(super) fn ask_for_signal(_: Signal) -> Result<()> {
    Ok(())
}
