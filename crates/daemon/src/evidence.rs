//! What the operating system reports about a process.

use std::time::Duration;

use daemon_protocol::Evidence;

#[cfg(not(target_os = "linux"))]
mod fallback;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
use fallback as platform;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use platform::parse_files;

/// What the operating system reports about a process. Values that cannot be read are `None` or
/// empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProcessInfo {
    pub(crate) cpu: Option<Duration>,
    pub(crate) rss: Option<u64>,
    pub(crate) pss: Option<u64>,
    pub(crate) state: Option<char>,
    pub(crate) wchan: Option<String>,
    pub(crate) syscall: Option<String>,
    pub(crate) kernel_stack: Vec<String>,
}

impl ProcessInfo {
    /// Adds what is known to the evidence about this process.
    pub(crate) fn add_to(self, evidence: &mut Evidence) {
        let ProcessInfo { cpu, rss, pss, state, wchan, syscall, kernel_stack } = self;
        (evidence.cpu, evidence.rss, evidence.pss) = (cpu, rss, pss);
        (evidence.state, evidence.wchan, evidence.syscall) = (state, wchan, syscall);
        evidence.kernel_stack = kernel_stack;
    }
}

/// Returns what the operating system reports about a process, on Linux from `/proc`. If the process
/// is gone, all values are `None` or empty.
///
/// To compute the proportional set size, the kernel walks all pages of the process. This takes
/// milliseconds for a large process, and the memory map of the process is locked during this time.
pub(crate) fn inspect(pid: u32) -> ProcessInfo {
    platform::inspect(pid)
}

/// Returns the proportional set size of a process in bytes.
pub(crate) fn pss(pid: u32) -> Option<u64> {
    platform::pss(pid)
}

#[cfg(test)]
mod tests;
