//! What the fallback gets: a request for a method that is nobody's, and the way to answer it.

use std::fmt;

use actix::Message;
use futures::channel::oneshot;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::{Failure, Outcome, Reply};
use crate::body::Body;
use crate::request::{Name, RequestId};

/// A request that no method was found for, delivered to the dispatcher's fallback. The original's
/// `xmlrpc_server_parent` gets the same.
///
/// It is answered once. Dropped without an answer it fails, and the failure says so.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Transaction {
    pub(crate) id: RequestId,
    pub(crate) name: Name,
    pub(crate) from: Name,
    pub(crate) params: Body,
    pub(crate) reply: Option<oneshot::Sender<Outcome>>,
}

impl Transaction {
    /// The number of the request.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// What was asked for.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.name
    }

    /// Who asks.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }

    /// Decodes the parameters.
    ///
    /// # Errors
    ///
    /// In words, when they are of another type.
    pub fn params<P: DeserializeOwned>(&self) -> Result<P, String> {
        self.params.decode()
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

    fn answer(mut self, outcome: Outcome) {
        if let Some(reply) = self.reply.take() {
            // The dispatcher is gone, and who has asked knows.
            let _ = reply.send(outcome);
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}
