//! Refuses to set the OOM score, which only Linux has, and to read the size of the address space.

use crate::error::{Error, Result};

pub(super) fn oom_score_adj(score: i32) -> Result<()> {
    Err(Error::Unsupported { action: format!("set oom_score_adj to {score}") })
}

pub(super) fn address_space() -> Result<u64> {
    Err(Error::Unsupported { action: "read the size of the address space".to_owned() })
}
