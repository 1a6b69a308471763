//! Looks for the children in the process table.

use std::collections::HashMap;

use daemon_core::{Presence, ProcessSample};
use daemon_sys::process::{Pid, exists};

use super::settings::MemoryMeasure;
use crate::process_table::{self, pss};

/// Returns whether each of these processes exists, and its resource usage.
///
/// A process that is not in the table may be hidden, for example by mount options of proc(5). It
/// counts as gone only if kill(2) with signal 0 does not find it.
///
/// # Errors
///
/// If the process table cannot be read at all.
pub(super) fn presences(
    pids: &[u32],
    measure: MemoryMeasure,
) -> Result<HashMap<u32, Presence>, sysinfo::Error> {
    let used = process_table::read(pids)?;
    let presence = |pid: u32| match used.get(&pid) {
        None => presence_of_unlisted(pid),
        Some(used) => Presence::Seen(ProcessSample {
            cpu: used.cpu,
            memory: match measure {
                MemoryMeasure::Rss => Some(used.rss),
                MemoryMeasure::Pss => pss(pid),
            },
        }),
    };
    Ok(pids.iter().map(|pid| (*pid, presence(*pid))).collect())
}

fn presence_of_unlisted(pid: u32) -> Presence {
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
    fn the_test_process_is_seen_and_a_process_that_has_ended_is_gone() {
        let mut ended = std::process::Command::new("true").spawn().expect("spawn true");
        let (this, gone) = (std::process::id(), ended.id());
        ended.wait().expect("wait for the end of true");
        for measure in [MemoryMeasure::Rss, MemoryMeasure::Pss] {
            let presences = presences(&[this, gone], measure).expect("read the process table");
            let Presence::Seen(sample) = presences[&this] else {
                panic!("this process is not seen: {presences:?}");
            };
            assert!(sample.memory.is_some_and(|bytes| bytes > 100_000), "{sample:?}");
            assert_eq!(presences[&gone], Presence::Gone);
        }
        // `presence_of_unlisted` assumes that its process is not in the table. Process 1 exists.
        assert_eq!(presence_of_unlisted(1), Presence::Hidden);
    }
}
