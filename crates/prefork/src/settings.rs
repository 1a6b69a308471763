//! What is set before the first worker is forked, and checked then.

use std::path::PathBuf;
use std::time::Duration;

use daemon_core::{MAX_SLOTS, slots_for};
use daemon_sys::{Pid, Signal};
use slog::{Level, Logger};

use crate::error::ConfigError;
use crate::hooks::{Hooks, Overview, Reaped};
use crate::prefork::Prefork;
use crate::signal_forward::{SignalForward, Traps};

/// How many workers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Always as many.
    Fixed { max_workers: u32 },
    /// As many as are needed for some to be idle.
    Spare { min_spare_workers: u32, max_spare_workers: u32, max_workers: u32 },
}

/// How fast things are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Intervals {
    pub(crate) spawn_interval: Duration,
    pub(crate) err_respawn_interval: Duration,
    pub(crate) heartbeat: Duration,
}

impl Default for Intervals {
    fn default() -> Intervals {
        Intervals {
            spawn_interval: Duration::ZERO,
            err_respawn_interval: Duration::from_secs(1),
            heartbeat: Duration::from_millis(250),
        }
    }
}

/// The settings of a [`Prefork`], by the names that `Parallel::Prefork` and
/// `Parallel::Prefork::SpareWorkers` have for them.
///
/// # Examples
///
/// See the [crate's front page](crate).
#[must_use = "it forks nothing before it is built and started"]
#[derive(Debug)]
pub struct PreforkBuilder {
    max_workers: u32,
    min_spare_workers: Option<u32>,
    max_spare_workers: Option<u32>,
    scoreboard_file: Option<PathBuf>,
    pub(crate) intervals: Intervals,
    pub(crate) traps: Traps,
    pub(crate) death_signal: Option<Signal>,
    pub(crate) grace: Option<Duration>,
    pub(crate) hooks: Hooks,
    pub(crate) log: Logger,
}

impl Default for PreforkBuilder {
    fn default() -> PreforkBuilder {
        PreforkBuilder {
            max_workers: 10,
            min_spare_workers: None,
            max_spare_workers: None,
            scoreboard_file: None,
            intervals: Intervals::default(),
            traps: Traps::default(),
            death_signal: None,
            grace: None,
            hooks: Hooks::default(),
            log: daemon_log::logger(daemon_log::to_stderr, Level::Info),
        }
    }
}

impl PreforkBuilder {
    /// Sets how many workers there are; with [`min_spare_workers`](PreforkBuilder::min_spare_workers), how
    /// many at most. 10 by default, at least 1.
    pub fn max_workers(mut self, workers: u32) -> Self {
        self.max_workers = workers;
        self
    }

    /// Sets how many workers shall at least be idle, by the [status](crate::Worker::set_status) that
    /// they report: then there are as many workers as that takes, up to
    /// [`max_workers`](PreforkBuilder::max_workers). Not set by default: then there always are
    /// `max_workers`. The original's class `SpareWorkers`, where it is mandatory.
    pub fn min_spare_workers(mut self, workers: u32) -> Self {
        self.min_spare_workers = Some(workers);
        self
    }

    /// Sets how many workers may be idle: those that are too many for a whole
    /// [`heartbeat`](PreforkBuilder::heartbeat) are told to leave. `max_workers` by default.
    pub fn max_spare_workers(mut self, workers: u32) -> Self {
        self.max_spare_workers = Some(workers);
        self
    }

    /// Sets how long too many workers must have been idle before some are told to leave. 250 ms by
    /// default. (In the original it is how often the workers are counted; here a change of status
    /// wakes the manager.)
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.intervals.heartbeat = heartbeat;
        self
    }

    /// Sets the least time between two forks. None by default.
    pub fn spawn_interval(mut self, interval: Duration) -> Self {
        self.intervals.spawn_interval = interval;
        self
    }

    /// Sets how long a slot stays empty, counted from its worker's birth, if the worker ended by a
    /// signal or with another exit code than 0; and all, if the system refuses to fork. One second by
    /// default.
    ///
    /// The other slots do not wait (in the original they do), a worker that had lived longer is
    /// replaced at once, and a new [start](Prefork::start) waits for no slot. After a fork that the
    /// system has refused it is a tenth of a second at least.
    pub fn err_respawn_interval(mut self, interval: Duration) -> Self {
        self.intervals.err_respawn_interval = interval;
        self
    }

    /// Sets which signals make [`start`](Prefork::start) return, and what each is forwarded as to the
    /// workers. TERM, forwarded as TERM, by default.
    pub fn trap_signals(
        mut self,
        traps: impl IntoIterator<Item = (Signal, SignalForward)>,
    ) -> Self {
        self.traps = Traps::of(traps);
        self
    }

    /// Sets how long a worker that was told to leave has in
    /// [`wait_all_children`](Prefork::wait_all_children) until it is sent KILL: from the beginning of
    /// the wait, or from when it was told, if that is later. For ever by default, as the original.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Sets the signal that workers get when the manager ends, however it does: killed, or because the
    /// program does not wait for them. What TERM is forwarded as, by default. A worker that holds that
    /// signal back and does not [look](crate::Worker::should_stop) outlives the manager; KILL leaves
    /// none.
    ///
    /// On Linux alone: elsewhere a worker has to see for itself.
    pub fn death_signal(mut self, signal: Signal) -> Self {
        self.death_signal = Some(signal);
        self
    }

    /// Keeps the scoreboard in this file, so that other programs can read it: `daemonctl --board` for
    /// one. The file of an earlier manager is replaced. In memory by default.
    pub fn scoreboard_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.scoreboard_file = Some(path.into());
        self
    }

    /// Sets what runs in the manager before each fork.
    pub fn before_fork(mut self, hook: impl FnMut(&Overview) + 'static) -> Self {
        self.hooks.before_fork = Some(Box::new(hook));
        self
    }

    /// Sets what runs in the manager after each fork, with the worker's pid.
    pub fn after_fork(mut self, hook: impl FnMut(&Overview, Pid) + 'static) -> Self {
        self.hooks.after_fork = Some(Box::new(hook));
        self
    }

    /// Sets what runs in the manager when a worker is gone and reaped. A panic in it is not swallowed.
    pub fn on_child_reap(mut self, hook: impl FnMut(&Overview, &Reaped) + 'static) -> Self {
        self.hooks.on_child_reap = Some(Box::new(hook));
        self
    }

    /// Sets the logger. To standard error from level Info on by default.
    pub fn logger(mut self, log: Logger) -> Self {
        self.log = log;
        self
    }

    /// Checks the settings, makes the scoreboard and sets the handlers of the trapped signals: from
    /// here on none of them is lost, also before the first [`start`](Prefork::start).
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the setting and its value. Nothing has been forked.
    pub fn build(self) -> Result<Prefork, ConfigError> {
        let size = self.size()?;
        checked_traps(&self.traps)?;
        if let Some(signal) = self.death_signal {
            check_terminates("death_signal", signal)?;
        }
        let path = self.scoreboard_file.clone();
        Prefork::assemble(self, size, path)
    }

    fn size(&self) -> Result<Size, ConfigError> {
        let max_workers = self.max_workers;
        match (self.min_spare_workers, self.max_spare_workers) {
            (None, None) => Size::Fixed { max_workers }.checked(),
            (Some(min_spare_workers), max) => {
                let max_spare_workers = max.unwrap_or(max_workers);
                Size::Spare { min_spare_workers, max_spare_workers, max_workers }.checked()
            }
            (None, Some(max_spare_workers)) => {
                Err(ConfigError::MinSpareNotSet { max_spare_workers })
            }
        }
    }
}

impl Size {
    /// Checks whether the numbers go together.
    pub(crate) fn checked(self) -> Result<Size, ConfigError> {
        let most = self.max_workers();
        if most == 0 {
            return Err(ConfigError::Zero { setting: "max_workers" });
        }
        if most > MAX_SLOTS {
            return Err(ConfigError::TooManyWorkers { max_workers: most });
        }
        match self {
            Size::Fixed { .. } => {}
            Size::Spare { min_spare_workers: 0, .. } => {
                return Err(ConfigError::Zero { setting: "min_spare_workers" });
            }
            Size::Spare { min_spare_workers, max_spare_workers, max_workers } => {
                if min_spare_workers > max_workers {
                    return Err(ConfigError::MinSpareAboveMax { min_spare_workers, max_workers });
                }
                if min_spare_workers > max_spare_workers {
                    return Err(ConfigError::MaxSpareBelowMinSpare {
                        min_spare_workers,
                        max_spare_workers,
                    });
                }
            }
        }
        Ok(self)
    }

    /// How many there are at most.
    pub(crate) fn max_workers(self) -> u32 {
        match self {
            Size::Fixed { max_workers } | Size::Spare { max_workers, .. } => max_workers,
        }
    }

    /// Slots of the scoreboard: room for twice as many workers, if they become more.
    pub(crate) fn slots(self) -> u32 {
        slots_for(self.max_workers())
    }
}

/// Refuses signals that cannot be trapped, that are ours, and none at all.
pub(crate) fn checked_traps(traps: &Traps) -> Result<(), ConfigError> {
    let signals = traps.signals();
    let odd =
        signals.iter().find(|signal| matches!(signal, Signal::Kill | Signal::Stop | Signal::Child));
    match odd {
        Some(signal) => Err(ConfigError::CannotTrap { signal: *signal }),
        None if signals.is_empty() => Err(ConfigError::NoTrappedSignal),
        None => check_terminates("what TERM is forwarded as", traps.stop_signal()),
    }
}

/// Refuses signals by which no process ends unless it has a handler.
fn check_terminates(setting: &'static str, signal: Signal) -> Result<(), ConfigError> {
    match signal {
        Signal::Child
        | Signal::Cont
        | Signal::Stop
        | Signal::Tstp
        | Signal::Ttin
        | Signal::Ttou
        | Signal::Winch
        | Signal::Urg => Err(ConfigError::NotTerminating { setting, signal }),
        Signal::Hup
        | Signal::Int
        | Signal::Quit
        | Signal::Abort
        | Signal::Kill
        | Signal::Usr1
        | Signal::Usr2
        | Signal::Pipe
        | Signal::Alarm
        | Signal::Term => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(builder: PreforkBuilder) -> String {
        builder.build().expect_err("refused").to_string()
    }

    #[test]
    fn wrong_numbers_are_refused_by_name_and_value() {
        let builder = Prefork::builder;
        assert_eq!(refusal(builder().max_workers(0)), "max_workers is 0: it must be at least 1");
        assert_eq!(
            refusal(builder().max_workers(65_537)),
            "max_workers is 65537: a scoreboard has at most 65536 slots"
        );
        assert_eq!(
            refusal(builder().min_spare_workers(0)),
            "min_spare_workers is 0: it must be at least 1"
        );
        assert_eq!(
            refusal(builder().max_spare_workers(3)),
            "max_spare_workers is 3, but min_spare_workers is not set"
        );
        assert_eq!(
            refusal(builder().min_spare_workers(11)),
            "min_spare_workers is 11: it must not be more than max_workers, which is 10"
        );
        assert_eq!(
            refusal(builder().min_spare_workers(5).max_spare_workers(4)),
            "max_spare_workers is 4: it must not be less than min_spare_workers, which is 5"
        );
    }

    #[test]
    fn signals_that_cannot_be_trapped_are_refused() {
        let traps = |signal| Prefork::builder().trap_signals([(signal, SignalForward::Nothing)]);
        assert_eq!(refusal(traps(Signal::Kill)), "cannot trap SIGKILL: no process can");
        assert_eq!(
            refusal(traps(Signal::Child)),
            "cannot trap SIGCHLD: the manager learns by it that a worker has ended"
        );
        assert_eq!(
            refusal(
                Prefork::builder()
                    .trap_signals([(Signal::Term, SignalForward::ToAll(Signal::Stop))])
            ),
            "what TERM is forwarded as is SIGSTOP: that ends no process, so no worker would leave"
        );
        assert_eq!(
            refusal(Prefork::builder().death_signal(Signal::Winch)),
            "death_signal is SIGWINCH: that ends no process, so no worker would leave"
        );
        assert_eq!(
            refusal(Prefork::builder().trap_signals([])),
            "cannot start: no signal is trapped, so start would never return"
        );
    }

    #[test]
    fn a_scoreboard_has_room_for_twice_as_many() {
        assert_eq!(Size::Fixed { max_workers: 3 }.slots(), 16);
        assert_eq!(Size::Fixed { max_workers: 200 }.slots(), 400);
        assert_eq!(Size::Fixed { max_workers: MAX_SLOTS }.slots(), MAX_SLOTS);
    }
}
