//! The post-forking model: a request comes, and is forked for, waits, or goes back.

use std::collections::{HashMap, VecDeque};

use daemon_core::{Admission, Door, Hold, Phase, Swing, Traffic, admit};
use daemon_nursery::{ChildId, ForkRefusal, NurseryError, Unforked};
use daemon_sys::process::Pid;
use futures::channel::oneshot;

use crate::messages::{HandBack, HandBackReason, Handed};

/// Where the answer to a `HandOver` goes.
pub(crate) type Reply<R> = oneshot::Sender<Result<Handed, HandBack<R>>>;

/// A request and who waits for word of it.
#[derive(Debug)]
pub(crate) struct Guest<R> {
    pub(crate) request: R,
    pub(crate) reply: Reply<R>,
}

impl<R> Guest<R> {
    /// Gives the request back.
    pub(crate) fn hand_back(self, why: HandBackReason) {
        // Who has dropped the answer has dropped its interest in the request.
        let _ = self.reply.send(Err(HandBack {
            request: self.request,
            why,
        }));
    }
}

/// The door, and who waits behind it.
#[derive(Debug)]
pub(crate) struct Reception<R> {
    door: Door,
    pub(crate) hold: Hold,
    pub(crate) max_children: u32,
    pub(crate) backlog: u32,
    waiting: VecDeque<Guest<R>>,
    /// Who is told when the child is born.
    replies: HashMap<ChildId, Reply<R>>,
}

impl<R> Reception<R> {
    pub(crate) fn new(max_children: u32, backlog: u32) -> Self {
        Reception {
            door: Door::Open,
            hold: Hold::No,
            max_children,
            backlog,
            waiting: VecDeque::new(),
            replies: HashMap::new(),
        }
    }

    pub(crate) fn door(&self) -> Door {
        self.door
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all who came have been answered.
    pub(crate) fn is_served(&self) -> bool {
        self.waiting.is_empty() && self.replies.is_empty()
    }

    fn traffic(&self, children: u32, phase: Phase) -> Traffic {
        Traffic {
            children,
            max_children: self.max_children,
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            phase,
            hold: self.hold,
        }
    }

    /// A request comes in: it waits for its turn, which may be now, or goes back.
    ///
    /// What was accepted before the daemon began to stop is still served, so in `Stopping` a
    /// request is taken until the sessions have said that they have no more.
    pub(crate) fn come_in(
        &mut self,
        guest: Guest<R>,
        children: u32,
        phase: Phase,
        drained: Drained,
    ) {
        let phase = match (phase, drained) {
            (Phase::Stopping, Drained::NotYet) => Phase::Running,
            (phase, _) => phase,
        };
        match admit(&self.traffic(children, phase), self.backlog) {
            Admission::Fork | Admission::Wait => self.waiting.push_back(guest),
            Admission::Full => guest.hand_back(HandBackReason::Full {
                max_children: self.max_children,
                backlog: self.backlog,
            }),
            Admission::Stopping => guest.hand_back(HandBackReason::Stopping),
        }
    }

    /// The next request, if there may be another child now.
    pub(crate) fn next(&mut self, children: u32) -> Option<Guest<R>> {
        if children < self.max_children {
            self.waiting.pop_front()
        } else {
            None
        }
    }

    /// A child was ordered for this guest; its answer follows.
    pub(crate) fn ordered(&mut self, child: ChildId, reply: Reply<R>) {
        self.replies.insert(child, reply);
    }

    /// The order could not even be given.
    pub(crate) fn unforked(&mut self, unforked: Unforked<R>, reply: Reply<R>) {
        let Unforked { request, why } = unforked;
        let guest = Guest { request, reply };
        match why {
            // The child that leaves its seat is still on the way out: it is this guest's turn next.
            NurseryError::Full { .. } => self.waiting.push_front(guest),
            NurseryError::Handover(error) => guest.hand_back(error.into()),
            other => guest.hand_back(HandBackReason::CannotFork(other.to_string())),
        }
    }

    /// The child lives.
    pub(crate) fn born(&mut self, child: ChildId, pid: Pid) {
        if let Some(reply) = self.replies.remove(&child) {
            let _ = reply.send(Ok(Handed { child, pid }));
        }
    }

    /// The fork failed: what may pass is tried again, first of all.
    pub(crate) fn fork_failed(&mut self, child: ChildId, request: R, refusal: &ForkRefusal) {
        let Some(reply) = self.replies.remove(&child) else {
            return;
        };
        let guest = Guest { request, reply };
        if refusal.is_passing() {
            self.waiting.push_front(guest);
        } else {
            guest.hand_back(HandBackReason::CannotFork(refusal.to_string()));
        }
    }

    /// The nursery is lost before it could tell of this child.
    pub(crate) fn unborn(&mut self, child: ChildId, request: R, why: &str) {
        if let Some(reply) = self.replies.remove(&child) {
            Guest { request, reply }.hand_back(HandBackReason::CannotFork(why.to_owned()));
        }
    }

    /// Gives back all that wait.
    pub(crate) fn clear(&mut self) {
        for guest in self.waiting.drain(..) {
            guest.hand_back(HandBackReason::Stopping);
        }
    }

    /// Opens or shuts the door as the traffic asks.
    pub(crate) fn settle(&mut self, children: u32, phase: Phase) -> Option<Swing> {
        let (door, swing) = self.door.settle(&self.traffic(children, phase));
        self.door = door;
        swing
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
