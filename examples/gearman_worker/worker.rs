//! A Gearman worker: one thread, one server, one job at a time. It knows nothing of pre-forking.
//!
//! It says what it can do, asks for a job, does it, answers, and asks again. When there is none it
//! sleeps until the server wakes it. When the server goes it comes back, and waits longer each time
//! that comes to nothing. It stops between two jobs, never within one: a job that the server has
//! assigned is always answered.

use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::time::Duration;

use crate::protocol::{Assigned, Name, Request, Response};
use connection::Connection;
use pauses::Pauses;
use waits::{Stop, doze, within};

pub(crate) use job::{Job, Outcome};
pub(crate) use trouble::{Lost, Trouble, Unfit};

mod connection;
mod job;
mod pauses;
mod trouble;
mod waits;

/// The most bytes of an error that are sent to who waits for the job.
const WORDS_MAX: usize = 4096;

/// How long the server may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// To let in at one of its addresses; to send the next bytes of an answer; to take the next bytes in.
    answer: Duration,
    /// To wake a worker. Then it asks for a job unasked, and so finds out about a server that is gone
    /// without a word, and about a job whose wake-up went to a worker that was just leaving.
    sleep: Duration,
}

const PATIENCE: Patience =
    Patience { answer: Duration::from_secs(10), sleep: Duration::from_secs(30) };

type Function = Box<dyn FnMut(&mut Job<'_>) -> Outcome>;

/// A worker. Made, it has connected to nobody yet.
pub(crate) struct Worker {
    server: Address,
    id: Name,
    functions: Vec<(Name, Function)>,
    told: Box<dyn FnMut(&Trouble)>,
    patience: Patience,
    pauses: Pauses,
    answered: Answered,
}

/// The answers that were given.
#[derive(Debug, Default)]
struct Answered {
    /// Those that the server has taken in.
    known: u64,
    /// Those that it may not have read yet.
    sent: u64,
}

/// Why a connection was given up before it was time.
enum Broken {
    Lost(Lost),
    Wait(daemon_sys::Error),
}

impl<E: Into<Lost>> From<E> for Broken {
    fn from(why: E) -> Self {
        Broken::Lost(why.into())
    }
}

/// Where a server is: `HOST:PORT`, as in `127.0.0.1:4730`. The host is looked up at each connecting.
#[derive(Debug, Clone)]
pub(crate) struct Address(String);

impl FromStr for Address {
    type Err = Unfit;

    fn from_str(address: &str) -> Result<Address, Unfit> {
        let is_address = |(host, port): (&str, &str)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        if address.rsplit_once(':').is_some_and(is_address) {
            Ok(Address(address.to_owned()))
        } else {
            Err(Unfit::Server(address.to_owned()))
        }
    }
}

impl Worker {
    /// Makes a worker for a server, with a name for the server's list of workers.
    ///
    /// # Errors
    ///
    /// When the name is none for gearmand.
    pub(crate) fn new(server: &Address, id: &str) -> Result<Worker, Unfit> {
        Ok(Worker {
            server: server.clone(),
            id: Name::new(id)?,
            functions: Vec::new(),
            told: Box::new(|_trouble| {}),
            patience: PATIENCE,
            pauses: Pauses::default(),
            answered: Answered::default(),
        })
    }

    /// Adds a function. The server looks for jobs of the functions in the order of their adding; of two
    /// with the same name the first is called.
    ///
    /// Its error becomes a warning to who waits for the job, before the failure. A function that panics
    /// takes the worker with it, and the server hands the job to another one: `gearmand --job-retries`
    /// says how often.
    ///
    /// # Errors
    ///
    /// When the name is none for gearmand.
    pub(crate) fn can(
        mut self,
        name: &str,
        function: impl FnMut(&mut Job<'_>) -> Outcome + 'static,
    ) -> Result<Worker, Unfit> {
        self.functions.push((Name::new(name)?, Box::new(function)));
        Ok(self)
    }

    /// Has this called with all that goes wrong between the worker and its server. By default nobody
    /// is told.
    pub(crate) fn on_trouble(mut self, told: impl FnMut(&Trouble) + 'static) -> Worker {
        self.told = Box::new(told);
        self
    }

    /// Works until `stop` is readable, or for ever without one. Returns how many jobs it has answered
    /// since it was made; an answer counts once the server has taken it in.
    ///
    /// A job in hand is answered first, and so is one that is on its way when `stop` becomes readable.
    /// Nothing is read from `stop`. A server that hangs can hold the stop up: for ten
    /// seconds at each of its addresses, and for as long at each read and write.
    ///
    /// # Errors
    ///
    /// None that comes from the server: the worker tells of it and tries again. Only when the system
    /// refuses to wait, for want of memory.
    pub(crate) fn run(&mut self, stop: Option<BorrowedFd<'_>>) -> daemon_sys::Result<u64> {
        while within(Duration::ZERO, stop)? == Stop::NotYet {
            match self.stay_connected(stop) {
                Ok(()) => break,
                Err(Broken::Lost(why)) => {
                    self.answered.sent = 0;
                    self.tell(|server| Trouble::Lost { server, why });
                    within(self.pauses.after_failure(), stop)?;
                }
                Err(Broken::Wait(error)) => return Err(error),
            }
        }
        Ok(self.answered.known)
    }

    fn stay_connected(&mut self, stop: Option<BorrowedFd<'_>>) -> Result<(), Broken> {
        let mut connection = Connection::to(&self.server.0, self.patience.answer)?;
        connection.say(&Request::SetClientId(&self.id))?;
        for (name, _function) in &self.functions {
            connection.say(&Request::CanDo(name))?;
        }
        while within(Duration::ZERO, stop).map_err(Broken::Wait)? == Stop::NotYet {
            match self.grab(&mut connection)? {
                Some(assigned) => self.perform(&assigned, &mut connection)?,
                None => self.sleep(&mut connection, stop)?,
            }
        }
        self.leave(connection)?;
        Ok(())
    }

    /// Asks for a job, and waits for the answer whatever else happens: a job that is assigned must not
    /// be left lying. What was said before goes out along with the question.
    fn grab(&mut self, connection: &mut Connection) -> Result<Option<Assigned>, Lost> {
        connection.say(&Request::GrabJob)?;
        connection.flush()?;
        let assigned = loop {
            match connection.hear()? {
                Response::NoJob => break None,
                Response::JobAssign(assigned) => break Some(assigned),
                // It was sent before the server had read the question.
                Response::Noop => {}
                Response::Error { code, text } => self.is_refused(code, text),
                echo @ Response::Echo(_) => return Err(out_of_turn("GRAB_JOB", &echo)),
            }
        };
        self.has_answered();
        Ok(assigned)
    }

    /// Does a job and says what it has come to; it goes out with what is said next.
    ///
    /// A failure is a warning with its words, then `WORK_FAIL`. It is not `WORK_EXCEPTION`: of that
    /// gearmand 1.1.20 tells a client that has not asked for exceptions in a packet with a damaged
    /// handle, for which the `gearman` command waits on and on.
    fn perform(&mut self, job: &Assigned, connection: &mut Connection) -> Result<(), Lost> {
        let Assigned { handle, function, workload } = job;
        let ours = self.functions.iter_mut().find(|(name, _)| name.as_bytes() == function);
        let outcome = match ours {
            Some((_name, perform)) => perform(&mut Job { handle, workload, connection }),
            None => {
                let function = String::from_utf8_lossy(function).into_owned();
                let trouble =
                    |server| Trouble::NotOurs { server, handle: handle.clone(), function };
                self.tell(trouble);
                Err("this worker has no such function".into())
            }
        };
        let outcome = outcome.and_then(|result| {
            let said = connection.say(&Request::WorkComplete { handle, result: &result });
            said.map_err(|why| format!("its result cannot be sent: {why}").into())
        });
        if let Err(why) = outcome {
            let mut words = why.to_string().into_bytes();
            words.truncate(WORDS_MAX);
            words.push(b'\n');
            connection.say(&Request::WorkWarning { handle, words: &words })?;
            connection.say(&Request::WorkFail { handle })?;
        }
        self.answered.sent += 1;
        Ok(())
    }

    /// Sleeps until there may be a job, or it is time to stop. The server assigns nothing to who sleeps.
    fn sleep(
        &mut self,
        connection: &mut Connection,
        stop: Option<BorrowedFd<'_>>,
    ) -> Result<(), Broken> {
        connection.say(&Request::PreSleep)?;
        connection.flush()?;
        loop {
            // What has come along with an earlier response is no event any more.
            if !connection.has_unread() {
                let server = doze(self.patience.sleep, connection, stop).map_err(Broken::Wait)?;
                if !server.is_readable() {
                    return Ok(());
                }
            }
            match connection.hear()? {
                Response::Noop => return Ok(()),
                Response::Error { code, text } => self.is_refused(code, text),
                other => return Err(out_of_turn("PRE_SLEEP", &other).into()),
            }
        }
    }

    /// Takes leave: it can do nothing any more, and is all taken in that it has said?
    ///
    /// The protocol acknowledges no answer. Older gearmands pass over what they have read from a
    /// connection that is closed by the time they come to it, and a connection that is closed over an
    /// unread wake-up is reset, which may throw away what was sent: a job that was answered would go to
    /// another worker too. An echo comes back after all that was said before it.
    fn leave(&mut self, mut connection: Connection) -> Result<(), Lost> {
        connection.say(&Request::ResetAbilities)?;
        connection.say(&Request::Echo(b"good-bye"))?;
        connection.flush()?;
        loop {
            match connection.hear()? {
                Response::Echo(_) => break,
                // It was sent before the server had read that nothing can be done here any more.
                Response::Noop => {}
                Response::Error { code, text } => self.is_refused(code, text),
                other => return Err(out_of_turn("ECHO_REQ", &other)),
            }
        }
        self.has_answered();
        Ok(())
    }

    /// The server has come to what was said before its answer.
    fn has_answered(&mut self) {
        self.pauses.answered();
        self.answered.known += std::mem::take(&mut self.answered.sent);
    }

    fn is_refused(&mut self, code: String, text: String) {
        self.tell(|server| Trouble::Refused { server, code, text });
    }

    fn tell(&mut self, trouble: impl FnOnce(String) -> Trouble) {
        (self.told)(&trouble(self.server.0.clone()));
    }
}

fn out_of_turn(asked: &'static str, answered: &Response) -> Lost {
    Lost::OutOfTurn { asked, answered: answered.name() }
}

#[cfg(test)]
mod tests;
