//! Who of our children is in the process table.

use std::collections::HashMap;

use daemon_core::{Presence, Sample};
use daemon_sys::process::{Pid, exists};

use super::settings::MemoryMeasure;
use crate::evidence::pss;
use crate::process_table;

/// Looks for these processes.
///
/// One that is not in the table may be hidden, by mount options of proc(5) for one: it is gone only if
/// the system says so.
///
/// # Errors
///
/// If the process table cannot be read at all.
pub(super) fn presences(
    pids: &[u32],
    step: MemoryMeasure,
) -> Result<HashMap<u32, Presence>, sysinfo::Error> {
    let used = process_table::read(pids)?;
    let presence = |pid: u32| match used.get(&pid) {
        None => unseen(pid),
        Some(used) => Presence::Seen(Sample {
            cpu: used.cpu,
            memory: match step {
                MemoryMeasure::Rss => Some(used.rss),
                MemoryMeasure::Pss => pss(pid),
            },
        }),
    };
    Ok(pids.iter().map(|pid| (*pid, presence(*pid))).collect())
}

fn unseen(pid: u32) -> Presence {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match number.map(exists) {
        Some(true) => Presence::Hidden,
        Some(false) | None => Presence::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_and_one_that_has_ended_is_gone() {
        let mut ended = std::process::Command::new("true").spawn().expect("it starts");
        let (this, gone) = (std::process::id(), ended.id());
        ended.wait().expect("it ends");
        for step in [MemoryMeasure::Rss, MemoryMeasure::Pss] {
            let presences = presences(&[this, gone], step).expect("a process table");
            let Presence::Seen(sample) = presences[&this] else {
                panic!("this process is not seen: {presences:?}");
            };
            assert!(sample.memory.is_some_and(|bytes| bytes > 100_000), "{sample:?}");
            assert_eq!(presences[&gone], Presence::Gone);
        }
        // One that is there and not in a table.
        assert_eq!(unseen(1), Presence::Hidden);
    }
}
