//! A Gearman worker: one thread, one server, one job at a time. It does not depend on
//! `daemon-prefork`.
//!
//! The worker registers its functions, requests a job, runs the job, sends the answer, and requests
//! the next job. If there is no job, the worker sleeps until the server wakes it. If the connection
//! is lost, the worker connects again, after a delay that doubles with each failure. It stops only
//! between two jobs, so every job that the server has assigned is answered.

use std::error::Error;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::time::Duration;

use crate::protocol::{AssignedJob, GearmanName, JobHandle, Response, WorkerRequest};
use connection::{Connection, ReconnectDelay, wait_for_server, wait_for_stop};

pub(crate) use problem::{ConnectionError, SetupError, WorkerProblem};

mod connection;
mod problem;

/// The maximum length in bytes of an error that is sent to the client of a job.
const ERROR_TEXT_MAX: usize = 4096;

/// How long to wait for the server.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    /// The timeout for connecting to one of the server's addresses, and for each read and write.
    answer: Duration,
    /// How long to sleep without a wakeup. After this time the worker requests a job anyway. The
    /// worker thus detects a server that has disappeared, and a job whose wakeup was sent to
    /// another worker that was just disconnecting.
    sleep: Duration,
}

const TIMEOUTS: Timeouts =
    Timeouts { answer: Duration::from_secs(10), sleep: Duration::from_secs(30) };

/// The result of a job, or why it failed.
pub(crate) type JobResult = Result<Vec<u8>, Box<dyn Error>>;

/// The current job.
pub(crate) struct GearmanJob<'a> {
    handle: &'a JobHandle,
    workload: &'a [u8],
    connection: &'a mut Connection,
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

type Function = Box<dyn FnMut(&mut GearmanJob<'_>) -> JobResult>;

/// A worker, which connects in [`run`](GearmanWorker::run).
pub(crate) struct GearmanWorker {
    server: ServerAddress,
    id: GearmanName,
    functions: Vec<(GearmanName, Function)>,
    on_problem: Box<dyn FnMut(&WorkerProblem)>,
    timeouts: Timeouts,
    reconnect_delay: ReconnectDelay,
    answer_counts: AnswerCounts,
}

/// Counts of the answers that were sent.
#[derive(Debug, Default)]
struct AnswerCounts {
    /// Answers that the server has read.
    confirmed: u64,
    /// Answers that the server may not have read yet.
    sent: u64,
}

/// Why a connection ended before the worker had disconnected.
enum RunError {
    Connection(ConnectionError),
    Wait(daemon_sys::Error),
}

impl<E: Into<ConnectionError>> From<E> for RunError {
    fn from(error: E) -> Self {
        RunError::Connection(error.into())
    }
}

/// A server's address: `HOST:PORT`, for example `127.0.0.1:4730`. Each connection resolves the host
/// again.
#[derive(Debug, Clone)]
pub(crate) struct ServerAddress(String);

impl FromStr for ServerAddress {
    type Err = SetupError;

    fn from_str(address: &str) -> Result<ServerAddress, SetupError> {
        let is_address = |(host, port): (&str, &str)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        if address.rsplit_once(':').is_some_and(is_address) {
            Ok(ServerAddress(address.to_owned()))
        } else {
            Err(SetupError::Server(address.to_owned()))
        }
    }
}

impl GearmanWorker {
    /// Creates a worker for a server, with a name for the server's list of workers.
    ///
    /// # Errors
    ///
    /// If gearmand does not accept the name.
    pub(crate) fn new(server: &ServerAddress, id: &str) -> Result<GearmanWorker, SetupError> {
        Ok(GearmanWorker {
            server: server.clone(),
            id: GearmanName::new(id)?,
            functions: Vec::new(),
            on_problem: Box::new(|_problem| {}),
            timeouts: TIMEOUTS,
            reconnect_delay: ReconnectDelay::default(),
            answer_counts: AnswerCounts::default(),
        })
    }

    /// Adds a function. The server assigns jobs of the functions in the order in which the
    /// functions were added. If two functions have the same name, the first is called.
    ///
    /// If the function returns an error, the client receives the error as a warning, and then the
    /// failure. A panic ends the worker, and the server assigns the job to another worker.
    /// `gearmand --job-retries` limits how often the server does so.
    ///
    /// # Errors
    ///
    /// If gearmand does not accept the name.
    pub(crate) fn add_function(
        mut self,
        name: &str,
        function: impl FnMut(&mut GearmanJob<'_>) -> JobResult + 'static,
    ) -> Result<GearmanWorker, SetupError> {
        self.functions.push((GearmanName::new(name)?, Box::new(function)));
        Ok(self)
    }

    /// Sets a function that is called with each problem between the worker and its server. By
    /// default problems are not reported.
    pub(crate) fn on_problem(
        mut self,
        on_problem: impl FnMut(&WorkerProblem) + 'static,
    ) -> GearmanWorker {
        self.on_problem = Box::new(on_problem);
        self
    }

    /// Runs until `stop` is readable, or for ever if `stop` is `None`. Returns the number of jobs
    /// that were answered since the worker was created. An answer counts only after the server has
    /// read it.
    ///
    /// The current job is answered first, and so is a job that the server is assigning when `stop`
    /// becomes readable. Nothing is read from `stop`. A server that hangs can delay the stop by ten
    /// seconds for each of its addresses, and for each read and write.
    ///
    /// # Errors
    ///
    /// If poll(2) fails, for lack of memory. Problems with the server are not errors: they are
    /// reported, and the worker connects again.
    pub(crate) fn run(&mut self, stop: Option<BorrowedFd<'_>>) -> daemon_sys::Result<u64> {
        while !wait_for_stop(Duration::ZERO, stop)? {
            match self.serve_connection(stop) {
                Ok(()) => break,
                Err(RunError::Connection(error)) => {
                    self.answer_counts.sent = 0;
                    self.report(|server| WorkerProblem::ConnectionLost { server, error });
                    wait_for_stop(self.reconnect_delay.after_failure(), stop)?;
                }
                Err(RunError::Wait(error)) => return Err(error),
            }
        }
        Ok(self.answer_counts.confirmed)
    }

    fn serve_connection(&mut self, stop: Option<BorrowedFd<'_>>) -> Result<(), RunError> {
        let mut connection = Connection::to(&self.server.0, self.timeouts.answer)?;
        connection.queue(&WorkerRequest::SetClientId(&self.id))?;
        for (name, _function) in &self.functions {
            connection.queue(&WorkerRequest::CanDo(name))?;
        }
        while !wait_for_stop(Duration::ZERO, stop).map_err(RunError::Wait)? {
            match self.request_job(&mut connection)? {
                Some(assigned) => self.perform(&assigned, &mut connection)?,
                None => self.sleep(&mut connection, stop)?,
            }
        }
        self.disconnect(connection)?;
        Ok(())
    }

    /// Requests a job, and waits for the response even if a stop is requested meanwhile, because an
    /// assigned job must be answered. Requests that are already queued are sent too.
    fn request_job(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<AssignedJob>, ConnectionError> {
        connection.queue(&WorkerRequest::GrabJob)?;
        connection.flush()?;
        let assigned = loop {
            match connection.receive()? {
                Response::NoJob => break None,
                Response::JobAssign(assigned) => break Some(assigned),
                // The server sent this response before it read `GRAB_JOB`.
                Response::Noop => {}
                Response::Error { code, text } => self.report_refusal(code, text),
                echo @ Response::Echo(_) => return Err(unexpected_response("GRAB_JOB", &echo)),
            }
        };
        self.confirm_answers();
        Ok(assigned)
    }

    /// Runs a job and queues its answer, which is sent with the next request.
    ///
    /// If the job fails, the answer is a warning that contains the error, followed by `WORK_FAIL`.
    /// `WORK_EXCEPTION` is not used, because gearmand 1.1.20 forwards it even to clients that have
    /// not asked for exceptions. The forwarded packet has a damaged handle, so the `gearman`
    /// command waits for ever.
    fn perform(
        &mut self,
        job: &AssignedJob,
        connection: &mut Connection,
    ) -> Result<(), ConnectionError> {
        let AssignedJob { handle, function, workload } = job;
        let registered = self.functions.iter_mut().find(|(name, _)| name.as_bytes() == function);
        let result = match registered {
            Some((_name, perform)) => perform(&mut GearmanJob { handle, workload, connection }),
            None => {
                let function = String::from_utf8_lossy(function).into_owned();
                let problem = |server| WorkerProblem::UnknownFunction {
                    server,
                    handle: handle.clone(),
                    function,
                };
                self.report(problem);
                Err("this worker has no such function".into())
            }
        };
        let result = result.and_then(|result| {
            let queued = connection.queue(&WorkerRequest::WorkComplete { handle, result: &result });
            queued.map_err(|error| format!("cannot send the result: {error}").into())
        });
        if let Err(error) = result {
            let mut text = error.to_string().into_bytes();
            text.truncate(ERROR_TEXT_MAX);
            text.push(b'\n');
            connection.queue(&WorkerRequest::WorkWarning { handle, text: &text })?;
            connection.queue(&WorkerRequest::WorkFail { handle })?;
        }
        self.answer_counts.sent += 1;
        Ok(())
    }

    /// Sleeps until there may be a job or a stop is requested. The server assigns no jobs to a
    /// sleeping worker.
    fn sleep(
        &mut self,
        connection: &mut Connection,
        stop: Option<BorrowedFd<'_>>,
    ) -> Result<(), RunError> {
        connection.queue(&WorkerRequest::PreSleep)?;
        connection.flush()?;
        loop {
            // poll(2) does not report bytes that were read together with an earlier response.
            if !connection.has_unread() {
                let server = wait_for_server(self.timeouts.sleep, connection, stop)
                    .map_err(RunError::Wait)?;
                if !server.is_readable() {
                    return Ok(());
                }
            }
            match connection.receive()? {
                Response::Noop => return Ok(()),
                Response::Error { code, text } => self.report_refusal(code, text),
                other => return Err(unexpected_response("PRE_SLEEP", &other).into()),
            }
        }
    }

    /// Withdraws all functions, waits until the server has read everything, and closes the
    /// connection.
    ///
    /// The protocol does not acknowledge answers. Older versions of gearmand discard data that they
    /// process after the connection was closed. If the worker closes the connection while a wakeup
    /// is unread, the connection is reset, which may discard sent data. In both cases the answer
    /// can be lost, and the server then assigns the job again, to another worker. The response to
    /// an echo request confirms that the server has read everything before the echo request.
    fn disconnect(&mut self, mut connection: Connection) -> Result<(), ConnectionError> {
        connection.queue(&WorkerRequest::ResetAbilities)?;
        connection.queue(&WorkerRequest::Echo(b"good-bye"))?;
        connection.flush()?;
        loop {
            match connection.receive()? {
                Response::Echo(_) => break,
                // The server sent this response before it read the echo request.
                Response::Noop => {}
                Response::Error { code, text } => self.report_refusal(code, text),
                other => return Err(unexpected_response("ECHO_REQ", &other)),
            }
        }
        self.confirm_answers();
        Ok(())
    }

    /// Records that the server has read all answers that were sent before its response.
    fn confirm_answers(&mut self) {
        self.reconnect_delay.reset();
        self.answer_counts.confirmed += std::mem::take(&mut self.answer_counts.sent);
    }

    fn report_refusal(&mut self, code: String, text: String) {
        self.report(|server| WorkerProblem::Refused { server, code, text });
    }

    fn report(&mut self, problem: impl FnOnce(String) -> WorkerProblem) {
        (self.on_problem)(&problem(self.server.0.clone()));
    }
}

fn unexpected_response(request: &'static str, response: &Response) -> ConnectionError {
    ConnectionError::UnexpectedResponse { request, response: response.name() }
}

#[cfg(test)]
mod tests;
