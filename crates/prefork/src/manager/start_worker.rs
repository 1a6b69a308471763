//! The worker's side of a fork.

use daemon_core::{Generation, Seat, SlotNumber, Status};
use daemon_sys::process::{die_with_parent, exit_now};
use daemon_sys::signals::{SignalBlockGuard, SignalListener, restore_default, unblock};
use daemon_sys::{Pid, Signal};
use slog::error;

use super::PreforkManager;
use crate::clock::now;
use crate::worker::{ManagerWakeup, Worker, WorkerParts};

/// The exit code of a worker that cannot begin (`EX_OSERR` of sysexits.h).
const EXIT_START_FAILED: i32 = 71;

/// What a new worker knows of itself.
#[derive(Debug)]
pub(crate) struct ForkedWorker {
    pub(super) slot: SlotNumber,
    pub(super) owner: Generation,
    /// Signals are held back until it has put down what is the manager's.
    pub(super) blocked: SignalBlockGuard,
}

impl PreforkManager {
    /// The worker's side of a fork: everything of the manager's is put down.
    pub(crate) fn become_worker(self: Box<PreforkManager>, forked: ForkedWorker) -> Worker {
        let death_signal = self.death_signal();
        let stop_signals = self.traps.stop_signals();
        let sent: Vec<Signal> = self.traps.sent().into_iter().chain([death_signal]).collect();
        let PreforkManager {
            board,
            wakeup,
            children,
            signals,
            hooks,
            log,
            generation,
            manager_pid,
            ..
        } = *self;
        let ForkedWorker { slot, owner, blocked } = forked;
        let manager = manager_pid.get();
        // What they hold is the program's, and the manager's to drop.
        std::mem::forget(hooks);
        drop(children);
        drop(signals);
        manager_pid.transfer_to_worker();
        let parts = || -> Result<WorkerParts, Box<dyn std::error::Error>> {
            die_with_parent(death_signal, manager)?;
            let pid = Pid::this().as_raw().unsigned_abs();
            let wakeup = ManagerWakeup(wakeup);
            let seat = Seat::take(board.reader(), slot, owner, pid, now(), wakeup)?;
            let signals = SignalListener::new()?;
            seat.report(Status::Fresh, now())?;
            let log = log.clone();
            Ok(WorkerParts {
                seat,
                generation,
                manager,
                death_signal,
                stop_signals: stop_signals.clone(),
                signals,
                log,
            })
        };
        let parts = match parts() {
            Ok(parts) => parts,
            Err(reason) => {
                error!(log, "a worker cannot begin: {reason}"; "slot" => slot.get());
                exit_now(EXIT_START_FAILED);
            }
        };
        let caught = |signal: &&Signal| !matches!(signal, Signal::Kill | Signal::Stop);
        // Who has started the manager may have ignored or blocked what the manager sends.
        for signal in sent.iter().filter(caught) {
            // It can be handled, so it can be left alone.
            let _ = restore_default(*signal);
        }
        drop(blocked);
        let _ = unblock(&[sent, stop_signals].concat());
        Worker::new(parts)
    }

    fn death_signal(&self) -> Signal {
        self.death_signal.unwrap_or_else(|| self.traps.stop_signal())
    }
}
