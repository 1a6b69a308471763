//! Requests on their way through the engine: a request is validated, then queued, run in this
//! process, passed to the fallback (the recipient of requests for unknown methods), or rejected.
//! Each request is answered once.

use std::rc::Rc;

use actix::Recipient;
use actix_daemon::panics;
use daemon_core::{ExitCause, MonotonicTime};
use daemon_forkserver::now;
use futures::channel::oneshot;

use super::{DEAD_LETTERS_MAX, DeadLetter, DispatchJob, Engine, ExecutionMode, Input};
use crate::answer::{Failure, LimitKind, Rejection, Reply, RequestState, TaskResult};
use crate::body::Body;
use crate::call::Call;
use crate::fallback::FallbackRequest;
use crate::frame::CompletionKind;
use crate::methods::{HandlerOutcome, Invocation};
use crate::reply::ReplySender;
use crate::request::{
    CancellationToken, IfRunning, NewRequest, RequestDone, RequestInfo, RequestParts, RunInfo,
};
use crate::scheduler::{CancelOutcome, JobKey, JobOptions, LaneId};
use crate::talkback::report;

impl Engine {
    /// Submits a request. Returns the request if it must wait because the queue is full.
    pub(crate) fn submit(
        &mut self,
        request: NewRequest,
        reply: ReplySender,
    ) -> Option<(NewRequest, ReplySender)> {
        if request.token.is_cancelled() {
            self.reject(request, reply, Failure::Cancelled { state: RequestState::Queued });
            return None;
        }
        let (method, lane) = match self.validate(&request) {
            Ok(found) => found,
            Err(rejection) => {
                self.reject(request, reply, rejection.into());
                return None;
            }
        };
        match (method, &self.execution) {
            (None, _) => self.run_fallback(request, reply),
            (Some(number), ExecutionMode::InProcess) => {
                self.run_in_process(request, reply, number);
            }
            (Some(number), ExecutionMode::Workers { .. }) => {
                if !self.scheduler.has_capacity() {
                    // Requests that were admitted since the last assignment may have left the
                    // queue.
                    self.pump();
                }
                if self.scheduler.has_capacity() {
                    self.admit(request, reply, number, lane);
                } else if request.refuse_if_full {
                    let limit = self.scheduler.queue_max();
                    self.reject(request, reply, Rejection::QueueFull { limit }.into());
                } else {
                    return Some((request, reply));
                }
            }
        }
        None
    }

    /// Returns whether a request that waits because the queue was full must still wait.
    pub(crate) fn must_wait(&self, token: &CancellationToken) -> bool {
        !self.scheduler.has_capacity() && self.scheduler.is_accepting() && !token.is_cancelled()
    }

    /// Checks a request. Returns its method and its lane, or the reason why the request is
    /// rejected. A request for the fallback has no method.
    fn validate(&self, request: &NewRequest) -> Result<(Option<u16>, LaneId), Rejection> {
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
        let params = request.params.as_ref();
        let params = params.map_err(|error| Rejection::of_params(&request.name, error))?;
        let unknown = || Rejection::UnknownMethod { name: request.name.to_string() };
        let Some(number) = self.methods.find(request.own, &request.name) else {
            return if self.fallback.is_some() { Ok((None, lane)) } else { Err(unknown()) };
        };
        let method = self.methods.get(number).ok_or_else(unknown)?;
        // The parameters' `Deserialize` code can panic. Such a panic must not stop the dispatcher.
        panics::catch(|| method.check(params))
            .map_err(|panic| invalid(format!("decoding {panic}")))?
            .map_err(invalid)?;
        Ok((Some(number), lane))
    }

    fn admit(&mut self, request: NewRequest, reply: ReplySender, method: u16, lane: LaneId) {
        let number = request.id().0;
        let is_cancelled_by_dropping = request.upon_result.is_none() && reply.is_awaited();
        let options = &request.options;
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
        let key = self.scheduler.admit(number, job, job_options, now());
        self.has_admitted = true;
        if is_cancelled_by_dropping {
            self.cancel_if_dropped(key);
        }
    }

    /// Cancels the request with this token. A request that has not arrived is answered as cancelled
    /// when it arrives.
    pub(super) fn cancel(
        &mut self,
        token: &CancellationToken,
        running: IfRunning,
    ) -> CancelOutcome {
        match self.scheduler.find(token.id.0) {
            Some(key) => self.scheduler.cancel(key, Some(running), now()),
            None => {
                token.cancel();
                CancelOutcome::Unknown
            }
        }
    }

    /// Cancels a request if its future was dropped. If not, the engine receives an input when the
    /// future is dropped, and possibly also without a reason.
    pub(super) fn cancel_if_dropped(&mut self, key: JobKey) {
        let Some((job, _attempts)) = self.scheduler.job(key) else { return };
        let sender = &self.sender;
        if job.reply.is_gone(|| sender.waker(move || Input::FutureDropped(key))) {
            self.scheduler.cancel(key, None, now());
        }
    }

    /// Passes a request to the fallback.
    fn run_fallback(&mut self, request: NewRequest, reply: ReplySender) {
        let job = DispatchJob::of(request, 0, None, reply);
        let (answer, answered) = oneshot::channel();
        let request = RequestInfo { parts: job.parts.clone(), run: RunInfo::default() };
        let started_at = now();
        if let Some(fallback) = &self.fallback {
            fallback.do_send(FallbackRequest { request, reply: Some(answer) });
        }
        self.outside_workers += 1;
        let inputs = self.sender.clone();
        actix_rt::spawn(async move {
            let result = answered.await.unwrap_or_else(|_dropped| {
                let message = "the fallback dropped the request without an answer".to_owned();
                Err(Failure::Failed { message })
            });
            inputs.send(Input::Answered(Box::new(job), started_at, result));
        });
    }

    /// Runs a method in this process. An async method runs as a task in this thread's System.
    fn run_in_process(&mut self, request: NewRequest, reply: ReplySender, number: u16) {
        let methods = Rc::clone(&self.methods);
        let soft = request.options.soft.or(self.defaults.soft);
        let job = DispatchJob::of(request, number, soft, reply);
        let started_at = now();
        let RequestParts { id, name, from, params } = &job.parts;
        let call = Call::new(id.0, name, from, 1, soft, started_at, None);
        self.outside_workers += 1;
        match methods.start(number, &call, params.clone()) {
            Invocation::Finished(outcome) => {
                let result = task_result(outcome, &job);
                self.complete_outside_workers(job, started_at, result);
            }
            Invocation::Pending(running) => {
                let inputs = self.sender.clone();
                actix_rt::spawn(async move {
                    let outcome = methods.wait_for(&call, running).await;
                    let result = task_result(outcome, &job);
                    inputs.send(Input::Answered(Box::new(job), started_at, result));
                });
            }
        }
    }

    /// Answers a request that no worker ran.
    pub(super) fn complete_outside_workers(
        &mut self,
        job: DispatchJob,
        started_at: MonotonicTime,
        task_result: TaskResult,
    ) {
        let run_time = now().saturating_since(started_at);
        let run = RunInfo { elapsed: run_time, run_time, attempts: 0, pid: None };
        self.outside_workers -= 1;
        self.answered_outside_workers += 1;
        self.deliver(job, run, task_result);
    }

    /// Answers a request with a failure before it is accepted.
    fn reject(&mut self, request: NewRequest, reply: ReplySender, failure: Failure) {
        self.deliver(DispatchJob::of(request, 0, None, reply), RunInfo::default(), Err(failure));
    }

    /// Delivers a result to the request's own recipient and to its future. If the request has
    /// neither, the result goes to the dispatcher's recipient.
    pub(super) fn deliver(&mut self, job: DispatchJob, run: RunInfo, task_result: TaskResult) {
        let DispatchJob { parts, reply, upon_result, .. } = job;
        let recipient = match upon_result {
            Some(recipient) => Some(recipient),
            None if reply.is_awaited() => None,
            // A failure must not vanish because its recipient has stopped.
            None => self.upon_result.clone().filter(Recipient::connected),
        };
        let Some(recipient) = recipient else {
            if let (false, Err(failure)) = (reply.is_awaited(), &task_result)
                && let Some(suppressed) = self.admit_failure()
            {
                let RequestParts { id, name, .. } = &parts;
                report!(
                    self.events, warn, "request without a recipient failed";
                    "request" => id.0, "method" => name.as_ref(), "error" => failure.to_string(),
                    "suppressed" => suppressed
                );
            }
            reply.send(task_result);
            return;
        };
        let request = RequestInfo { parts, run };
        if reply.is_awaited() {
            reply.send(task_result.clone());
        }
        // A recipient that has stopped receives nothing.
        recipient.do_send(RequestDone { request, outcome: task_result });
    }

    /// Returns whether to report a failure without a recipient, and if so, the number of those that
    /// were suppressed. Only the log is limited, not the talkback recipient.
    fn admit_failure(&self) -> Option<u64> {
        if self.events.recipient.is_some() { Some(0) } else { self.failure_log.admit(now()) }
    }

    pub(super) fn record_dead_letter(
        &mut self,
        job: &DispatchJob,
        failure: &Failure,
        run: RunInfo,
    ) {
        let Failure::DeadLettered { cause, attempts } = failure else { return };
        let parts = job.parts.clone();
        let RequestParts { id, name, .. } = &parts;
        report!(
            self.events, warn, "request moved to the dead letters";
            "request" => id.0, "method" => name.as_ref(), "attempts" => *attempts,
            "reason" => cause.to_string()
        );
        if self.dead_letters.len() == DEAD_LETTERS_MAX {
            self.dead_letters.pop_front();
        }
        let request = RequestInfo { parts, run };
        let cause: ExitCause = *cause;
        self.dead_letters.push_back(DeadLetter { request, cause });
    }
}

/// Decodes a worker's answer into the outcome of the handler.
pub(super) fn decode_completion(kind: CompletionKind, body: Body) -> HandlerOutcome {
    let text = |body: &Body| body.decode::<String>().unwrap_or_else(|error| error);
    match kind {
        CompletionKind::Value => HandlerOutcome::Value(body),
        CompletionKind::Error => HandlerOutcome::Failed(text(&body)),
        CompletionKind::TimedOut => HandlerOutcome::TimedOut(text(&body)),
        CompletionKind::BadParams => HandlerOutcome::InvalidParams(text(&body)),
        CompletionKind::Panicked => {
            let (message, backtrace) =
                body.decode::<(String, String)>().unwrap_or_else(|error| (error, String::new()));
            HandlerOutcome::Panicked { message, backtrace }
        }
    }
}

/// Converts the outcome of a handler into the result of its request.
pub(super) fn task_result(done: HandlerOutcome, job: &DispatchJob) -> TaskResult {
    Err(match done {
        HandlerOutcome::Value(body) => return Ok(Reply { body }),
        HandlerOutcome::Failed(message) => Failure::Failed { message },
        HandlerOutcome::Panicked { message, backtrace } => Failure::Panicked { message, backtrace },
        HandlerOutcome::TimedOut(_text) => {
            Failure::TimedOut { kind: LimitKind::Soft, limit: job.soft.unwrap_or_default() }
        }
        HandlerOutcome::InvalidParams(reason) => {
            Rejection::InvalidParams { name: job.parts.name.to_string(), reason }.into()
        }
    })
}
