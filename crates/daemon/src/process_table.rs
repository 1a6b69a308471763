//! The process table, as far as it is ours.

use std::collections::HashMap;
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// What a process has used and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    /// In bytes.
    pub(crate) rss: u64,
}

/// Reads what the system tells of these processes, and of no others. One that it does not show is left
/// out. To look costs some ten microseconds a process.
///
/// # Errors
///
/// If the process table cannot be read at all.
pub(crate) fn read(pids: &[u32]) -> Result<HashMap<u32, Used>, sysinfo::Error> {
    let mut system = System::new()?;
    let asked: Vec<Pid> = pids.iter().copied().map(Pid::from_u32).collect();
    let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&asked), false, what);
    let used = |pid: &u32| {
        let process = system.process(Pid::from_u32(*pid))?;
        let cpu = Duration::from_millis(process.accumulated_cpu_time());
        Some((*pid, Used { cpu, rss: process.memory() }))
    };
    Ok(pids.iter().filter_map(used).collect())
}
