//! The one answer of each request, on its way to who waits for it.

use daemon_core::ExitCause;

use super::{DEAD_LETTERS_MAX, DeadLetter, DispatchJob, Engine};
use crate::answer::{Failure, LimitKind, Rejection, Reply as Value, TaskResult};
use crate::body::Body;
use crate::frame::CompletionKind;
use crate::methods::Done;
use crate::request::{Request, RequestDone, RequestParts, RunInfo};

impl Engine {
    /// Delivers an answer: to the request's own recipient, to its future, to the dispatcher's
    /// recipient if nobody else waits.
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
                self.events
                    .warn(format_args!("Request {id} ({name}) that nobody waits for: {failure}"));
            }
            reply.tell(task_result);
            return;
        };
        let request = Request { parts, run };
        if reply.is_awaited() {
            reply.tell(task_result.clone());
        }
        // A recipient that has ended has said that it wants no more.
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
        self.events.warn(format_args!(
            "Request {id} ({name}) is put aside: {attempts} workers died over it, the last by {cause}"
        ));
        if self.dead_letters.len() == DEAD_LETTERS_MAX {
            self.dead_letters.pop_front();
        }
        let request = Request { parts, run };
        let cause: ExitCause = *cause;
        self.dead_letters.push_back(DeadLetter { request, cause });
    }
}

/// What a worker's answer says: its handler's end.
pub(super) fn decode_completion(ending: CompletionKind, body: Body) -> Done {
    let words = |body: &Body| body.decode::<String>().unwrap_or_else(|why| why);
    match ending {
        CompletionKind::Value => Done::Value(body),
        CompletionKind::Error => Done::Failed(words(&body)),
        CompletionKind::TimedOut => Done::TimedOut(words(&body)),
        CompletionKind::BadParams => Done::Unfit(words(&body)),
        CompletionKind::Panicked => {
            let (message, backtrace) =
                body.decode::<(String, String)>().unwrap_or_else(|why| (why, String::new()));
            Done::Panicked { message, backtrace }
        }
    }
}

/// What a handler's end means to who has asked.
pub(super) fn task_result(decode_completion: Done, job: &DispatchJob) -> TaskResult {
    Err(match decode_completion {
        Done::Value(body) => return Ok(Value { body }),
        Done::Failed(message) => Failure::Failed { message },
        Done::Panicked { message, backtrace } => Failure::Panicked { message, backtrace },
        Done::TimedOut(_words) => {
            Failure::TimedOut { kind: LimitKind::Soft, limit: job.soft.unwrap_or_default() }
        }
        Done::Unfit(reason) => {
            Rejection::InvalidParams { name: job.parts.name.to_string(), reason }.into()
        }
    })
}
