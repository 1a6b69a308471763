//! A job, as the function sees it that does it.

use std::error::Error;

use crate::protocol::{Handle, Request};

use super::connection::Connection;
use super::trouble::Lost;

/// What a function makes of a job: its result, or why there is none.
pub(crate) type Outcome = Result<Vec<u8>, Box<dyn Error>>;

/// A job in hand.
pub(crate) struct Job<'a> {
    pub(super) handle: &'a Handle,
    pub(super) workload: &'a [u8],
    pub(super) connection: &'a mut Connection,
}

impl<'a> Job<'a> {
    /// What the job is about.
    pub(crate) fn workload(&self) -> &'a [u8] {
        self.workload
    }

    /// Tells the server, and who waits for the job, how many of its parts are done.
    ///
    /// # Errors
    ///
    /// When the server is gone. It will hand the job to another worker: to go on makes no sense.
    pub(crate) fn progress(&mut self, done: u32, of: u32) -> Result<(), Lost> {
        self.connection.say(&Request::WorkStatus { handle: self.handle, done, of })?;
        self.connection.flush()
    }
}
