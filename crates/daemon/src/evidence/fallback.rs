//! The fallback for systems other than Linux. It returns no information about a process.

use super::ProcessInfo;

pub(super) fn inspect(_: u32) -> ProcessInfo {
    ProcessInfo::default()
}

pub(super) fn pss(_: u32) -> Option<u64> {
    None
}

/// Does nothing: this system has no such files.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn parse_files(_text: &str) {}
