//! A request comes in: it is judged before a worker is bothered, and queued, run in place, handed to
//! the fallback, or refused.

use std::rc::Rc;

use daemon_core::MonotonicTime;
use daemon_forkserver::now;
use futures::channel::oneshot;

use super::deliver::outcome;
use super::early::Expected;
use super::{Cargo, Engine, Shared, Staff};
use crate::answer::{Failure, Rejection, RequestState, TaskResult};
use crate::call::Call;
use crate::fallback::FallbackRequest;
use crate::ledger::{CancelOutcome, LaneId, Order};
use crate::methods::{Invocation, MethodTarget};
use crate::panics;
use crate::reply::Reply;
use crate::request::{IfFull, IfRunning, NewRequest, Request, RequestId, RequestParts, RunInfo};

/// What has become of a request that came in.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is taken, or answered.
    Yes,
    /// There is no room: it waits before the queue.
    Full(Box<(NewRequest, Reply)>),
}

/// What has become of a request that was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    Told(CancelOutcome),
    /// It has not come yet: that it is cancelled is remembered until all that is on its way has.
    Early,
}

impl Engine {
    /// What is known of a request before a worker is bothered.
    fn judge(&self, request: &NewRequest) -> Result<(MethodTarget, LaneId), Rejection> {
        if !self.ledger.is_open() {
            return Err(Rejection::ShuttingDown);
        }
        request.check()?;
        let lane = match &request.options.lane {
            None => LaneId::COMMON,
            Some(name) => self
                .ledger
                .lane(name)
                .ok_or_else(|| Rejection::UnknownLane { name: name.to_string() })?,
        };
        let unfit =
            |reason: String| Rejection::InvalidParams { name: request.name.to_string(), reason };
        let params = request.params.as_ref().map_err(|error| error.rejection(&request.name))?;
        let unknown = || Rejection::UnknownMethod { name: request.name.to_string() };
        let Some(number) = self.methods.find(request.own, &request.name) else {
            return if self.fallback.is_some() {
                Ok((MethodTarget::Fallback, lane))
            } else {
                Err(unknown())
            };
        };
        let method = self.methods.get(number).ok_or_else(unknown)?;
        // A value's own code may panic, and that must not cost the dispatcher.
        panics::or_words(|| method.check(params))
            .map_err(|words| unfit(format!("to decode them panics: {words}")))?
            .map_err(unfit)?;
        Ok((MethodTarget::Method(number), lane))
    }

    fn admit(&mut self, request: NewRequest, reply: Reply, method: u16, lane: LaneId) {
        let (id, options) = (request.id, request.options.clone());
        let is_cancelled_by_dropping = request.upon_result.is_none() && reply.is_awaited();
        let order = Order {
            method,
            priority: options.priority,
            lane,
            hard: options.hard.or(self.defaults.hard),
            attempts: options.attempts.unwrap_or(self.defaults.attempts),
            if_dropped: options.if_dropped,
        };
        let soft = options.soft.or(self.defaults.soft);
        let cargo = Cargo::of(request, method, soft, reply);
        let time = now();
        let key = self.ledger.admit(id, cargo, order, time);
        if is_cancelled_by_dropping
            && let Some((cargo, _attempts)) = self.ledger.cargo(key)
            && cargo.reply.is_gone(key, &self.hangups)
        {
            self.ledger.cancel(key, None, time);
        }
        self.ledger.assign(time);
        self.pump();
    }

    /// Ends a request of this number.
    pub(crate) fn cancel(&mut self, id: RequestId, running: IfRunning) -> Cancelled {
        let Some(key) = self.ledger.find(id) else {
            return match self.early.cancel(id) {
                Expected::Remembered => {
                    // It may be the one that waits for room.
                    self.signals.room.notify_waiters();
                    Cancelled::Early
                }
                Expected::Known | Expected::Past => Cancelled::Told(CancelOutcome::Unknown),
            };
        };
        let cancelled = self.ledger.cancel(key, Some(running), now());
        self.pump();
        Cancelled::Told(cancelled)
    }

    /// A request of this number will not come any more.
    pub(crate) fn forget(&mut self, id: RequestId) {
        let _was_cancelled = self.early.is_cancelled(id);
    }

    /// Futures were dropped: nobody waits for these.
    pub(super) fn hang_ups(&mut self, time: MonotonicTime) {
        let hangups = std::sync::Arc::clone(&self.hangups);
        for key in hangups.take() {
            let Some((cargo, _attempts)) = self.ledger.cargo(key) else { continue };
            // The waker may have been woken for another reason.
            if cargo.reply.is_gone(key, &hangups) {
                self.ledger.cancel(key, None, time);
            }
        }
        self.pump();
    }
}

/// Takes a request in. It may run in place, so nobody may hold the engine.
pub(crate) fn take(shared: &Shared, request: NewRequest, reply: Reply) -> Taken {
    let id = request.id;
    let taken = look(shared, request, reply);
    match &taken {
        Taken::Yes => shared.borrow_mut().early.taken(id),
        Taken::Full(_) => {}
    }
    taken
}

fn look(shared: &Shared, request: NewRequest, reply: Reply) -> Taken {
    let mut engine = shared.borrow_mut();
    if engine.early.is_cancelled(request.id) {
        engine.refuse(request, reply, Failure::Cancelled { state: RequestState::Queued });
        return Taken::Yes;
    }
    let found = match engine.judge(&request) {
        Ok(found) => found,
        Err(why) => {
            engine.refuse(request, reply, why.into());
            return Taken::Yes;
        }
    };
    match (found, &engine.staff) {
        ((MethodTarget::Fallback, _lane), _) => {
            transact(shared, &mut engine, request, reply);
            Taken::Yes
        }
        ((MethodTarget::Method(number), _lane), Staff::Parent) => {
            engine.elsewhere += 1;
            drop(engine);
            in_place(shared, request, reply, number);
            Taken::Yes
        }
        ((MethodTarget::Method(number), lane), Staff::Workers { .. }) => {
            if engine.ledger.has_room() {
                engine.admit(request, reply, number, lane);
                return Taken::Yes;
            }
            match request.if_full {
                IfFull::Wait => Taken::Full(Box::new((request, reply))),
                IfFull::Refuse => {
                    let limit = engine.ledger.queue_max();
                    engine.refuse(request, reply, Rejection::QueueFull { limit }.into());
                    Taken::Yes
                }
            }
        }
    }
}

/// Hands a request to the fallback.
fn transact(shared: &Shared, engine: &mut Engine, request: NewRequest, reply: Reply) {
    let cargo = Cargo::of(request, 0, None, reply);
    let (answer, answered) = oneshot::channel();
    let request = Request { parts: cargo.parts.clone(), run: RunInfo::default() };
    let transaction = FallbackRequest { request, reply: Some(answer) };
    let begun = now();
    if let Some(fallback) = &engine.fallback {
        fallback.do_send(transaction);
    }
    engine.elsewhere += 1;
    let shared = Rc::clone(shared);
    actix_rt::spawn(async move {
        let outcome = answered.await.unwrap_or_else(|_dropped| {
            let message = "the fallback has dropped the transaction without an answer".to_owned();
            Err(Failure::Failed { message })
        });
        conclude(&shared, cargo, begun, outcome);
    });
}

/// Runs a method here: at once, or, if it is async, in this thread's System.
fn in_place(shared: &Shared, request: NewRequest, reply: Reply, number: u16) {
    let methods = Rc::clone(&shared.borrow().methods);
    let defaults = shared.borrow().defaults;
    let soft = request.options.soft.or(defaults.soft);
    let cargo = Cargo::of(request, number, soft, reply);
    let begun = now();
    let RequestParts { id, name, from, params } = &cargo.parts;
    let call = Call::new(id.0, name, from, 1, soft, begun, None);
    let started = methods.start(number, &call, params.clone());
    match started {
        Invocation::Finished(done) => {
            let answer = outcome(done, &cargo);
            conclude(shared, cargo, begun, answer);
        }
        Invocation::Pending(running) => {
            let shared = Rc::clone(shared);
            actix_rt::spawn(async move {
                let done = methods.finish_later(&call, running).await;
                let answer = outcome(done, &cargo);
                conclude(&shared, cargo, begun, answer);
            });
        }
    }
}

/// What was done elsewhere than in a worker is answered.
fn conclude(shared: &Shared, cargo: Cargo, begun: MonotonicTime, outcome: TaskResult) {
    let mut engine = shared.borrow_mut();
    let run_time = now().saturating_since(begun);
    let run = RunInfo { elapsed: run_time, run_time, attempts: 0, pid: None };
    engine.elsewhere -= 1;
    engine.answered_elsewhere += 1;
    engine.deliver(cargo, run, outcome);
    engine.pump();
}
