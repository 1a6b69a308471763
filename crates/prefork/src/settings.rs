//! Settings of the manager, and their validation.

use std::path::PathBuf;
use std::time::Duration;

use daemon_core::{Descendants, MAX_SLOTS, slots_for};
use daemon_sys::{Pid, Signal};
use slog::Logger;

use crate::error::ConfigError;
use crate::hooks::{Hooks, Overview, Reaped};
use crate::log::default_logger;
use crate::signal_forward::{SignalForward, Traps};

/// The number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Exactly `max_workers` workers.
    Fixed { max_workers: u32 },
    /// As many workers as needed to keep at least `min_spare_workers` of them idle, up to
    /// `max_workers`.
    Spare { min_spare_workers: u32, max_spare_workers: u32, max_workers: u32 },
}

/// The intervals of the manager.
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

/// The settings of a [`Prefork`](crate::Prefork). They have the same names as in the originals,
/// `Parallel::Prefork` and `Parallel::Prefork::SpareWorkers`.
///
/// # Examples
///
/// See the [crate's front page](crate).
#[must_use = "no worker is forked before the manager is built and started"]
#[derive(Debug)]
pub struct PreforkBuilder {
    max_workers: u32,
    min_spare_workers: Option<u32>,
    max_spare_workers: Option<u32>,
    pub(crate) scoreboard_file: Option<PathBuf>,
    pub(crate) intervals: Intervals,
    pub(crate) traps: Traps,
    pub(crate) death_signal: Option<Signal>,
    pub(crate) grace: Option<Duration>,
    pub(crate) descendants: Descendants,
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
            descendants: Descendants::Leave,
            hooks: Hooks::default(),
            log: default_logger(),
        }
    }
}

impl PreforkBuilder {
    /// Sets the number of workers, or the maximum if
    /// [`min_spare_workers`](PreforkBuilder::min_spare_workers) is set. Default: 10. Must be at
    /// least 1.
    pub fn max_workers(mut self, workers: u32) -> Self {
        self.max_workers = workers;
        self
    }

    /// Sets the minimum number of idle workers, according to the
    /// [status](crate::Worker::set_status) that workers report. The manager forks as many workers
    /// as it needs to reach this number, up to [`max_workers`](PreforkBuilder::max_workers).
    /// Without this setting, the manager always runs `max_workers` workers. In the original, the
    /// setting belongs to the class `SpareWorkers`, where it is mandatory.
    pub fn min_spare_workers(mut self, workers: u32) -> Self {
        self.min_spare_workers = Some(workers);
        self
    }

    /// Sets the maximum number of idle workers. If more workers are idle for a whole
    /// [`heartbeat`](PreforkBuilder::heartbeat), the excess workers are asked to stop. Default:
    /// `max_workers`.
    pub fn max_spare_workers(mut self, workers: u32) -> Self {
        self.max_spare_workers = Some(workers);
        self
    }

    /// Sets how long the number of idle workers must stay above `max_spare_workers` before the
    /// excess workers are asked to stop. Default: 250 ms. (In the original, the heartbeat is the
    /// interval at which workers are counted. Here a change of status wakes the manager.)
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.intervals.heartbeat = heartbeat;
        self
    }

    /// Sets the minimum time between two forks. Default: zero.
    pub fn spawn_interval(mut self, interval: Duration) -> Self {
        self.intervals.spawn_interval = interval;
        self
    }

    /// Sets the minimum time between the fork of a worker that fails and the fork of its
    /// replacement. A worker fails if it was not asked to stop, and is terminated by a signal or
    /// exits with a code other than 0. Default: one second.
    ///
    /// A worker that ran longer than this time is replaced at once. A failure does not delay the
    /// replacement of other workers (in the original it does). The next call of
    /// [`start`](crate::Prefork::start) ends all delays after failures. After the system has
    /// refused a fork, the manager waits for this time, and at least 100 ms, before the next fork.
    pub fn err_respawn_interval(mut self, interval: Duration) -> Self {
        self.intervals.err_respawn_interval = interval;
        self
    }

    /// Sets the signals that make [`start`](crate::Prefork::start) return, and how each is
    /// forwarded to the workers. Default: TERM, forwarded as TERM to all.
    pub fn trap_signals(
        mut self,
        traps: impl IntoIterator<Item = (Signal, SignalForward)>,
    ) -> Self {
        self.traps = Traps::of(traps);
        self
    }

    /// Sets how long [`wait_all_children`](crate::Prefork::wait_all_children) waits before it sends
    /// KILL to a worker that was asked to stop. The time is counted from the beginning of the wait,
    /// or from the stop signal, whichever is later. Default: no limit, as in the original.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Sets what happens to processes that a worker has started and that still run when the worker
    /// ends. Default: they are left alone, as in the original.
    ///
    /// With another setting each worker leads its own process group, to which what it starts
    /// belongs. The keys of a terminal then signal the manager alone. A worker that the manager
    /// kills takes its group along. The rest of the group receives TERM when its worker has ended:
    /// [`EndAtStop`](Descendants::EndAtStop) means while
    /// [`wait_all_children`](crate::Prefork::wait_all_children) waits, and
    /// [`EndWithChild`](Descendants::EndWithChild) means always. Processes that ignore TERM, or
    /// that have left the group, are not reached, because the manager is not their parent.
    pub fn descendants(mut self, descendants: Descendants) -> Self {
        self.descendants = descendants;
        self
    }

    /// Sets the death signal, which workers receive if the manager exits before them. This happens
    /// if the manager is killed, or if the program does not wait for its workers. Default: the
    /// signal that TERM is forwarded as.
    ///
    /// A worker that blocks or ignores the death signal outlives the manager. The same applies to a
    /// worker that [handles](crate::Worker#stopping) the death signal but does not stop. With KILL
    /// as the death signal, no worker outlives the manager.
    ///
    /// The signal is sent only on Linux. On other systems a worker has to call
    /// [`watch_manager`](crate::Worker::watch_manager) to check whether the manager still exists.
    pub fn death_signal(mut self, signal: Signal) -> Self {
        self.death_signal = Some(signal);
        self
    }

    /// Keeps the scoreboard in this file, so that other programs such as `daemonctl --board` can
    /// read it. The file of an earlier manager is replaced. By default the scoreboard is in memory
    /// only.
    pub fn scoreboard_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.scoreboard_file = Some(path.into());
        self
    }

    /// Sets a hook that runs in the manager before each fork.
    pub fn before_fork(mut self, hook: impl FnMut(&Overview) + 'static) -> Self {
        self.hooks.before_fork = Some(Box::new(hook));
        self
    }

    /// Sets a hook that runs in the manager after each fork, with the worker's pid.
    pub fn after_fork(mut self, hook: impl FnMut(&Overview, Pid) + 'static) -> Self {
        self.hooks.after_fork = Some(Box::new(hook));
        self
    }

    /// Sets a hook that runs in the manager when a worker has exited and was reaped. A panic in the
    /// hook is not caught.
    pub fn on_child_reap(mut self, hook: impl FnMut(&Overview, &Reaped) + 'static) -> Self {
        self.hooks.on_child_reap = Some(Box::new(hook));
        self
    }

    /// Sets the logger. Default: standard error, from level Info. The default logger does not wait
    /// if nobody reads standard error: records wait in memory, or are dropped and counted. The
    /// manager has one thread, so your own logger must not wait either.
    pub fn logger(mut self, log: Logger) -> Self {
        self.log = log;
        self
    }

    /// Checks the settings, and returns the number of workers.
    pub(crate) fn check(&self) -> Result<Size, ConfigError> {
        let size = self.size()?;
        checked_traps(&self.traps)?;
        if let Some(signal) = self.death_signal {
            check_terminates("death_signal", signal)?;
        }
        Ok(size)
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
    /// Checks that the numbers are consistent.
    pub(crate) fn checked(self) -> Result<Size, ConfigError> {
        let max_workers = self.max_workers();
        if max_workers == 0 {
            return Err(ConfigError::Zero { setting: "max_workers" });
        }
        if max_workers > MAX_SLOTS {
            return Err(ConfigError::TooManyWorkers { max_workers });
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

    /// Returns the maximum number of workers.
    pub(crate) fn max_workers(self) -> u32 {
        match self {
            Size::Fixed { max_workers } | Size::Spare { max_workers, .. } => max_workers,
        }
    }

    /// Returns the number of scoreboard slots: twice the maximum number of workers, but at least 16
    /// and at most [`MAX_SLOTS`]. The additional slots are for a later increase of the maximum.
    pub(crate) fn slots(self) -> u32 {
        slots_for(self.max_workers())
    }
}

/// Returns an error if a trapped signal is KILL, STOP or CHLD, if no signal is trapped, or if TERM
/// is forwarded as a signal that does not terminate a process by default.
pub(crate) fn checked_traps(traps: &Traps) -> Result<(), ConfigError> {
    let signals = traps.signals();
    let refused =
        signals.iter().find(|signal| matches!(signal, Signal::Kill | Signal::Stop | Signal::Child));
    match refused {
        Some(signal) => Err(ConfigError::CannotTrap { signal: *signal }),
        None if signals.is_empty() => Err(ConfigError::NoTrappedSignal),
        None => check_terminates("the signal sent to workers for TERM", traps.stop_signal()),
    }
}

/// Returns an error for signals that do not terminate a process by default.
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
    use crate::prefork::Prefork;

    fn build_error(builder: PreforkBuilder) -> String {
        builder.build().expect_err("invalid settings").to_string()
    }

    #[test]
    fn the_error_for_an_invalid_number_contains_the_setting_and_the_number() {
        let builder = Prefork::builder;
        assert_eq!(build_error(builder().max_workers(0)), "max_workers must be at least 1, not 0");
        assert_eq!(
            build_error(builder().max_workers(65_537)),
            "max_workers must be at most 65536, not 65537"
        );
        assert_eq!(
            build_error(builder().min_spare_workers(0)),
            "min_spare_workers must be at least 1, not 0"
        );
        assert_eq!(
            build_error(builder().max_spare_workers(3)),
            "max_spare_workers (3) requires min_spare_workers to be set"
        );
        assert_eq!(
            build_error(builder().min_spare_workers(11)),
            "min_spare_workers (11) must not be greater than max_workers (10)"
        );
        assert_eq!(
            build_error(builder().min_spare_workers(5).max_spare_workers(4)),
            "max_spare_workers (4) must not be less than min_spare_workers (5)"
        );
    }

    #[test]
    fn invalid_signals_are_refused() {
        let traps = |signal| Prefork::builder().trap_signals([(signal, SignalForward::Nothing)]);
        assert_eq!(
            build_error(traps(Signal::Kill)),
            "cannot trap KILL: the system does not allow it"
        );
        assert_eq!(
            build_error(traps(Signal::Child)),
            "cannot trap CHLD: the manager uses it to detect the exit of workers"
        );
        assert_eq!(
            build_error(
                Prefork::builder()
                    .trap_signals([(Signal::Term, SignalForward::ToAll(Signal::Stop))])
            ),
            "the signal sent to workers for TERM must not be STOP: it does not terminate a process, so workers would not exit"
        );
        assert_eq!(
            build_error(Prefork::builder().death_signal(Signal::Winch)),
            "death_signal must not be WINCH: it does not terminate a process, so workers would not exit"
        );
        assert_eq!(
            build_error(Prefork::builder().trap_signals([])),
            "trap_signals must not be empty: without a trapped signal, start() would never return"
        );
    }

    #[test]
    fn a_scoreboard_has_two_slots_for_each_worker_but_at_least_16_and_at_most_max_slots() {
        assert_eq!(Size::Fixed { max_workers: 3 }.slots(), 16);
        assert_eq!(Size::Fixed { max_workers: 200 }.slots(), 400);
        assert_eq!(Size::Fixed { max_workers: MAX_SLOTS }.slots(), MAX_SLOTS);
    }
}
