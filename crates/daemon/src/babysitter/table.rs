//! The process table, as far as it is ours.

use std::time::Duration;

use daemon_core::{Presence, Sample};
use daemon_sys::process::{self, Pid};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use super::settings::MemoryMeasure;
use crate::evidence::pss;

/// What sysinfo keeps of our processes between two looks.
pub(super) struct Table {
    system: System,
    measure: MemoryMeasure,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("measure", &self.measure).finish_non_exhaustive()
    }
}

impl Table {
    /// # Errors
    ///
    /// If the system's process table cannot be read at all.
    pub(super) fn new(measure: MemoryMeasure) -> Result<Table, sysinfo::Error> {
        Ok(Table { system: System::new()?, measure })
    }

    /// Reads what the system tells of these processes, and of no others.
    pub(super) fn refresh(&mut self, pids: &[u32]) {
        let pids: Vec<sysinfo::Pid> = pids.iter().copied().map(sysinfo::Pid::from_u32).collect();
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, what);
    }

    /// What the last refresh has told of a process. One that is not in the table may be hidden, by
    /// mount options of proc(5) for one: it is gone only if the system says so.
    pub(super) fn presence(&self, pid: u32) -> Presence {
        let Some(known) = self.system.process(sysinfo::Pid::from_u32(pid)) else {
            let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
            return match number.map(process::exists) {
                Some(true) => Presence::Hidden,
                Some(false) | None => Presence::Gone,
            };
        };
        let memory = match self.measure {
            MemoryMeasure::Rss => known.memory(),
            MemoryMeasure::Pss => pss(pid).unwrap_or_else(|| known.memory()),
        };
        Presence::Seen(Sample { cpu: Duration::from_millis(known.accumulated_cpu_time()), memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_and_one_that_has_ended_is_gone() {
        let mut ended = std::process::Command::new("true").spawn().expect("it starts");
        let gone = ended.id();
        ended.wait().expect("it ends");
        let mut table = Table::new(MemoryMeasure::Pss).expect("a process table");
        table.refresh(&[std::process::id(), gone]);
        let Presence::Seen(sample) = table.presence(std::process::id()) else {
            panic!("this process is not seen: {:?}", table.presence(std::process::id()));
        };
        assert!(sample.memory > 100_000, "{sample:?}");
        assert_eq!(table.presence(gone), Presence::Gone);
        // Never looked for, but there.
        assert_eq!(table.presence(1), Presence::Hidden);
    }
}
