//! Process titles on systems that do not support them: setting a title has no effect.

use std::ffi::CStr;

#[derive(Debug)]
pub(super) struct TitleMemory;

impl TitleMemory {
    pub(super) fn claim() -> TitleMemory {
        TitleMemory
    }

    #[expect(clippy::unused_self, reason = "the same signature as on Linux")]
    pub(super) fn show(&self, _: &str) {}

    #[expect(clippy::unused_self, reason = "the same signature as on Linux")]
    pub(super) fn capacity(&self) -> usize {
        0
    }
}

pub(super) fn owns_environment() -> bool {
    false
}

pub(super) fn set_comm(_: &CStr) {}
