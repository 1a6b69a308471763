//! The one answer of each request, on its way to who waits for it.

use daemon_core::ExitCause;

use super::{ASIDE_MAX, Cargo, DeadLetter, Engine};
use crate::answer::{Failure, LimitKind, Rejection, Reply as Value, TaskResult};
use crate::body::Body;
use crate::frame::Ending;
use crate::methods::Done;
use crate::request::{Request, RequestDone, RequestParts, RunInfo};

impl Engine {
    /// Delivers an answer: to the request's own recipient, to its future, to the dispatcher's
    /// recipient if nobody else waits.
    pub(super) fn deliver(&mut self, cargo: Cargo, run: RunInfo, outcome: TaskResult) {
        let Cargo { parts, reply, upon_result, .. } = cargo;
        let recipient = match upon_result {
            Some(recipient) => Some(recipient),
            None if reply.is_awaited() => None,
            None => self.upon_result.clone(),
        };
        let Some(recipient) = recipient else {
            if let (false, Err(failure)) = (reply.is_awaited(), &outcome) {
                let RequestParts { id, name, .. } = &parts;
                self.events
                    .warn(format_args!("Request {id} ({name}) that nobody waits for: {failure}"));
            }
            reply.tell(outcome);
            return;
        };
        let request = Request { parts, run };
        if reply.is_awaited() {
            reply.tell(outcome.clone());
        }
        // A recipient that has ended has said that it wants no more.
        recipient.do_send(RequestDone { request, outcome });
    }

    pub(super) fn remember_if_put_aside(&mut self, cargo: &Cargo, failure: &Failure, run: RunInfo) {
        let Failure::DeadLettered { cause, attempts } = failure else { return };
        let parts = cargo.parts.clone();
        let RequestParts { id, name, .. } = &parts;
        self.events.warn(format_args!(
            "Request {id} ({name}) is put aside: {attempts} workers died over it, the last by {cause}"
        ));
        if self.aside.len() == ASIDE_MAX {
            self.aside.pop_front();
        }
        let request = Request { parts, run };
        let cause: ExitCause = *cause;
        self.aside.push_back(DeadLetter { request, cause });
    }
}

/// What a worker's answer says: its handler's end.
pub(super) fn done(ending: Ending, body: Body) -> Done {
    let words = |body: &Body| body.decode::<String>().unwrap_or_else(|why| why);
    match ending {
        Ending::Value => Done::Value(body),
        Ending::Failed => Done::Failed(words(&body)),
        Ending::TimedOut => Done::TimedOut(words(&body)),
        Ending::Unfit => Done::Unfit(words(&body)),
        Ending::Panicked => {
            let (message, backtrace) =
                body.decode::<(String, String)>().unwrap_or_else(|why| (why, String::new()));
            Done::Panicked { message, backtrace }
        }
    }
}

/// What a handler's end means to who has asked.
pub(super) fn outcome(done: Done, cargo: &Cargo) -> TaskResult {
    Err(match done {
        Done::Value(body) => return Ok(Value { body }),
        Done::Failed(message) => Failure::Failed { message },
        Done::Panicked { message, backtrace } => Failure::Panicked { message, backtrace },
        Done::TimedOut(_words) => {
            Failure::TimedOut { kind: LimitKind::Soft, limit: cargo.soft.unwrap_or_default() }
        }
        Done::Unfit(reason) => {
            Rejection::InvalidParams { name: cargo.parts.name.to_string(), reason }.into()
        }
    })
}
