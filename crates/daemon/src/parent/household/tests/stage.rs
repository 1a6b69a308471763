//! A household on a stage: a fork server of notes, made-up pids, a clock that is moved by hand.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use daemon_core::{
    Board, Counts, Exit, Line, MonotonicTime, Scoreboard, Seat, SlotNumber, Status, WakeParent,
    lines_for,
};
use daemon_forkserver::{ChildId, ForkError, ForkRefusal, ForkServerError, ForkServerEvent};
use daemon_sys::process::{Pid, Signal};
use futures::channel::oneshot;

use crate::messages::{HandOverError, HandedOver};
use crate::model::Model;
use crate::parent::hands::{Hands, Memory};
use crate::parent::household::{Household, Notice, Times};
use crate::parent::reception::Guest;

/// EAGAIN, as the fork server tells it.
pub(super) const AGAIN: ForkRefusal = ForkRefusal::System(11);
pub(super) const GRACE: Duration = Duration::from_secs(7);
pub(super) const BOOT_TIMEOUT: Duration = Duration::from_secs(30);

/// Who hears nothing.
#[derive(Debug)]
pub(super) struct Silent;

impl WakeParent for Silent {
    fn wake(&self) {}
}

/// What was ordered, and a fork server's bookkeeping of seats.
pub(super) struct Notes<R> {
    scoreboard: Scoreboard,
    free: BinaryHeap<Reverse<u32>>,
    next_pid: i32,
    /// Orders that were not answered yet, the oldest first.
    pub(super) orders: VecDeque<(ChildId, R)>,
    pub(super) alive: HashMap<ChildId, (Pid, Seat<Silent>)>,
    /// Signals to one child, since the last look.
    pub(super) signals: Vec<(ChildId, Signal)>,
    /// Signals to all, since the last look.
    pub(super) to_all: Vec<Signal>,
    pub(super) release: u32,
    pub(super) looked_for: Vec<ChildId>,
    pub(super) memory: Memory,
}

impl<R> Notes<R> {
    fn new(slots: u32, now: MonotonicTime) -> Self {
        let lines = lines_for(slots).unwrap();
        let lines = Box::leak((0..lines).map(|_line| Line::new()).collect::<Box<[Line]>>());
        Notes {
            scoreboard: Scoreboard::format(lines, slots, now).unwrap(),
            free: (0..slots).map(Reverse).collect(),
            next_pid: 1000,
            orders: VecDeque::new(),
            alive: HashMap::new(),
            signals: Vec::new(),
            to_all: Vec::new(),
            release: 0,
            looked_for: Vec::new(),
            memory: Memory::Lasts,
        }
    }

    /// Children that are ordered or alive.
    pub(super) fn children(&self) -> u32 {
        u32::try_from(self.orders.len() + self.alive.len()).unwrap()
    }
}

impl<R> Hands<R> for Notes<R> {
    fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>> {
        let Some(Reverse(slot)) = self.free.pop() else {
            let slots = self.scoreboard.slots();
            let reason = ForkServerError::Full { slots };
            return Err(ForkError { request, reason });
        };
        let slot = SlotNumber::new(slot);
        let generation = self.scoreboard.order(slot, MonotonicTime::ZERO).unwrap();
        let child = ChildId { slot, generation };
        self.orders.push_back((child, request));
        Ok(child)
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        self.signals.push((child, signal));
    }

    fn signal_all(&mut self, signal: Signal) {
        self.to_all.push(signal);
    }

    fn release(&mut self) {
        self.release += 1;
    }

    fn check_child(&mut self, child: ChildId) {
        self.looked_for.push(child);
    }

    fn memory(&mut self) -> Memory {
        std::mem::replace(&mut self.memory, Memory::Lasts)
    }

    fn board(&self) -> Board {
        self.scoreboard.board()
    }
}

/// The answer to a request that was handed over.
pub(super) type Answer<R> = oneshot::Receiver<Result<HandedOver, HandOverError<R>>>;

/// A household, its hands and its clock; and what it has told.
pub(super) struct Stage<R> {
    pub(super) house: Household<R>,
    pub(super) hands: Notes<R>,
    pub(super) now: MonotonicTime,
    pub(super) told: Vec<Notice>,
}

impl<R: 'static> Stage<R> {
    /// Sets up a household that has not been settled yet.
    pub(super) fn of(model: impl Model<R>) -> Self {
        let now = MonotonicTime::from_since_boot(Duration::from_secs(1000));
        let rules = model.check().unwrap().0;
        let hands = Notes::new(rules.slots(), now);
        let times = Times { grace: GRACE, boot_timeout: BOOT_TIMEOUT };
        Stage { house: Household::new(rules, times, now).unwrap(), hands, now, told: Vec::new() }
    }

    /// Has the household act, checks what must hold at any time, and keeps what it told.
    pub(super) fn act<T>(
        &mut self,
        act: impl FnOnce(&mut Household<R>, &mut Notes<R>, MonotonicTime) -> T,
    ) -> T {
        let before = self.hands.children();
        let result = act(&mut self.house, &mut self.hands, self.now);
        self.told.extend(self.house.notices());
        let registry = self.house.registry();
        let given_up = registry.records().filter(|record| record.seen == Status::Empty).count();
        let counted = self.hands.children() - u32::try_from(given_up).unwrap();
        let most = self.house.max_children().max(before);
        assert!(counted <= most, "more children than may be");
        let seen: Counts = registry.records().map(|record| record.seen).collect();
        assert_eq!(registry.census(), &seen);
        assert_eq!(registry.census().children(), counted);
        result
    }

    pub(super) fn settle(&mut self) {
        self.act(Household::settle);
    }

    pub(super) fn later(&mut self, time: Duration) {
        self.now = self.now + time;
        self.settle();
    }

    /// Moves on to when the household wants to be asked again.
    pub(super) fn wake(&mut self) {
        let wake = self.house.next_wake().expect("it waits for something");
        self.now = self.now.max(wake);
        self.settle();
    }

    fn event(&mut self, event: ForkServerEvent<R>) {
        self.act(|house, hands, now| {
            house.report(event, hands, now);
            house.settle(hands, now);
        });
    }

    /// The oldest order is carried out.
    pub(super) fn born(&mut self) -> ChildId {
        let (child, _request) = self.hands.orders.pop_front().expect("an order");
        self.hands.next_pid += 1;
        let pid = Pid::from_raw(self.hands.next_pid).unwrap();
        let seat = Seat::take(
            self.hands.board(),
            child.slot,
            child.generation,
            pid.as_raw().unsigned_abs(),
            self.now,
            Silent,
        )
        .unwrap();
        self.hands.alive.insert(child, (pid, seat));
        self.event(ForkServerEvent::Born { child, pid });
        child
    }

    /// The oldest order fails.
    pub(super) fn fork_fails(&mut self, refusal: ForkRefusal) {
        let (child, request) = self.hands.orders.pop_front().expect("an order");
        self.hands.scoreboard.close(child.slot, self.now);
        self.hands.free.push(Reverse(child.slot.get()));
        self.event(ForkServerEvent::ForkFailed { child, request, refusal });
    }

    /// A child reports on its line, if it may, and the parent takes it in.
    pub(super) fn does(&mut self, child: ChildId, status: Status) {
        let (_pid, seat) = &self.hands.alive[&child];
        if seat.report(status, self.now).is_ok() {
            let entry = self.hands.board().read(child.slot);
            self.act(|house, hands, now| {
                house.changed(&entry);
                house.settle(hands, now);
            });
        }
    }

    pub(super) fn dies(&mut self, child: ChildId, exit: Exit) {
        let (pid, _seat) = self.hands.alive.remove(&child).expect("it lives");
        let last = self.hands.scoreboard.close(child.slot, self.now);
        self.hands.free.push(Reverse(child.slot.get()));
        self.event(ForkServerEvent::Exited { child, pid, exit, last });
    }

    /// A child leaves as it should.
    pub(super) fn leaves(&mut self, child: ChildId) {
        self.does(child, Status::Leaving);
        self.dies(child, Exit::Code(0));
    }

    pub(super) fn is_killed(&mut self, child: ChildId) {
        self.dies(child, Exit::Signal { number: 9, core: false });
    }

    /// All orders are carried out, and the children become ready.
    pub(super) fn all_ready(&mut self) -> Vec<ChildId> {
        let mut ready = Vec::new();
        while !self.hands.orders.is_empty() {
            let child = self.born();
            self.does(child, Status::Fresh);
            ready.push(child);
        }
        ready
    }

    pub(super) fn hand_over(&mut self, request: R) -> Answer<R> {
        let (reply, answer) = oneshot::channel();
        self.act(|house, hands, now| house.hand_over(Guest::new(request, reply), hands, now));
        answer
    }

    /// Takes the notices of one kind out of those that were told.
    pub(super) fn told<T>(&mut self, kind: impl Fn(&Notice) -> Option<T>) -> Vec<T> {
        let all = std::mem::take(&mut self.told);
        all.iter().filter_map(kind).collect()
    }

    /// The children that were signalled since the last look.
    pub(super) fn signalled(&mut self, wanted: Signal) -> Vec<ChildId> {
        std::mem::take(&mut self.hands.signals)
            .into_iter()
            .map(|(child, signal)| {
                assert_eq!(signal, wanted);
                child
            })
            .collect()
    }
}
