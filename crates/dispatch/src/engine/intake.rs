//! Intake of requests: a request is validated, then queued, run in this process, passed to the
//! fallback (the recipient of requests for unknown methods), or rejected.

use std::rc::Rc;

use daemon_core::MonotonicTime;
use daemon_forkserver::now;
use futures::channel::oneshot;

use super::cancelled_ids::CancelStatus;
use super::deliver::task_result;
use super::{DispatchJob, Engine, ExecutionMode, SharedEngine};
use crate::answer::{Failure, Rejection, RequestState, TaskResult};
use crate::call::Call;
use crate::fallback::FallbackRequest;
use crate::methods::{Invocation, MethodTarget};
use crate::panics;
use crate::reply::ReplySender;
use crate::request::{
    IfFull, IfRunning, NewRequest, RequestId, RequestInfo, RequestParts, RunInfo,
};
use crate::scheduler::{CancelOutcome, JobOptions, LaneId};

/// What happened to a submitted request.
#[derive(Debug)]
pub(crate) enum SubmitResult {
    /// The request was accepted, or has been answered already.
    Accepted,
    /// The queue is full. The caller waits, and then submits the request again.
    QueueFull(Box<(NewRequest, ReplySender)>),
}

/// Whether the outcome of a cancellation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelLookup {
    /// The request has arrived, or its cancellation had been recorded before. Contains the outcome.
    Found(CancelOutcome),
    /// The request has not arrived yet. Its cancellation is recorded until all messages that were
    /// sent before the cancellation have arrived.
    NotArrived,
}

impl Engine {
    /// Checks a request. Returns the target of its call and its lane, or the reason why the request
    /// is rejected.
    fn validate(&self, request: &NewRequest) -> Result<(MethodTarget, LaneId), Rejection> {
        if !self.scheduler.is_accepting() {
            return Err(Rejection::ShuttingDown);
        }
        request.check()?;
        let lane = match &request.options.lane {
            None => LaneId::DEFAULT,
            Some(name) => self
                .scheduler
                .lane(name)
                .ok_or_else(|| Rejection::UnknownLane { name: name.to_string() })?,
        };
        let invalid =
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
        // The parameters' `Deserialize` code can panic. Such a panic must not stop the dispatcher.
        panics::catch_message(|| method.check(params))
            .map_err(|message| invalid(format!("decoding panicked: {message}")))?
            .map_err(invalid)?;
        Ok((MethodTarget::Method(number), lane))
    }

    fn admit(&mut self, request: NewRequest, reply: ReplySender, method: u16, lane: LaneId) {
        let (id, options) = (request.id, request.options.clone());
        let is_cancelled_by_dropping = request.upon_result.is_none() && reply.is_awaited();
        let job_options = JobOptions {
            method,
            priority: options.priority,
            lane,
            hard: options.hard.or(self.defaults.hard),
            attempts: options.attempts.unwrap_or(self.defaults.attempts),
            if_dropped: options.if_dropped,
        };
        let soft = options.soft.or(self.defaults.soft);
        let job = DispatchJob::of(request, method, soft, reply);
        let time = now();
        let key = self.scheduler.admit(id, job, job_options, time);
        if is_cancelled_by_dropping
            && let Some((job, _attempts)) = self.scheduler.job(key)
            && job.reply.is_gone(key, &self.dropped_futures)
        {
            self.scheduler.cancel(key, None, time);
        }
        self.scheduler.assign(time);
        self.pump();
    }

    /// Cancels the request with this id.
    pub(crate) fn cancel(&mut self, id: RequestId, running: IfRunning) -> CancelLookup {
        let Some(key) = self.scheduler.find(id) else {
            return match self.cancelled_ids.cancel(id) {
                CancelStatus::Recorded => {
                    // The cancelled request may be the one that waits for queue capacity.
                    self.signals.queue_capacity.notify_waiters();
                    CancelLookup::NotArrived
                }
                CancelStatus::AlreadyRecorded | CancelStatus::AlreadyTaken => {
                    CancelLookup::Found(CancelOutcome::Unknown)
                }
            };
        };
        let cancelled = self.scheduler.cancel(key, Some(running), now());
        self.pump();
        CancelLookup::Found(cancelled)
    }

    /// Removes the recorded cancellation of a request that cannot arrive any more.
    pub(crate) fn forget(&mut self, id: RequestId) {
        let _was_cancelled = self.cancelled_ids.is_cancelled(id);
    }

    /// Cancels the requests whose futures were dropped.
    pub(super) fn cancel_dropped(&mut self, time: MonotonicTime) {
        let dropped_futures = std::sync::Arc::clone(&self.dropped_futures);
        for key in dropped_futures.take() {
            let Some((job, _attempts)) = self.scheduler.job(key) else { continue };
            // The key can be in `dropped_futures` although the future was not dropped, because a
            // waker can be woken without a reason. So check whether the future was dropped.
            if job.reply.is_gone(key, &dropped_futures) {
                self.scheduler.cancel(key, None, time);
            }
        }
        self.pump();
    }
}

/// Submits a request. The request may run in this process immediately, so the caller must not hold
/// a borrow of the engine.
pub(crate) fn submit(
    shared: &SharedEngine,
    request: NewRequest,
    reply: ReplySender,
) -> SubmitResult {
    let id = request.id;
    let result = accept(shared, request, reply);
    match &result {
        SubmitResult::Accepted => shared.borrow_mut().cancelled_ids.note_taken(id),
        SubmitResult::QueueFull(_) => {}
    }
    result
}

fn accept(shared: &SharedEngine, request: NewRequest, reply: ReplySender) -> SubmitResult {
    let mut engine = shared.borrow_mut();
    if engine.cancelled_ids.is_cancelled(request.id) {
        engine.reject(request, reply, Failure::Cancelled { state: RequestState::Queued });
        return SubmitResult::Accepted;
    }
    let found = match engine.validate(&request) {
        Ok(found) => found,
        Err(rejection) => {
            engine.reject(request, reply, rejection.into());
            return SubmitResult::Accepted;
        }
    };
    match (found, &engine.execution) {
        ((MethodTarget::Fallback, _lane), _) => {
            run_fallback(shared, &mut engine, request, reply);
            SubmitResult::Accepted
        }
        ((MethodTarget::Method(number), _lane), ExecutionMode::InProcess) => {
            engine.outside_workers += 1;
            drop(engine);
            run_in_process(shared, request, reply, number);
            SubmitResult::Accepted
        }
        ((MethodTarget::Method(number), lane), ExecutionMode::Workers { .. }) => {
            if engine.scheduler.has_capacity() {
                engine.admit(request, reply, number, lane);
                return SubmitResult::Accepted;
            }
            match request.if_full {
                IfFull::Wait => SubmitResult::QueueFull(Box::new((request, reply))),
                IfFull::Refuse => {
                    let limit = engine.scheduler.queue_max();
                    engine.reject(request, reply, Rejection::QueueFull { limit }.into());
                    SubmitResult::Accepted
                }
            }
        }
    }
}

/// Passes a request to the fallback.
fn run_fallback(
    shared: &SharedEngine,
    engine: &mut Engine,
    request: NewRequest,
    reply: ReplySender,
) {
    let job = DispatchJob::of(request, 0, None, reply);
    let (answer, answered) = oneshot::channel();
    let request = RequestInfo { parts: job.parts.clone(), run: RunInfo::default() };
    let fallback_request = FallbackRequest { request, reply: Some(answer) };
    let started_at = now();
    if let Some(fallback) = &engine.fallback {
        fallback.do_send(fallback_request);
    }
    engine.outside_workers += 1;
    let shared = Rc::clone(shared);
    actix_rt::spawn(async move {
        let task_result = answered.await.unwrap_or_else(|_dropped| {
            let message = "the fallback dropped the request without an answer".to_owned();
            Err(Failure::Failed { message })
        });
        complete_outside_workers(&shared, job, started_at, task_result);
    });
}

/// Runs a method in this process. An async method runs as a task in this thread's System.
fn run_in_process(shared: &SharedEngine, request: NewRequest, reply: ReplySender, number: u16) {
    let methods = Rc::clone(&shared.borrow().methods);
    let defaults = shared.borrow().defaults;
    let soft = request.options.soft.or(defaults.soft);
    let job = DispatchJob::of(request, number, soft, reply);
    let started_at = now();
    let RequestParts { id, name, from, params } = &job.parts;
    let call = Call::new(id.0, name, from, 1, soft, started_at, None);
    let invocation = methods.start(number, &call, params.clone());
    match invocation {
        Invocation::Finished(completion) => {
            let answer = task_result(completion, &job);
            complete_outside_workers(shared, job, started_at, answer);
        }
        Invocation::Pending(running) => {
            let shared = Rc::clone(shared);
            actix_rt::spawn(async move {
                let completion = methods.wait_for(&call, running).await;
                let answer = task_result(completion, &job);
                complete_outside_workers(&shared, job, started_at, answer);
            });
        }
    }
}

/// Answers a request that no worker ran.
fn complete_outside_workers(
    shared: &SharedEngine,
    job: DispatchJob,
    started_at: MonotonicTime,
    task_result: TaskResult,
) {
    let mut engine = shared.borrow_mut();
    let run_time = now().saturating_since(started_at);
    let run = RunInfo { elapsed: run_time, run_time, attempts: 0, pid: None };
    engine.outside_workers -= 1;
    engine.answered_outside_workers += 1;
    engine.deliver(job, run, task_result);
    engine.pump();
}
