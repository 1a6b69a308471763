//! The CPU time and memory of the daemon's processes, from the process table.

use std::collections::HashMap;
use std::time::Duration;

use super::{ProcessReport, ProcessRole, Report};
use crate::evidence::pss;
use crate::process_table;

/// The resource usage of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Option<Duration>,
    /// In bytes.
    pub(crate) rss: Option<u64>,
    /// In bytes.
    pub(crate) pss: Option<u64>,
}

/// The resource usage of the processes of a report.
#[derive(Debug, Default)]
pub(crate) struct Usages(pub(super) HashMap<u32, Usage>);

impl Usages {
    /// Reads the resource usage of these processes. Processes that have exited are left out.
    pub(crate) fn of(pids: &[u32]) -> Self {
        // Without a readable process table no usage is known.
        let used = process_table::read(pids).unwrap_or_default();
        let usage = |(pid, used): (u32, process_table::Used)| {
            (pid, Usage { cpu: Some(used.cpu), rss: Some(used.rss), pss: pss(pid) })
        };
        Usages(used.into_iter().map(usage).collect())
    }

    fn get(&self, pid: u32) -> Usage {
        self.0.get(&pid).copied().unwrap_or_default()
    }
}

impl Report {
    /// Returns the pids of the processes that the report covers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let children = self.children.iter().filter_map(|child| child.pid);
        std::iter::once(self.parent).chain(self.fork_server).chain(children).collect()
    }

    /// Adds the resource usage of the processes.
    pub(crate) fn with(mut self, usages: &Usages) -> Self {
        for child in &mut self.children {
            let Usage { cpu, rss, pss } = child.pid.map(|pid| usages.get(pid)).unwrap_or_default();
            (child.cpu, child.rss, child.pss) = (cpu, rss, pss);
        }
        let fork_server = self.fork_server.map(|pid| (ProcessRole::ForkServer, pid));
        let others = std::iter::once((ProcessRole::Parent, self.parent)).chain(fork_server);
        self.processes = others
            .map(|(role, pid)| {
                let Usage { cpu, rss, pss } = usages.get(pid);
                ProcessReport { role, pid, cpu, rss, pss }
            })
            .collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_the_test_process_is_read_and_a_missing_process_is_left_out() {
        let this = std::process::id();
        let missing = i32::MAX.cast_unsigned();
        let usages = Usages::of(&[this, missing]);
        assert!(usages.get(this).rss.is_some_and(|bytes| bytes > 100_000));
        assert!(usages.get(this).cpu.is_some());
        assert_eq!(usages.get(missing), Usage::default());
    }
}
