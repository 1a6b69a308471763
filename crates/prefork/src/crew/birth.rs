//! The worker's side of a fork.

use daemon_core::{Generation, Seat, SlotNumber, Status};
use daemon_sys::process::{die_with_parent, exit_now};
use daemon_sys::signals::{SignalBlockGuard, SignalListener, restore_default, unblock};
use daemon_sys::{Pid, Signal};
use slog::error;

use super::Crew;
use crate::clock::now;
use crate::worker::{ChildStart, ParentWakeup, Worker};

/// The exit code of a worker that cannot begin (`EX_OSERR` of sysexits.h).
const EXIT_UNBORN: i32 = 71;

/// What a new worker knows of itself.
#[derive(Debug)]
pub(crate) struct ForkedChild {
    pub(super) slot: SlotNumber,
    pub(super) owner: Generation,
    /// Signals are held back until it has put down what is the manager's.
    pub(super) blocked: SignalBlockGuard,
}

impl Crew {
    /// The worker's side of a fork: everything of the manager's is put down.
    pub(crate) fn become_worker(self: Box<Crew>, newborn: ForkedChild) -> Worker {
        let death_signal = self.death_signal();
        let hints = self.traps.hints();
        let sent: Vec<Signal> = self.traps.sent().into_iter().chain([death_signal]).collect();
        let Crew { board, doorbell, children, ears, hooks, log, generation, reign, .. } = *self;
        let ForkedChild { slot, owner, blocked } = newborn;
        let manager = reign.pid();
        // What they hold is the program's, and the manager's to drop.
        std::mem::forget(hooks);
        drop(children);
        drop(ears);
        reign.hand_over();
        let birth = || -> Result<ChildStart, Box<dyn std::error::Error>> {
            die_with_parent(death_signal, manager)?;
            let pid = Pid::this().as_raw().unsigned_abs();
            let bell = ParentWakeup(doorbell);
            let seat = Seat::take(board.board(), slot, owner, pid, now(), bell)?;
            let ears = SignalListener::new()?;
            seat.report(Status::Fresh, now())?;
            let log = log.clone();
            Ok(ChildStart {
                seat,
                generation,
                manager,
                death_signal,
                hints: hints.clone(),
                ears,
                log,
            })
        };
        let birth = match birth() {
            Ok(birth) => birth,
            Err(why) => {
                error!(log, "a worker cannot begin: {why}"; "slot" => slot.get());
                exit_now(EXIT_UNBORN);
            }
        };
        let caught = |signal: &&Signal| !matches!(signal, Signal::Kill | Signal::Stop);
        // Who has started the manager may have ignored or blocked what the manager sends.
        for signal in sent.iter().filter(caught) {
            // It can be handled, so it can be left alone.
            let _ = restore_default(*signal);
        }
        drop(blocked);
        let _ = unblock(&[sent, hints].concat());
        Worker::new(birth)
    }

    fn death_signal(&self) -> Signal {
        self.death_signal.unwrap_or_else(|| self.traps.farewell())
    }
}
