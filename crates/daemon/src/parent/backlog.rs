//! The post-forking model: a request comes, and is forked for, waits, or goes back.

use std::collections::{HashMap, VecDeque};

use daemon_core::{AcceptChange, AcceptState, Admission, OperatorPause, Phase, PoolLoad, admit};
use daemon_forkserver::{ChildId, ForkError, ForkRefusal, ForkServerError};
use daemon_sys::process::Pid;
use futures::channel::oneshot;

use crate::messages::{HandOverError, HandOverErrorReason, HandedOver};

/// Where the answer to a `HandOver` goes.
pub(crate) type Reply<R> = oneshot::Sender<Result<HandedOver, HandOverError<R>>>;

/// A request and who waits for word of it.
#[derive(Debug)]
pub(crate) struct PendingRequest<R> {
    pub(super) request: R,
    pub(super) reply: Reply<R>,
    /// Who came earlier has the smaller one, and keeps it when its fork fails.
    pub(super) turn: u64,
}

impl<R> PendingRequest<R> {
    pub(crate) fn new(request: R, reply: Reply<R>) -> Self {
        PendingRequest { request, reply, turn: 0 }
    }

    /// Gives the request back.
    pub(crate) fn hand_back(self, why: HandOverErrorReason) {
        // Who has dropped the answer has dropped its interest in the request.
        let _ = self.reply.send(Err(HandOverError { request: self.request, reason: why }));
    }
}

/// The door, and who waits behind it.
#[derive(Debug)]
pub(crate) struct Backlog<R> {
    accept: AcceptState,
    pub(crate) operator_pause: OperatorPause,
    pub(crate) max_children: u32,
    pub(crate) backlog: u32,
    /// In order of their turns.
    waiting: VecDeque<PendingRequest<R>>,
    next_turn: u64,
    /// Who is told when the child is born, and whose turn it was.
    replies: HashMap<ChildId, (Reply<R>, u64)>,
    handed_back: u64,
}

/// Whether the next guest may be forked for when one could not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForkLoop {
    /// It was about this guest alone.
    Continue,
    /// Nobody can be forked for now.
    Stop,
}

impl<R> Backlog<R> {
    pub(crate) fn new(max_children: u32, backlog: u32) -> Self {
        Backlog {
            accept: AcceptState::Accepting,
            operator_pause: OperatorPause::Off,
            max_children,
            backlog,
            waiting: VecDeque::new(),
            next_turn: 0,
            replies: HashMap::new(),
            handed_back: 0,
        }
    }

    pub(crate) fn accept_state(&self) -> AcceptState {
        self.accept
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many requests have gone back to who had sent them.
    pub(crate) fn handed_back(&self) -> u64 {
        self.handed_back
    }

    fn hand_back(&mut self, pending: PendingRequest<R>, why: HandOverErrorReason) {
        self.handed_back += 1;
        pending.hand_back(why);
    }

    /// Whether all who came have been answered.
    pub(crate) fn is_served(&self) -> bool {
        self.waiting.is_empty() && self.replies.is_empty()
    }

    fn traffic(&self, children: u32, phase: Phase) -> PoolLoad {
        PoolLoad {
            children,
            max_children: self.max_children,
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            phase,
            operator_pause: self.operator_pause,
        }
    }

    /// A request comes in: it waits for its turn, which may be now, or goes back.
    ///
    /// What was accepted before the daemon began to stop is still served, so in `Stopping` a
    /// request is taken until the sessions have said that they have no more.
    pub(crate) fn enqueue(
        &mut self,
        mut pending: PendingRequest<R>,
        children: u32,
        phase: Phase,
        drained: Drained,
    ) {
        pending.turn = self.next_turn;
        self.next_turn += 1;
        let phase = match (phase, drained) {
            (Phase::Stopping, Drained::NotYet) => Phase::Running,
            (phase, _) => phase,
        };
        match admit(&self.traffic(children, phase), self.backlog) {
            Admission::Fork | Admission::Enqueue => self.waiting.push_back(pending),
            Admission::Full => {
                let (max_children, backlog) = (self.max_children, self.backlog);
                self.hand_back(pending, HandOverErrorReason::Full { max_children, backlog });
            }
            Admission::Stopping => self.hand_back(pending, HandOverErrorReason::Stopping),
        }
    }

    /// The next request, if there may be another child now.
    pub(crate) fn next(&mut self, children: u32) -> Option<PendingRequest<R>> {
        if children < self.max_children { self.waiting.pop_front() } else { None }
    }

    /// A child was ordered for this guest; its answer follows.
    pub(crate) fn ordered(&mut self, child: ChildId, reply: Reply<R>, turn: u64) {
        self.replies.insert(child, (reply, turn));
    }

    /// The order could not even be given.
    pub(crate) fn on_fork_error(
        &mut self,
        unforked: ForkError<R>,
        reply: Reply<R>,
        turn: u64,
    ) -> ForkLoop {
        let ForkError { request, reason } = unforked;
        let pending = PendingRequest { request, reply, turn };
        match reason {
            // The child that leaves its seat is still on the way out: it is this guest's turn next.
            ForkServerError::Full { .. } => {
                self.requeue(pending);
                ForkLoop::Stop
            }
            ForkServerError::Transfer(error) => {
                self.hand_back(pending, error.into());
                ForkLoop::Continue
            }
            other => {
                self.hand_back(pending, HandOverErrorReason::CannotFork(other.to_string()));
                ForkLoop::Stop
            }
        }
    }

    /// The child lives.
    pub(crate) fn born(&mut self, child: ChildId, pid: Pid) {
        if let Some((reply, _turn)) = self.replies.remove(&child) {
            let _ = reply.send(Ok(HandedOver { child, pid }));
        }
    }

    /// The fork failed: what may pass is tried again, each in its turn.
    pub(crate) fn fork_failed(&mut self, child: ChildId, request: R, refusal: &ForkRefusal) {
        let Some((reply, turn)) = self.replies.remove(&child) else { return };
        let pending = PendingRequest { request, reply, turn };
        if refusal.is_temporary() {
            self.requeue(pending);
        } else {
            self.hand_back(pending, HandOverErrorReason::CannotFork(refusal.to_string()));
        }
    }

    fn requeue(&mut self, pending: PendingRequest<R>) {
        let place = self.waiting.partition_point(|waiting| waiting.turn < pending.turn);
        self.waiting.insert(place, pending);
    }

    /// The fork server is lost before it could tell of this child.
    pub(crate) fn pending(&mut self, child: ChildId, request: R, why: &str) {
        if let Some((reply, turn)) = self.replies.remove(&child) {
            let pending = PendingRequest { request, reply, turn };
            self.hand_back(pending, HandOverErrorReason::CannotFork(why.to_owned()));
        }
    }

    /// Gives back all that wait.
    pub(crate) fn clear(&mut self) {
        while let Some(pending) = self.waiting.pop_front() {
            self.hand_back(pending, HandOverErrorReason::Stopping);
        }
    }

    /// Opens or shuts the door as the traffic asks.
    pub(crate) fn reconcile(&mut self, children: u32, phase: Phase) -> Option<AcceptChange> {
        let (accept, change) = self.accept.update(&self.traffic(children, phase));
        self.accept = accept;
        change
    }
}

/// Whether sessions may still bring requests that they accepted before the end began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// They may.
    NotYet,
    /// They have said that they have no more.
    Yes,
}
