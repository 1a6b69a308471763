//! What the manager holds of its workers, and all that it does to them.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_core::{Armed, MonotonicTime, Phase, Scoreboard, SlotNumber, Status};
use daemon_sys::fork::{ForkResult, flush_c_streams, fork};
use daemon_sys::poll::{Interest, Ready, wait};
use daemon_sys::reap::ChildSet;
use daemon_sys::signals::{SignalListener, block_all, unblock};
use daemon_sys::wakeup::Wakeup;
use daemon_sys::{Pid, Signal};
use slog::{Logger, debug, warn};

use crate::clock::now;
use crate::error::{ConfigError, Error};
use crate::forward::{Traps, take_gravest};
use crate::hooks::{Hooks, Overview};
use crate::reign::Reign;
use crate::rolling::{Place, Rolling};
use crate::settings::{Paces, PreforkBuilder, Size};
use crate::staff::{Staff, Step};

mod birth;
mod ends;
mod signalling;

pub(crate) use birth::ForkedChild;

/// How long the manager is deaf to reports after it has heard one: so it wakes a bounded number of
/// times a second, however busy the workers are.
const DEAF: Duration = Duration::from_millis(5);

/// Whether workers have ended that are not reaped yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Departures {
    #[default]
    None,
    Some,
}

/// The manager's side: the workers, and what is due.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) staff: Staff,
    pub(crate) board: Scoreboard,
    size: Size,
    paces: Paces,
    doorbell: Wakeup,
    /// When reports may ring again.
    listen_from: MonotonicTime,
    /// Whether somebody has ended since it was looked last.
    ended: Departures,
    children: ChildSet,
    slots: HashMap<Pid, SlotNumber>,
    ears: SignalListener,
    come: Vec<Signal>,
    traps: Traps,
    /// Signals on their way from worker to worker, one of each kind.
    rolling: Vec<Rolling>,
    death_signal: Option<Signal>,
    grace: Option<Duration>,
    ending: Ending,
    /// Who is killed if it has not left by then, in the order of time.
    overdue: VecDeque<(MonotonicTime, Place)>,
    generation: u32,
    reign: Reign,
    hooks: Hooks,
    log: Logger,
}

/// Whether workers are started, or waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// They are started.
    NotYet,
    /// They are waited for.
    Waiting,
}

/// Why the number of workers is kept up no longer.
pub(crate) enum Kept {
    /// This trapped signal has come, and was passed on.
    Signal(Signal),
    /// This process is a new worker.
    ForkedChild(ForkedChild),
}

/// Which side of a fork this is.
enum Forked {
    /// The manager's: there is a worker more, or it will be tried again.
    InManager,
    /// The new worker's.
    InWorker(ForkedChild),
}

impl Crew {
    pub(crate) fn new(
        builder: PreforkBuilder,
        size: Size,
        board: Scoreboard,
        reign: Reign,
    ) -> Result<Crew, ConfigError> {
        let PreforkBuilder { paces, traps, death_signal, grace, hooks, log, .. } = builder;
        board.show(size.max_workers());
        let crew = Crew {
            staff: Staff::new(size, paces, board.slots()),
            board,
            size,
            paces,
            doorbell: Wakeup::new()?,
            listen_from: MonotonicTime::ZERO,
            ended: Departures::None,
            children: ChildSet::new()?,
            slots: HashMap::new(),
            ears: SignalListener::new()?,
            come: Vec::new(),
            traps,
            rolling: Vec::new(),
            death_signal,
            grace,
            ending: Ending::NotYet,
            overdue: VecDeque::new(),
            generation: 0,
            reign,
            hooks,
            log,
        };
        crew.listen()?;
        Ok(crew)
    }

    /// Sets the handlers, and lets the signals through: who started this process may have blocked
    /// some.
    fn listen(&self) -> Result<(), daemon_sys::Error> {
        let mut signals = self.traps.signals();
        signals.push(Signal::Child);
        self.ears.handle(&signals)?;
        unblock(&signals)
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    pub(crate) fn set_size(&mut self, size: Size) -> Result<(), ConfigError> {
        let max_workers = size.checked()?.max_workers();
        let slots = self.board.slots();
        if max_workers > slots {
            return Err(ConfigError::NoRoom { max_workers, slots });
        }
        self.size = size;
        self.staff.set(size, self.paces);
        self.board.show(max_workers);
        Ok(())
    }

    pub(crate) fn paces(&self) -> Paces {
        self.paces
    }

    pub(crate) fn set_paces(&mut self, paces: Paces) {
        self.paces = paces;
        self.staff.set(self.size, paces);
    }

    pub(crate) fn set_traps(&mut self, traps: Traps) -> Result<(), ConfigError> {
        let trapped = traps.signals();
        let former = std::mem::replace(&mut self.traps, traps).signals();
        self.listen()?;
        let dropped = former.into_iter().filter(|signal| !trapped.contains(signal));
        self.ears.restore_default(&dropped.collect::<Vec<_>>());
        self.come.retain(|signal| trapped.contains(signal));
        Ok(())
    }

    /// Keeps the number of workers up until a trapped signal has come, and passes it on; in a worker
    /// that is born meanwhile it ends with that.
    pub(crate) fn keep_up(&mut self) -> Result<Kept, Error> {
        self.generation = self.generation.wrapping_add(1);
        // The program may have detached since the last time.
        self.reign.renew();
        self.ending = Ending::NotYet;
        self.overdue.clear();
        self.staff.begin();
        self.board.set_phase(Phase::Running);
        loop {
            self.hear()?;
            if let Some(signal) = self.take_signal() {
                self.forward(signal);
                return Ok(Kept::Signal(signal));
            }
            match self.staff.next(now()) {
                Step::Retire(slots) => self.retire(&slots),
                Step::Rest(until) => self.rest(until)?,
                Step::Fork(slot) => match self.fork(slot)? {
                    Forked::InManager => {}
                    Forked::InWorker(newborn) => return Ok(Kept::ForkedChild(newborn)),
                },
            }
        }
    }

    pub(crate) fn count_active(&self) -> u32 {
        let is_busy = |status: &Status| status.is_busy();
        let busy = self.board.entries().filter(|entry| entry.status.as_ref().is_some_and(is_busy));
        u32::try_from(busy.count()).unwrap_or(u32::MAX)
    }

    fn overview(&self) -> Overview {
        Overview {
            manager_pid: self.reign.pid(),
            generation: self.generation,
            num_workers: self.staff.workers(),
            num_active_workers: self.count_active(),
        }
    }

    /// Takes a trapped signal that has come, the gravest first.
    pub(crate) fn take_signal(&mut self) -> Option<Signal> {
        take_gravest(&mut self.come)
    }

    /// Takes in all that has happened, and does what is due. It does not wait.
    pub(crate) fn hear(&mut self) -> Result<(), Error> {
        let mut ended = std::mem::take(&mut self.ended);
        for signal in self.ears.drain() {
            if signal == Signal::Child {
                ended = Departures::Some;
            } else if !self.come.contains(&signal) {
                self.come.push(signal);
            }
        }
        match ended {
            Departures::Some => self.reap()?,
            Departures::None => {}
        }
        self.take_in_reports();
        self.roll();
        Ok(())
    }

    fn take_in_reports(&mut self) {
        let Crew { board, staff, .. } = self;
        board.drain_changes(|slot| {
            if let Some(status) = board.read(slot).status {
                staff.seen(slot, status);
            }
        });
    }

    /// Waits until something happens or is due, at the latest until then; to
    /// [hear](Crew::hear) what has happened is the caller's next act.
    pub(crate) fn rest(&mut self, until: Option<MonotonicTime>) -> Result<(), Error> {
        let due = self.rolling.iter().filter_map(Rolling::due);
        let mut until = until.into_iter().chain(due).min();
        let start = now();
        if self.reports_matter() {
            if start < self.listen_from {
                until = until.into_iter().chain([self.listen_from]).min();
            } else if self.board.arm() == Armed::ChangesWaiting {
                return Ok(());
            }
        }
        let timeout = until.map(|until| until.saturating_since(start));
        let (doorbell, children) = self.sleep(timeout)?;
        if self.reports_matter() {
            self.board.disarm();
        }
        if doorbell.is_readable() {
            self.doorbell.clear();
            self.listen_from = now() + DEAF;
        }
        // Where they tell by themselves, it does not take the signal, which a library may have taken.
        if children.is_readable() {
            self.ended = Departures::Some;
        }
        Ok(())
    }

    /// Sleeps until a signal comes, the doorbell rings or a child ends; tells of the latter two.
    fn sleep(&self, timeout: Option<Duration>) -> Result<(Ready, Ready), Error> {
        let ears = (self.ears.as_fd(), Interest::Read);
        let doorbell = (self.doorbell.as_fd(), Interest::Read);
        Ok(match self.children.descriptor() {
            Some(children) => {
                let children = (children, Interest::Read);
                let [_ears, doorbell, children] = wait(&[ears, doorbell, children], timeout)?;
                (doorbell, children)
            }
            None => {
                let [_ears, doorbell] = wait(&[ears, doorbell], timeout)?;
                (doorbell, Ready::default())
            }
        })
    }

    /// Whether how many are idle decides on how many there are, and is to be decided.
    fn reports_matter(&self) -> bool {
        match (self.size, self.ending) {
            (Size::Spare { .. }, Ending::NotYet) => true,
            (Size::Fixed { .. }, _) | (Size::Spare { .. }, Ending::Waiting) => false,
        }
    }

    fn fork(&mut self, slot: SlotNumber) -> Result<Forked, Error> {
        let overview = self.hooks.are_told_of_forks().then(|| self.overview());
        if let (Some(hook), Some(overview)) = (&mut self.hooks.before_fork, &overview) {
            hook(overview);
        }
        // What is printed and not written yet would be written by both.
        let _ = std::io::stdout().flush();
        flush_c_streams();
        let time = now();
        let owner = match self.board.order(slot, time) {
            Ok(owner) => owner,
            Err(report) => {
                // Something has written over a line that nobody has: it is wiped, and tried again.
                warn!(self.log, "{report}");
                self.board.close(slot, time);
                return Ok(Forked::InManager);
            }
        };
        self.staff.ordered(slot, owner, self.generation, time);
        let blocked = block_all()?;
        match fork() {
            Ok(ForkResult::Child) => Ok(Forked::InWorker(ForkedChild { slot, owner, blocked })),
            Ok(ForkResult::Parent(pid)) => {
                self.children.add(pid);
                self.slots.insert(pid, slot);
                drop(blocked);
                if let (Some(hook), Some(overview)) = (&mut self.hooks.after_fork, &overview) {
                    hook(overview, pid);
                }
                self.staff.forked(slot, pid);
                debug!(self.log, "worker {pid} is born"; "slot" => slot.get());
                Ok(Forked::InManager)
            }
            Err(refusal) => {
                drop(blocked);
                let time = now();
                self.board.close(slot, time);
                self.staff.refused(slot, time);
                if refusal.is_resource_shortage() {
                    warn!(self.log, "{refusal}: it will be tried again");
                    Ok(Forked::InManager)
                } else {
                    Err(refusal.into())
                }
            }
        }
    }
}
