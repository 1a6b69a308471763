//! What the process table says of the daemon's processes: processor time and memory.

use std::collections::HashMap;
use std::time::Duration;

use super::{ProcessReport, ProcessRole, Report};
use crate::evidence::pss;
use crate::process_table;

/// What one process has used and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Option<Duration>,
    /// In bytes.
    pub(crate) rss: Option<u64>,
    /// In bytes.
    pub(crate) pss: Option<u64>,
}

/// What the processes of a report use.
#[derive(Debug, Default)]
pub(crate) struct Usages(pub(super) HashMap<u32, Usage>);

impl Usages {
    /// Looks at these processes, and no others. Who is gone by now is left out.
    pub(crate) fn of(pids: &[u32]) -> Self {
        // Where the system has no process table that can be read, nothing is known.
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
    /// The processes that the report is about.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let children = self.children.iter().filter_map(|child| child.pid);
        std::iter::once(self.parent).chain(self.fork_server).chain(children).collect()
    }

    /// Adds what the process table says.
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
    fn this_process_holds_memory_and_one_that_is_not_there_is_left_out() {
        let this = std::process::id();
        let nobody = i32::MAX.cast_unsigned();
        let usages = Usages::of(&[this, nobody]);
        assert!(usages.get(this).rss.is_some_and(|bytes| bytes > 100_000));
        assert!(usages.get(this).cpu.is_some());
        assert_eq!(usages.get(nobody), Usage::default());
    }
}
