//! The message that passes a request for an unknown method to the dispatcher's fallback recipient,
//! and through which this recipient answers the request.

use std::fmt;

use actix::Message;
use futures::channel::oneshot;
use serde::Serialize;

use crate::answer::{Failure, Reply, TaskResult};
use crate::body::Body;
use crate::request::RequestInfo;

/// A request for an unknown method, delivered to the dispatcher's
/// [`fallback`](crate::DispatcherBuilder::fallback).
///
/// In the original (`POE::Component::PreforkDispatch`), `xmlrpc_server_parent` receives such
/// requests.
///
/// Answer the request with [`return_value`](FallbackRequest::return_value) or
/// [`fail`](FallbackRequest::fail). If a `FallbackRequest` is dropped without an answer, the
/// request fails.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FallbackRequest {
    pub(crate) request: RequestInfo,
    pub(crate) reply: Option<oneshot::Sender<TaskResult>>,
}

impl FallbackRequest {
    /// Returns the request.
    #[must_use]
    pub fn request(&self) -> &RequestInfo {
        &self.request
    }

    /// Answers the request with a value. In the original, this method is called `return`.
    pub fn return_value(self, value: &impl Serialize) {
        let outcome = match Body::of(value) {
            Ok(body) => Ok(Reply { body }),
            Err(error) => Err(Failure::Failed { message: error.to_string() }),
        };
        self.answer(outcome);
    }

    /// Answers the request with an error.
    pub fn fail(self, message: impl fmt::Display) {
        self.answer(Err(Failure::Failed { message: message.to_string() }));
    }

    fn answer(mut self, outcome: TaskResult) {
        if let Some(reply) = self.reply.take() {
            // If the dispatcher has stopped, the future of the request's sender has already failed.
            let _ = reply.send(outcome);
        }
    }
}

impl fmt::Debug for FallbackRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackRequest").field("request", &self.request).finish_non_exhaustive()
    }
}
