//! What is said of forks and their number: why one is made, and why another is not.

use std::time::Duration;

use daemon_core::MonotonicTime;
use daemon_forkserver::now;

use super::{Engine, Staff};
use crate::link::Said;

/// Why requests wait that no worker is there or on its way for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Shortage {
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
struct Staffing {
    /// Requests that nobody does.
    waiting: usize,
    /// Workers, busy or not.
    forks: usize,
    /// Those of them that are not ready yet.
    starting: usize,
    most: usize,
    /// How long ago the last was forked for work that waits.
    since: Option<Duration>,
    interval: Duration,
}

impl Staffing {
    fn shortage(self) -> Shortage {
        let Staffing { waiting, forks, starting, most, since, interval } = self;
        if waiting <= starting {
            Shortage::None
        } else if forks >= most {
            Shortage::AllBusy
        } else if since.is_some_and(|since| since < interval) {
            Shortage::TooSoon
        } else {
            Shortage::None
        }
    }
}

/// What was said of the forks up to now.
#[derive(Debug, Default)]
pub(super) struct Growth {
    forked: u32,
    /// When the last was forked that was not forked before there was work.
    grown: Option<MonotonicTime>,
    shortage: Shortage,
}

impl Engine {
    /// A worker is ordered.
    pub(super) fn talk_of_fork(&mut self, slot: usize) {
        let Staff::Workers { pre_fork, .. } = self.staff else { return };
        if self.growth.forked < pre_fork {
            self.growth.forked += 1;
            self.events.detail(format_args!("Pre spawning fork {slot}"));
        } else {
            self.growth.grown = Some(now());
            self.events.detail(format_args!("Creating new fork {slot}"));
        }
    }

    /// Says why what waits has to wait, once for each time that it is so.
    pub(super) fn talk_of_shortage(&mut self) {
        if !self.events.is_verbose() {
            return;
        }
        let Staff::Workers { most, interval, .. } = self.staff else { return };
        let links = self.links.iter().flatten();
        let staffing = Staffing {
            waiting: self.ledger.waiting(),
            forks: links.clone().count(),
            starting: links.filter(|link| link.said == Said::Nothing).count(),
            most,
            since: self.growth.grown.map(|grown| now().saturating_since(grown)),
            interval,
        };
        let shortage = staffing.shortage();
        if std::mem::replace(&mut self.growth.shortage, shortage) == shortage {
            return;
        }
        match shortage {
            Shortage::None => {}
            Shortage::AllBusy => self.events.detail(format_args!(
                "All forks are busy; will wait to handle request after a fork returns"
            )),
            Shortage::TooSoon => self.events.detail(format_args!(
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
            (0, 4, 0, None, Shortage::None),
            (1, 4, 0, None, Shortage::AllBusy),
            (2, 4, 2, None, Shortage::None),
            (3, 4, 2, second, Shortage::AllBusy),
            (1, 3, 0, second, Shortage::TooSoon),
            (1, 3, 1, second, Shortage::None),
            (1, 3, 0, Some(Duration::from_secs(2)), Shortage::None),
            (1, 0, 0, None, Shortage::None),
        ];
        for (waiting, forks, starting, since, expected) in table {
            let interval = Duration::from_secs(2);
            let staffing = Staffing { waiting, forks, starting, most: 4, since, interval };
            assert_eq!(staffing.shortage(), expected, "{staffing:?}");
        }
    }
}
