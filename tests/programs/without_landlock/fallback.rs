//! Other kernels have no Landlock.

use std::error::Error;

#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
pub(crate) fn hide_landlock() -> Result<(), Box<dyn Error>> {
    Ok(())
}
