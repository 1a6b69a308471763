//! Reads the CPU time and memory of processes from the process table.

use std::collections::HashMap;
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// The resources that a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    /// In bytes.
    pub(crate) rss: u64,
}

/// Returns the resource usage of these processes. Processes that the system does not show are left
/// out. Reading costs about ten microseconds per process.
///
/// # Errors
///
/// If the process table cannot be read at all.
pub(crate) fn read(pids: &[u32]) -> Result<HashMap<u32, Used>, sysinfo::Error> {
    let mut system = System::new()?;
    let wanted: Vec<Pid> = pids.iter().copied().map(Pid::from_u32).collect();
    let refresh = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&wanted), false, refresh);
    let used = |pid: &u32| {
        let process = system.process(Pid::from_u32(*pid))?;
        let cpu = Duration::from_millis(process.accumulated_cpu_time());
        Some((*pid, Used { cpu, rss: process.memory() }))
    };
    Ok(pids.iter().filter_map(used).collect())
}
