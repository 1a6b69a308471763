//! Delivery of the single answer that each request gets.

use daemon_core::ExitCause;

use super::{DEAD_LETTERS_MAX, DeadLetter, DispatchJob, Engine};
use crate::answer::{Failure, LimitKind, Rejection, Reply as Value, TaskResult};
use crate::body::Body;
use crate::frame::CompletionKind;
use crate::methods::HandlerOutcome;
use crate::request::{RequestDone, RequestInfo, RequestParts, RunInfo};
use crate::talkback::report;

impl Engine {
    /// Delivers a result to the request's own recipient and to its future. If the request has
    /// neither, the result goes to the dispatcher's recipient.
    pub(super) fn deliver(&mut self, job: DispatchJob, run: RunInfo, task_result: TaskResult) {
        let DispatchJob { parts, reply, upon_result, .. } = job;
        let recipient = match upon_result {
            Some(recipient) => Some(recipient),
            None if reply.is_awaited() => None,
            None => self.upon_result.clone(),
        };
        let Some(recipient) = recipient else {
            if let (false, Err(failure)) = (reply.is_awaited(), &task_result) {
                let RequestParts { id, name, .. } = &parts;
                report!(
                    self.events, warn, "request without a recipient failed";
                    "request" => id.0, "method" => name.as_ref(), "error" => failure.to_string()
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
        HandlerOutcome::Value(body) => return Ok(Value { body }),
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
