//! What the fallback gets: a request for a method that is nobody's, and the way to answer it.

use std::fmt;

use actix::Message;
use futures::channel::oneshot;
use serde::Serialize;

use crate::answer::{Failure, Reply, TaskResult};
use crate::body::Body;
use crate::request::Request;

/// A request that no method was found for, delivered to the dispatcher's fallback. The original's
/// `xmlrpc_server_parent` gets the same.
///
/// It is answered once. Dropped without an answer it fails, and the failure says so.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FallbackRequest {
    pub(crate) request: Request,
    pub(crate) reply: Option<oneshot::Sender<TaskResult>>,
}

impl FallbackRequest {
    /// What is asked for, and by whom.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Answers with a value. The original's `return`.
    pub fn return_value(self, value: &impl Serialize) {
        let outcome = match Body::of(value) {
            Ok(body) => Ok(Reply { body }),
            Err(error) => Err(Failure::Failed { message: error.to_string() }),
        };
        self.answer(outcome);
    }

    /// Answers with an error.
    pub fn fail(self, message: impl fmt::Display) {
        self.answer(Err(Failure::Failed { message: message.to_string() }));
    }

    fn answer(mut self, outcome: TaskResult) {
        if let Some(reply) = self.reply.take() {
            // The dispatcher is gone, and who has asked knows.
            let _ = reply.send(outcome);
        }
    }
}

impl fmt::Debug for FallbackRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("request", &self.request).finish_non_exhaustive()
    }
}
