//! Leaving the terminal: the launching process waits until the daemon says that it is ready.
//!
//! Not here: the log (`stdio`), the working directory and the umask (`limits`).
//!
//! ```text
//! launcher ---- forks ----> go-between ---- setsid, forks ----> daemon
//!    waits for it              waits for a verdict,               says "ready"
//!    exits with its code       or for the daemon's end            or "failed: why"
//! ```
//!
//! The daemon is no session leader, so it can't get a terminal again by opening one. The go-between
//! is its parent, so it learns how the daemon ended if it ends without a word.

use std::env;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;

use crate::error::{Error, Result};
use crate::fork::{ForkResult, company, flush_c_streams, fork};
use crate::poll::{Interest, wait};
use crate::process::{Pid, Signal, exit_now};
use crate::reap::{Exit, reap, wait_for};
use crate::signals::SignalQueue;
use crate::stdio::stdin_from_null;

/// The most bytes of a verdict, so that it is written and read in one piece (`PIPE_BUF` of pipe(7);
/// POSIX promises 512).
const VERDICT_MAX: usize = 512;
const READY: u8 = b'R';
const FAILED: u8 = b'F';

/// The daemon's word that it owes to the process that launched it.
///
/// Dropped without one it says nothing; the launcher then waits for the daemon's end. A forked
/// process that has a copy may drop it.
#[derive(Debug)]
#[must_use = "the launching process waits for a word"]
pub struct Readiness {
    wire: PipeWriter,
}

impl Readiness {
    /// Says that the daemon is ready: the launching process exits with code 0.
    pub fn ready(self) {
        self.say(READY, "");
    }

    /// Says why the daemon can't start: the launching process prints it and exits with code 1.
    /// About 500 bytes of it are told.
    pub fn failed(self, why: &str) {
        self.say(FAILED, why);
    }

    fn say(mut self, verdict: u8, why: &str) {
        let end = why.floor_char_boundary(VERDICT_MAX - 1);
        let mut words = vec![verdict];
        words.extend_from_slice(&why.as_bytes()[..end]);
        // Nobody listens any more: then nobody needs to know.
        let _ = self.wire.write_all(&words);
    }
}

/// Detaches from the terminal and from the process that launched us; returns in the daemon, whose
/// standard input is then `/dev/null`.
///
/// In the launching process it never returns. That one ends when the daemon has said a word by
/// [`Readiness`]: with code 0, or with the error on standard error, as `NAME: why`, and code 1. If
/// the daemon ends before that, it says so, and how. It ends without running `atexit` functions,
/// which are the daemon's to run.
///
/// Standard output and error stay, so that errors of the start are seen: lead them to a log, or to
/// `/dev/null`, before the word is given.
///
/// # Errors
///
/// In the launching process, before anything was done: [`Error::OtherThreads`] if there are other
/// threads, [`Error::Os`] if the system can't fork or has no descriptor left. In the daemon: if there is
/// no `/dev/null`; the error is then told to the launcher as well.
pub fn detach() -> Result<Readiness> {
    if let Some(company) = company()? {
        return Err(Error::OtherThreads(company));
    }
    let (ear, wire) = io::pipe().map_err(|error| Error::os("open a pipe to detach by", error))?;
    flush_c_streams();
    // What can't be flushed now would only be written twice.
    let _ = io::stdout().flush();
    match fork()? {
        ForkResult::Parent(go_between) => launcher(go_between),
        ForkResult::Child => {
            // A new child leads no group, so it may always open a session (setsid(2)).
            let _ = nix::unistd::setsid();
            match fork() {
                Ok(ForkResult::Parent(daemon)) => {
                    drop(wire);
                    exit_now(go_between(ear, daemon));
                }
                Ok(ForkResult::Child) => daemon(wire),
                Err(error) => {
                    tell(&error.to_string());
                    exit_now(1);
                }
            }
        }
    }
}

fn launcher(go_between: Pid) -> ! {
    match wait_for(go_between) {
        Ok(Exit::Code(code)) => exit_now(code),
        Ok(exit) => tell(&format!("cannot detach: the go-between ended by {exit}")),
        Err(error) => tell(&error.to_string()),
    }
    exit_now(1)
}

fn daemon(wire: PipeWriter) -> Result<Readiness> {
    let readiness = Readiness { wire };
    match stdin_from_null() {
        Ok(()) => Ok(readiness),
        Err(error) => {
            readiness.failed(&error.to_string());
            Err(error)
        }
    }
}

fn go_between(ear: PipeReader, daemon: Pid) -> i32 {
    match verdict(ear, daemon) {
        Ok(None) => return 0,
        Ok(Some(why)) => tell(&why),
        Err(error) => tell(&error.to_string()),
    }
    1
}

/// Waits for the daemon's word or its end; the end alone of the pipe would not do, since a process
/// that the daemon forked may hold a copy of the other end.
fn verdict(mut ear: PipeReader, daemon: Pid) -> Result<Option<String>> {
    let children = SignalQueue::of(&[Signal::Child])?;
    let mut listens = true;
    loop {
        let exit = reap(daemon)?;
        let mut words = [0; VERDICT_MAX];
        let mut length = 0;
        let heard = [(ear.as_fd(), Interest::Read)];
        if listens && wait(&heard, Some(std::time::Duration::ZERO))?[0].can_read() {
            length = ear.read(&mut words).map_err(|e| Error::os("hear the daemon's word", e))?;
            listens = length > 0;
        }
        match (words[..length].split_first(), exit) {
            (Some((&READY, _)), _) => return Ok(None),
            (Some((_, why)), _) => return Ok(Some(String::from_utf8_lossy(why).into_owned())),
            (None, Some(exit)) => {
                return Ok(Some(format!("the daemon ended before it was ready: {exit}")));
            }
            (None, None) => {}
        }
        let queue = (children.as_fd(), Interest::Read);
        if listens {
            wait(&[queue, (ear.as_fd(), Interest::Read)], None)?;
        } else {
            wait(&[queue], None)?;
        }
        children.clear()?;
    }
}

fn tell(why: &str) {
    let program = env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_name().unwrap_or(&program);
    // There is nowhere else to say it.
    let _ = writeln!(io::stderr(), "{}: {why}", name.display());
}
