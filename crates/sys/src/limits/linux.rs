//! Sets the OOM score, and reads the size of the address space, with `/proc`.

use std::fs;
use std::io;

use crate::error::{Error, Result};

pub(super) fn oom_score_adj(score: i32) -> Result<()> {
    fs::write("/proc/self/oom_score_adj", score.to_string())
        .map_err(|error| Error::os(format!("set oom_score_adj to {score}"), error))
}

/// Returns the size of this process's address space in bytes.
pub(super) fn address_space() -> Result<u64> {
    let error = |error| Error::os("read the size of the address space", error);
    let statm = fs::read_to_string("/proc/self/statm").map_err(error)?;
    let pages = statm.split_ascii_whitespace().next().and_then(|pages| pages.parse::<u64>().ok());
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|bytes| u64::try_from(bytes).ok());
    let size = pages.zip(page).and_then(|(pages, page)| pages.checked_mul(page));
    size.ok_or_else(|| error(io::ErrorKind::InvalidData.into()))
}
