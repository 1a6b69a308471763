//! The worker's side of a fork.

use daemon_core::{Generation, HEADER_LINES, Seat, SlotNumber, Status};
use daemon_sys::Signal;
use daemon_sys::process::{die_with_parent, exit_now, this_pid};
use daemon_sys::signals::{SignalBlockGuard, SignalListener, restore_default, unblock};
use slog::error;

use super::PreforkManager;
use crate::clock::now;
use crate::worker::{ManagerWakeup, Worker, WorkerParts};

/// Exit code of a worker that cannot start: `EX_OSERR` of sysexits(3).
const EXIT_START_FAILED: i32 = 71;

/// The slot of a new worker, and the signals that are blocked in it.
#[derive(Debug)]
pub(crate) struct ForkedWorker {
    pub(super) slot: SlotNumber,
    pub(super) owner: Generation,
    /// Signals stay blocked until the worker has dropped the manager's state.
    pub(super) blocked: SignalBlockGuard,
}

impl PreforkManager {
    /// Turns this process into a worker, and drops the manager's state.
    pub(crate) fn become_worker(self: Box<PreforkManager>, forked: ForkedWorker) -> Worker {
        let death_signal = self.death_signal();
        let stop_signals = self.traps.stop_signals();
        let sent: Vec<Signal> = self.traps.sent().into_iter().chain([death_signal]).collect();
        let PreforkManager {
            board,
            memory,
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
        // Values that the hooks own must be dropped in the manager only.
        std::mem::forget(hooks);
        drop(children);
        drop(signals);
        manager_pid.transfer_to_worker();
        let parts = || -> Result<WorkerParts, Box<dyn std::error::Error>> {
            die_with_parent(death_signal, manager)?;
            memory.make_read_only(HEADER_LINES)?;
            let pid = this_pid().as_u32();
            let wakeup = ManagerWakeup(wakeup.into_waker());
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
            Err(error) => {
                error!(log, "cannot start a worker"; "slot" => slot.get(), "error" => error.to_string());
                exit_now(EXIT_START_FAILED);
            }
        };
        let caught = |signal: &&Signal| !matches!(signal, Signal::Kill | Signal::Stop);
        // The process that started the manager may have ignored or blocked these signals.
        for signal in sent.iter().filter(caught) {
            // This cannot fail for a signal that can be handled.
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
