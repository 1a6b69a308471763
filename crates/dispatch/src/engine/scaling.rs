//! What is said of forks and their number: why one is made, and why another is not.

use std::time::Duration;

use daemon_core::MonotonicTime;
use daemon_forkserver::now;

use super::{Engine, ExecutionMode};
use crate::link::SetupState;

/// Why requests wait that no worker is there or on its way for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum WorkerShortage {
    /// None does.
    #[default]
    None,
    /// There are as many workers as may be.
    AllBusy,
    /// It is too soon for another worker.
    TooSoon,
}

/// How many wait, and how many there are to serve them.
#[derive(Debug, Clone, Copy)]
struct PoolLoad {
    /// Requests that nobody does.
    waiting: usize,
    /// Workers, busy or not.
    workers: usize,
    /// Those of them that are not ready yet.
    starting: usize,
    max: usize,
    /// How long ago the last was forked for work that waits.
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

/// What was said of the forks up to now.
#[derive(Debug, Default)]
pub(super) struct ScalingLog {
    started: u32,
    /// When the last was forked that was not forked before there was work.
    last_started: Option<MonotonicTime>,
    shortage: WorkerShortage,
}

impl Engine {
    /// A worker is ordered.
    pub(super) fn log_new_worker(&mut self, slot: usize) {
        let ExecutionMode::Workers { pre_fork, .. } = self.execution else { return };
        if self.scaling_log.started < pre_fork {
            self.scaling_log.started += 1;
            self.events.detail(format_args!("Pre spawning fork {slot}"));
        } else {
            self.scaling_log.last_started = Some(now());
            self.events.detail(format_args!("Creating new fork {slot}"));
        }
    }

    /// Says why what waits has to wait, once for each time that it is so.
    pub(super) fn log_shortage(&mut self) {
        if !self.events.is_verbose() {
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
            WorkerShortage::AllBusy => self.events.detail(format_args!(
                "All forks are busy; will wait to handle request after a fork returns"
            )),
            WorkerShortage::TooSoon => self.events.detail(format_args!(
                "Delaying {} sec on creating another fork",
                interval.as_secs_f64()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_shortage_where_somebody_waits_whom_nobody_will_serve() {
        let second = Some(Duration::from_secs(1));
        let table = [
            // waiting, forks, starting, since the last fork
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
