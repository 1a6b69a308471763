//! Systems without capabilities.

use super::{Availability, Capability};
use crate::error::{Error, Result};

#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
pub(super) fn availability(_: Capability) -> Result<Availability> {
    Ok(Availability::Unsupported)
}

/// The capabilities that a process keeps when it changes its user: none.
#[derive(Debug)]
pub(crate) struct KeptCapabilities;

impl KeptCapabilities {
    pub(crate) fn prepare(keep: &[Capability]) -> Result<KeptCapabilities> {
        match keep {
            [] => Ok(KeptCapabilities),
            [first, ..] => Err(Error::Unsupported { action: format!("keep {first}") }),
        }
    }

    #[expect(clippy::unused_self, reason = "the same signature as on Linux")]
    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
    pub(crate) fn keep(self) -> Result<()> {
        Ok(())
    }
}
