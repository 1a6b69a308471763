//! Systems without sandboxes.

use super::{Enforcement, Sandbox};
use crate::error::{Error, Result};

/// A sandbox that a process can enter.
#[derive(Debug)]
#[must_use = "the sandbox has no effect until a process enters it"]
pub struct PreparedSandbox(());

pub(super) fn prepare(sandbox: &Sandbox) -> Result<PreparedSandbox> {
    match sandbox.enforcement {
        Enforcement::BestEffort => Ok(PreparedSandbox(())),
        Enforcement::Required => {
            Err(Error::Unsupported { action: "prepare the sandbox".to_owned() })
        }
    }
}

impl PreparedSandbox {
    /// Does nothing on this system.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn enter(self) -> Result<()> {
        Ok(())
    }
}
