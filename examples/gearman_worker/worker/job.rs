//! A job, as it is passed to the function that the worker runs for it.

use std::error::Error;

use crate::protocol::{JobHandle, WorkerRequest};

use super::connection::Connection;
use super::problem::ConnectionError;

/// The result of a job, or why it failed.
pub(crate) type JobResult = Result<Vec<u8>, Box<dyn Error>>;

/// The current job.
pub(crate) struct GearmanJob<'a> {
    pub(super) handle: &'a JobHandle,
    pub(super) workload: &'a [u8],
    pub(super) connection: &'a mut Connection,
}

impl<'a> GearmanJob<'a> {
    /// Returns the input of the job.
    pub(crate) fn workload(&self) -> &'a [u8] {
        self.workload
    }

    /// Reports to the server and to the client how many parts of the job are done.
    ///
    /// # Errors
    ///
    /// If the connection is lost. The server then assigns the job to another worker, so the
    /// function should return.
    pub(crate) fn progress(&mut self, done: u32, of: u32) -> Result<(), ConnectionError> {
        self.connection.queue(&WorkerRequest::WorkStatus { handle: self.handle, done, of })?;
        self.connection.flush()
    }
}
