//! The backlog of the post-forking model: each request gets a child, waits for one, or
//! is returned to its sender.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

use daemon_core::{AcceptChange, AcceptState, Admission, OperatorPause, Phase, PoolLoad, admit};
use daemon_forkserver::{ChildId, ForkError, ForkRefusal, ForkServerError};
use daemon_sys::process::Pid;
use futures::channel::oneshot;

use crate::messages::{HandOverError, HandOverErrorReason, HandedOver};

/// The channel for the answer to a `HandOver`.
pub(crate) type Reply<R> = oneshot::Sender<Result<HandedOver, HandOverError<R>>>;

/// A request, and the channel for its answer.
#[derive(Debug)]
pub(crate) struct PendingRequest<R> {
    pub(super) request: R,
    pub(super) reply: Reply<R>,
    /// The position in the order of arrival. A request keeps its turn when its fork fails.
    pub(super) turn: u64,
}

impl<R> PendingRequest<R> {
    pub(crate) fn new(request: R, reply: Reply<R>) -> Self {
        PendingRequest { request, reply, turn: 0 }
    }

    /// Returns the request to its sender.
    pub(crate) fn hand_back(self, reason: HandOverErrorReason) {
        // This fails if the sender no longer waits for the answer. The request is then dropped.
        let _ = self.reply.send(Err(HandOverError { request: self.request, reason }));
    }
}

/// The requests that wait for a child, and whether the daemon accepts more.
#[derive(Debug)]
pub(crate) struct Backlog<R> {
    accept: AcceptState,
    pub(crate) max_children: u32,
    /// The maximum number of waiting requests.
    pub(crate) limit: u32,
    /// Ordered by turn.
    waiting: VecDeque<PendingRequest<R>>,
    next_turn: u64,
    /// For each request whose fork is pending: the channel for its answer, and its turn.
    replies: HashMap<ChildId, (Reply<R>, u64)>,
    handed_back: u64,
}

impl<R> Backlog<R> {
    pub(crate) fn new(max_children: u32, backlog: u32) -> Self {
        Backlog {
            accept: AcceptState::Accepting,
            max_children,
            limit: backlog,
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

    /// Returns the number of requests that were returned to their senders.
    pub(crate) fn handed_back(&self) -> u64 {
        self.handed_back
    }

    fn hand_back(&mut self, pending: PendingRequest<R>, reason: HandOverErrorReason) {
        self.handed_back += 1;
        pending.hand_back(reason);
    }

    /// Returns whether all requests have been answered.
    pub(crate) fn is_served(&self) -> bool {
        self.waiting.is_empty() && self.replies.is_empty()
    }

    fn load(&self, children: u32, phase: Phase, operator_pause: OperatorPause) -> PoolLoad {
        PoolLoad {
            children,
            max_children: self.max_children,
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            phase,
            operator_pause,
        }
    }

    /// Adds a request to the backlog, or returns it to its sender.
    pub(crate) fn enqueue(
        &mut self,
        mut pending: PendingRequest<R>,
        children: u32,
        phase: Phase,
        pause: OperatorPause,
    ) {
        pending.turn = self.next_turn;
        self.next_turn += 1;
        match admit(&self.load(children, phase, pause), self.limit) {
            Admission::Fork | Admission::Enqueue => self.waiting.push_back(pending),
            Admission::Full => {
                let (max_children, backlog) = (self.max_children, self.limit);
                self.hand_back(pending, HandOverErrorReason::Full { max_children, backlog });
            }
            Admission::Stopping => self.hand_back(pending, HandOverErrorReason::Stopping),
        }
    }

    /// Removes and returns the next request, if another child is allowed now.
    pub(crate) fn pop(&mut self, children: u32) -> Option<PendingRequest<R>> {
        if children < self.max_children { self.waiting.pop_front() } else { None }
    }

    /// Records that the fork of this child, which will serve a request, has been requested. The
    /// request is answered when the child is forked.
    pub(crate) fn fork_requested(&mut self, child: ChildId, reply: Reply<R>, turn: u64) {
        self.replies.insert(child, (reply, turn));
    }

    /// Handles a fork that could not be requested. Returns `Break` if no child can be forked now,
    /// so that the other requests go on waiting.
    pub(crate) fn on_fork_error(
        &mut self,
        error: ForkError<R>,
        reply: Reply<R>,
        turn: u64,
    ) -> ControlFlow<()> {
        let ForkError { request, reason } = error;
        let pending = PendingRequest { request, reply, turn };
        match reason {
            // The slot of a child that has just exited is not free yet. The request waits again.
            ForkServerError::Full { .. } => {
                self.requeue(pending);
                ControlFlow::Break(())
            }
            ForkServerError::Transfer(error) => {
                self.hand_back(pending, error.into());
                ControlFlow::Continue(())
            }
            other => {
                self.hand_back(pending, HandOverErrorReason::CannotFork(other.to_string()));
                ControlFlow::Break(())
            }
        }
    }

    /// Answers the request whose child was forked.
    pub(crate) fn forked(&mut self, child: ChildId, pid: Pid) {
        if let Some((reply, _turn)) = self.replies.remove(&child) {
            let _ = reply.send(Ok(HandedOver { child, pid }));
        }
    }

    /// Handles a failed fork. After a temporary error the request waits again, at its turn. After
    /// any other error the request is returned to its sender.
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
        let index = self.waiting.partition_point(|waiting| waiting.turn < pending.turn);
        self.waiting.insert(index, pending);
    }

    /// Returns a request to its sender, because the fork server was lost before it forked the
    /// child.
    pub(crate) fn return_unforked(&mut self, child: ChildId, request: R, reason: &str) {
        if let Some((reply, turn)) = self.replies.remove(&child) {
            let pending = PendingRequest { request, reply, turn };
            self.hand_back(pending, HandOverErrorReason::CannotFork(reason.to_owned()));
        }
    }

    /// Returns all waiting requests to their senders.
    pub(crate) fn clear(&mut self) {
        while let Some(pending) = self.waiting.pop_front() {
            self.hand_back(pending, HandOverErrorReason::Stopping);
        }
    }

    /// Updates the accept state. Returns the change to broadcast, if there is one.
    pub(crate) fn update_accepting(
        &mut self,
        children: u32,
        phase: Phase,
        pause: OperatorPause,
    ) -> Option<AcceptChange> {
        let (accept, change) = self.accept.update(&self.load(children, phase, pause));
        self.accept = accept;
        change
    }
}
