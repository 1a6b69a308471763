//! What the manager holds of its workers, and all that it does to them.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_core::{
    Armed, Calling, Dismissal, Exit, Generation, Moment, Phase, Scoreboard, Seat, SlotNumber,
    Status, explain,
};
use daemon_sys::bell::Bell;
use daemon_sys::fork::{Fork, flush_c_streams, fork};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{die_with_parent, exit_now};
use daemon_sys::reap::{self, Children, Ended};
use daemon_sys::signals::{Blocked, Ears, block_all, unblock};
use daemon_sys::{Pid, Signal};
use slog::{Logger, debug, error, info, warn};

use crate::clock::now;
use crate::error::{ConfigError, Error};
use crate::forward::{Forward, Traps, take_gravest};
use crate::hooks::{Hooks, Overview, Reaped};
use crate::rolling::Rolling;
use crate::settings::{Builder, Paces, Size};
use crate::staff::{Desk, End, Staff, Step};
use crate::worker::{Birth, Doorbell, Worker};

/// How long the manager is deaf to reports after it has heard one: so it wakes a bounded number of
/// times a second, however busy the workers are.
const DEAF: Duration = Duration::from_millis(5);

/// The exit code of a worker that cannot begin (`EX_OSERR` of sysexits.h).
const EXIT_UNBORN: i32 = 71;

/// The manager's side: the workers, and what is due.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) staff: Staff,
    pub(crate) board: Scoreboard,
    size: Size,
    paces: Paces,
    doorbell: Bell,
    /// When reports may ring again.
    listen_from: Moment,
    children: Children,
    slots: HashMap<Pid, SlotNumber>,
    ears: Ears,
    come: Vec<Signal>,
    traps: Traps,
    rolling: Option<Rolling>,
    death_signal: Option<Signal>,
    grace: Option<Duration>,
    ending: Ending,
    generation: u32,
    this: Pid,
    hooks: Hooks,
    log: Logger,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Workers are started.
    NotYet,
    /// They are waited for, without a limit.
    Waiting,
    /// Those that are left then are killed.
    KillAt(Moment),
    /// They were.
    Killed,
}

/// Why the number of workers is kept up no longer.
pub(crate) enum Kept {
    /// This trapped signal has come, and was passed on.
    Signal(Signal),
    /// This process is a new worker.
    Newborn(Newborn),
}

/// Which side of a fork this is.
enum Forked {
    /// The manager's: there is a worker more, or it will be tried again.
    InManager,
    /// The new worker's.
    InWorker(Newborn),
}

/// What a new worker knows of itself.
#[derive(Debug)]
pub(crate) struct Newborn {
    slot: SlotNumber,
    owner: Generation,
    /// Signals are held back until it has put down what is the manager's.
    blocked: Blocked,
}

impl Crew {
    pub(crate) fn new(
        builder: Builder,
        size: Size,
        board: Scoreboard,
    ) -> Result<Crew, ConfigError> {
        let Builder { paces, traps, death_signal, grace, hooks, log, .. } = builder;
        let crew = Crew {
            staff: Staff::new(size, paces, board.slots()),
            board,
            size,
            paces,
            doorbell: Bell::new()?,
            listen_from: Moment::ZERO,
            children: Children::new()?,
            slots: HashMap::new(),
            ears: Ears::new()?,
            come: Vec::new(),
            traps,
            rolling: None,
            death_signal,
            grace,
            ending: Ending::NotYet,
            generation: 0,
            this: Pid::this(),
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
        self.ears.heed(&signals)?;
        unblock(&signals)
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    pub(crate) fn set_size(&mut self, size: Size) -> Result<(), ConfigError> {
        let (Size::Fixed { max_workers } | Size::Spare { max_workers, .. }) = size.checked()?;
        let slots = self.board.slots();
        if max_workers > slots {
            return Err(ConfigError::NoRoom { max_workers, slots });
        }
        self.size = size;
        self.staff.set(size, self.paces);
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
        self.ears.forgo(&dropped.collect::<Vec<_>>());
        Ok(())
    }

    /// Keeps the number of workers up until a trapped signal has come, and passes it on; in a worker
    /// that is born meanwhile it ends with that.
    pub(crate) fn keep_up(&mut self) -> Result<Kept, Error> {
        self.generation = self.generation.wrapping_add(1);
        self.ending = Ending::NotYet;
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
                    Forked::InWorker(newborn) => return Ok(Kept::Newborn(newborn)),
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
            manager_pid: self.this,
            generation: self.generation,
            num_workers: self.staff.workers(),
            num_active_workers: self.staff.active(),
        }
    }

    /// Takes a trapped signal that has come, the gravest first.
    pub(crate) fn take_signal(&mut self) -> Option<Signal> {
        take_gravest(&mut self.come)
    }

    /// Takes in all that has happened, and does what is due. It does not wait.
    pub(crate) fn hear(&mut self) -> Result<(), Error> {
        for signal in self.ears.drain() {
            if signal == Signal::Child {
                self.reap()?;
            } else if !self.come.contains(&signal) {
                self.come.push(signal);
            }
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

    /// Waits until something happens or is due, at the latest until then.
    pub(crate) fn rest(&mut self, until: Option<Moment>) -> Result<(), Error> {
        let due = self.rolling.as_ref().and_then(Rolling::due);
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
        let fds = [(self.ears.as_fd(), Interest::Read), (self.doorbell.as_fd(), Interest::Read)];
        let [_ears, doorbell] = wait(&fds, timeout)?;
        if self.reports_matter() {
            self.board.disarm();
        }
        if doorbell.can_read() {
            self.doorbell.hush();
            self.listen_from = now() + DEAF;
        }
        Ok(())
    }

    /// Whether how many are idle decides on how many there are, and is to be decided.
    fn reports_matter(&self) -> bool {
        match (self.size, self.ending) {
            (Size::Spare { .. }, Ending::NotYet) => true,
            (Size::Fixed { .. }, _)
            | (Size::Spare { .. }, Ending::Waiting | Ending::KillAt(_) | Ending::Killed) => false,
        }
    }

    fn fork(&mut self, slot: SlotNumber) -> Result<Forked, Error> {
        let overview = self.overview();
        if let Some(hook) = &mut self.hooks.before_fork {
            hook(&overview);
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
            Ok(Fork::Child) => Ok(Forked::InWorker(Newborn { slot, owner, blocked })),
            Ok(Fork::Parent(pid)) => {
                self.children.add(pid);
                self.slots.insert(pid, slot);
                drop(blocked);
                if let Some(hook) = &mut self.hooks.after_fork {
                    hook(&overview, pid);
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
                if refusal.is_shortage() {
                    warn!(self.log, "{refusal}: it will be tried again");
                    Ok(Forked::InManager)
                } else {
                    Err(refusal.into())
                }
            }
        }
    }

    /// The worker's side of a fork: everything of the manager's is put down.
    pub(crate) fn become_worker(self: Box<Crew>, newborn: Newborn) -> Worker {
        let farewell = self.traps.farewell();
        let Crew { board, doorbell, children, ears, hooks, log, generation, this, .. } = *self;
        let Newborn { slot, owner, blocked } = newborn;
        // What they hold is the program's, and the manager's to drop.
        std::mem::forget(hooks);
        drop(children);
        drop(ears);
        let birth = || -> Result<Birth, Box<dyn std::error::Error>> {
            die_with_parent(self.death_signal.unwrap_or(farewell), this)?;
            let pid = Pid::this().as_raw().unsigned_abs();
            let bell = Doorbell(doorbell);
            let seat = Seat::take(board.board(), slot, owner, pid, now(), bell)?;
            let ears = Ears::new()?;
            seat.report(Status::Fresh, now())?;
            Ok(Birth { seat, generation, manager: this, farewell, ears, log: log.clone() })
        };
        let birth = match birth() {
            Ok(birth) => birth,
            Err(why) => {
                error!(log, "a worker cannot begin: {why}"; "slot" => slot.get());
                exit_now(EXIT_UNBORN);
            }
        };
        drop(blocked);
        Worker::new(birth)
    }

    /// Tells workers to leave, since they are too many.
    fn retire(&mut self, slots: &[SlotNumber]) {
        let farewell = self.traps.farewell();
        for slot in slots {
            self.signal(*slot, farewell);
            self.staff.dismissed(*slot, Dismissal::Retired);
        }
        debug!(self.log, "{} workers too many: {farewell}", slots.len());
    }

    /// Passes a trapped signal on.
    pub(crate) fn forward(&mut self, signal: Signal) {
        let workers = self.staff.workers();
        match self.traps.forward(signal) {
            Forward::Nothing => info!(self.log, "{signal} has come"; "workers" => workers),
            Forward::To(forwarded) => {
                info!(self.log, "{signal} has come: {forwarded} to all"; "workers" => workers);
                self.signal_all(forwarded);
            }
            Forward::OneByOne(forwarded, interval) => {
                info!(
                    self.log, "{signal} has come: {forwarded} to one after another, {interval:?} apart";
                    "workers" => workers
                );
                let places = self.staff.living().map(|(slot, desk, _)| (slot, desk.owner));
                self.rolling = Some(Rolling::new(forwarded, interval, places, now()));
                self.roll();
            }
        }
    }

    pub(crate) fn signal_all(&mut self, signal: Signal) {
        let slots: Vec<SlotNumber> = self.staff.living().map(|(slot, ..)| slot).collect();
        for slot in slots {
            self.signal_and_note(slot, signal);
        }
    }

    fn signal_and_note(&mut self, slot: SlotNumber, signal: Signal) {
        self.signal(slot, signal);
        if matches!(signal, Signal::Term | Signal::Int | Signal::Quit | Signal::Kill)
            || signal == self.traps.farewell()
        {
            self.staff.dismissed(slot, self.dismissal());
        }
    }

    fn dismissal(&self) -> Dismissal {
        match self.ending {
            Ending::NotYet => Dismissal::Retired,
            Ending::Waiting | Ending::KillAt(_) | Ending::Killed => Dismissal::Stopping,
        }
    }

    fn signal(&self, slot: SlotNumber, signal: Signal) {
        if let Some(pid) = self.staff.desk(slot).and_then(|desk| desk.pid)
            && let Err(why) = self.children.signal(pid, signal)
        {
            warn!(self.log, "{why}"; "slot" => slot.get());
        }
    }

    /// Sends the signal that goes from one worker to the next, if it is due.
    fn roll(&mut self) {
        while let Some(rolling) = &mut self.rolling {
            let staff = &self.staff;
            let is_alive = |(slot, owner)| staff.desk(slot).is_some_and(|desk| desk.owner == owner);
            let (place, signal) = (rolling.take(now(), is_alive), rolling.signal());
            if rolling.due().is_none() {
                self.rolling = None;
            }
            let Some((slot, _)) = place else { return };
            self.signal_and_note(slot, signal);
        }
    }

    /// Reaps the workers that have ended, and no other child of this process.
    fn reap(&mut self) -> Result<(), Error> {
        for Ended { pid, exit } in self.children.take_ended()? {
            let slot = self.slots.remove(&pid);
            let desk = slot.and_then(|slot| self.staff.desk(slot).copied());
            if let (Some(slot), Some(desk)) = (slot, desk) {
                self.note_gone(slot, desk, pid, exit);
            }
        }
        Ok(())
    }

    fn note_gone(&mut self, slot: SlotNumber, desk: Desk, pid: Pid, exit: Option<reap::Exit>) {
        let time = now();
        let last = self.board.close(slot, time);
        // Exit code 0 says that all is well, whoever has made it, as in the original.
        let last = match exit {
            Some(reap::Exit::Code(0)) => Status::Leaving,
            Some(_) | None => last.status.unwrap_or(Status::Empty),
        };
        let cause = explain(told(exit), last, desk.dismissed, Calling::OneRequest);
        self.board.departed(slot, cause);
        let is_good =
            cause.is_regular() || desk.dismissed.is_some() || desk.generation != self.generation;
        let end = if is_good { End::Good } else { End::Bad };
        self.staff.gone(slot, end, time);
        let lived = time.saturating_since(desk.born);
        match end {
            End::Good => debug!(self.log, "worker {pid} is gone: {cause}"; "slot" => slot.get()),
            End::Bad => warn!(
                self.log, "worker {pid} is gone: {cause}";
                "slot" => slot.get(), "lived" => ?lived
            ),
        }
        let overview = self.overview();
        if let Some(hook) = &mut self.hooks.on_child_reap {
            let generation = desk.generation;
            hook(&overview, &Reaped { pid, slot, generation, exit, cause, lived });
        }
    }

    /// Nobody is forked from now on: those who were told to go make room for nobody.
    pub(crate) fn begin_ending(&mut self) {
        if self.ending != Ending::NotYet {
            return;
        }
        self.ending = match self.grace {
            Some(grace) => Ending::KillAt(now() + grace),
            None => Ending::Waiting,
        };
        self.board.set_phase(Phase::Stopping);
        let told = self.staff.living().filter(|(_, desk, _)| desk.dismissed.is_some());
        let told: Vec<SlotNumber> = told.map(|(slot, ..)| slot).collect();
        for slot in told {
            self.staff.dismissed(slot, Dismissal::Stopping);
        }
    }

    /// Kills those that are left when their time is over; tells until when they have, if they have.
    pub(crate) fn kill_overdue(&mut self) -> Option<Moment> {
        match self.ending {
            Ending::KillAt(time) if now() < time => Some(time),
            Ending::KillAt(_) => {
                warn!(
                    self.log, "the workers that are left are killed";
                    "workers" => self.staff.workers()
                );
                self.ending = Ending::Killed;
                self.signal_all(Signal::Kill);
                None
            }
            Ending::NotYet | Ending::Waiting | Ending::Killed => None,
        }
    }

    pub(crate) fn note_end(&self) {
        if self.staff.workers() == 0 {
            self.board.set_phase(Phase::Stopped);
        }
    }
}

/// How a process ended, in the words of the rules.
fn told(exit: Option<reap::Exit>) -> Exit {
    match exit {
        Some(reap::Exit::Code(code)) => Exit::Code(code),
        Some(reap::Exit::Signal { number, core }) => Exit::Signal { number, core },
        None => Exit::Unknown,
    }
}
