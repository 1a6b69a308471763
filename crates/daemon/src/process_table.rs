//! Reads the CPU time and memory of processes from the process table.

use std::collections::HashMap;
use std::time::Duration;

use daemon_protocol::ProcessUsage;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::evidence::pss;

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

/// Returns the resource usage of these processes, with their proportional set size. Without a
/// readable process table, no usage is known.
pub(crate) fn usages(pids: &[u32]) -> HashMap<u32, ProcessUsage> {
    let used = read(pids).unwrap_or_default().into_iter();
    used.map(|(pid, Used { cpu, rss })| {
        (pid, ProcessUsage { cpu: Some(cpu), rss: Some(rss), pss: pss(pid) })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_the_test_process_is_read_and_a_missing_process_is_left_out() {
        let (this, missing) = (std::process::id(), i32::MAX.cast_unsigned());
        let usages = usages(&[this, missing]);
        assert!(usages[&this].rss.is_some_and(|bytes| bytes > 100_000));
        assert!(usages[&this].cpu.is_some());
        assert_eq!(usages.get(&missing), None);
    }
}
