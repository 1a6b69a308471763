//! Reports that workers are created, and why no further worker is created although requests wait.

use std::time::Duration;

use daemon_core::{MonotonicTime, format};
use daemon_forkserver::now;

use super::{Engine, ExecutionMode};
use crate::link::SetupState;
use crate::talkback::report;

/// Why no further worker is created although there are more waiting requests than starting workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum WorkerShortage {
    /// There are enough workers, or a further worker can be created.
    #[default]
    None,
    /// The number of workers is at its maximum.
    AllBusy,
    /// The minimum interval has not passed since the last worker was created on demand.
    TooSoon,
}

/// The numbers that decide whether there is a shortage of workers.
#[derive(Debug, Clone, Copy)]
struct PoolLoad {
    /// The number of requests that are not assigned to a worker.
    waiting: usize,
    /// The number of all workers.
    workers: usize,
    /// The number of workers that are not ready yet.
    starting: usize,
    max: usize,
    /// The time since the last worker was created on demand.
    since_last: Option<Duration>,
    interval: Duration,
}

impl PoolLoad {
    fn shortage(self) -> WorkerShortage {
        let PoolLoad { waiting, workers, starting, max, since_last, interval } = self;
        if waiting <= starting {
            WorkerShortage::None
        } else if workers >= max {
            WorkerShortage::AllBusy
        } else if since_last.is_some_and(|since_last| since_last < interval) {
            WorkerShortage::TooSoon
        } else {
            WorkerShortage::None
        }
    }
}

/// What has been reported about the number of workers.
#[derive(Debug, Default)]
pub(super) struct ScalingLog {
    started: u32,
    /// When the last worker was created on demand.
    last_started: Option<MonotonicTime>,
    shortage: WorkerShortage,
}

impl Engine {
    /// Reports that a worker is being created.
    pub(super) fn log_new_worker(&mut self, slot: usize) {
        let ExecutionMode::Workers { pre_fork, .. } = self.execution else { return };
        if self.scaling_log.started < pre_fork {
            self.scaling_log.started += 1;
            report!(self.events, debug, "pre-spawning worker"; "slot" => slot);
        } else {
            self.scaling_log.last_started = Some(now());
            report!(self.events, debug, "creating worker"; "slot" => slot);
        }
    }

    /// Reports why requests wait, each time the reason changes.
    pub(super) fn log_shortage(&mut self) {
        if !self.events.is_verbose {
            return;
        }
        let ExecutionMode::Workers { max, interval, .. } = self.execution else { return };
        let links = self.links.iter().flatten();
        let load = PoolLoad {
            waiting: self.scheduler.unassigned(),
            workers: links.clone().count(),
            starting: links.filter(|link| link.setup == SetupState::Starting).count(),
            max,
            since_last: self
                .scaling_log
                .last_started
                .map(|last_started| now().saturating_since(last_started)),
            interval,
        };
        let shortage = load.shortage();
        if std::mem::replace(&mut self.scaling_log.shortage, shortage) == shortage {
            return;
        }
        match shortage {
            WorkerShortage::None => {}
            WorkerShortage::AllBusy => report!(
                self.events, debug, "all workers are busy, requests wait"; "workers" => max
            ),
            WorkerShortage::TooSoon => report!(
                self.events, debug, "delaying the next worker";
                "interval" => format::duration(interval).to_string()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_worker_shortage_if_requests_wait_and_no_worker_can_be_created() {
        let second = Some(Duration::from_secs(1));
        let table = [
            // waiting, workers, starting, time since the last worker was created, expected
            (0, 4, 0, None, WorkerShortage::None),
            (1, 4, 0, None, WorkerShortage::AllBusy),
            (2, 4, 2, None, WorkerShortage::None),
            (3, 4, 2, second, WorkerShortage::AllBusy),
            (1, 3, 0, second, WorkerShortage::TooSoon),
            (1, 3, 1, second, WorkerShortage::None),
            (1, 3, 0, Some(Duration::from_secs(2)), WorkerShortage::None),
            (1, 0, 0, None, WorkerShortage::None),
        ];
        for (waiting, workers, starting, since_last, expected) in table {
            let interval = Duration::from_secs(2);
            let load = PoolLoad { waiting, workers, starting, max: 4, since_last, interval };
            assert_eq!(load.shortage(), expected, "{load:?}");
        }
    }
}
