//! Detaches from the terminal. The launching process waits until the daemon reports that it is
//! ready.
//!
//! The module [`stdio`](crate::stdio) redirects the daemon's output to a log. The module
//! [`limits`](crate::limits) sets the working directory and the umask.
//!
//! ```text
//! launcher ---- forks ----> intermediate ---- setsid, forks ----> daemon
//!    waits for the             waits for the daemon's              reports "ready"
//!    intermediate process,     report or exit,                     or "failed: reason"
//!    exits with its code       exits with code 0 or 1
//! ```
//!
//! The daemon is not a session leader, so opening a terminal does not give it a controlling
//! terminal. The intermediate process is the daemon's parent. If the daemon exits without a report,
//! the intermediate process can therefore report the daemon's exit status.

use std::env;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use crate::error::{Error, Result};
use crate::fork::{ForkResult, flush_streams, fork, other_threads};
use crate::poll::{Interest, wait};
use crate::process::{Pid, Signal, exit_now, signal};
use crate::reap::{Exit, peek_exit, reap, wait_for};
use crate::signals::{SignalBlockGuard, SignalQueue, keep_exits, unblock};
use crate::stdio::stdin_from_null;

/// The maximum length of a report in bytes. Writes up to this length are atomic (`PIPE_BUF` of
/// pipe(7); POSIX guarantees 512).
const REPORT_MAX: usize = 512;
const READY: u8 = b'R';
const FAILED: u8 = b'F';

/// Reports to the launching process whether the daemon is ready.
///
/// If a notifier is dropped without a report, the launching process continues to wait, until
/// another copy of the notifier sends a report or the daemon exits. A process that the daemon forks
/// can therefore drop its copy.
#[derive(Debug)]
#[must_use = "the launching process waits for the report"]
pub struct ReadinessNotifier {
    writer: PipeWriter,
}

impl ReadinessNotifier {
    /// Reports that the daemon is ready. The launching process then exits with code 0.
    pub fn notify_ready(self) {
        self.report(READY, "");
    }

    /// Reports why the daemon cannot start. The reason is truncated to 511 bytes and printed to the
    /// launcher's standard error. The launching process then exits with code 1.
    pub fn notify_failure(self, reason: &str) {
        self.report(FAILED, reason);
    }

    fn report(mut self, kind: u8, reason: &str) {
        let end = reason.floor_char_boundary(REPORT_MAX - 1);
        let mut report = vec![kind];
        report.extend_from_slice(&reason.as_bytes()[..end]);
        // The write fails only if the intermediate process has exited, and then nothing reads the
        // report.
        let _ = self.writer.write_all(&report);
    }
}

/// Detaches from the terminal and from the launching process. Returns in the daemon, whose standard
/// input is then `/dev/null`.
///
/// The launching process exits when the daemon sends its report with [`ReadinessNotifier`]. If the
/// daemon is ready, the exit code is 0. If the daemon has failed, `PROGRAM: reason` is printed to
/// standard error and the exit code is 1. If the daemon exits without a report, the reason is the
/// daemon's exit status. The launching process runs no `atexit` functions, because the daemon runs
/// them.
///
/// While the launching process waits, TERM, INT (Ctrl-C) and QUIT to it are passed on to the daemon
/// as TERM. It then still waits for the report or the end of the daemon.
///
/// Standard output and error are not redirected, so that errors during the start are visible.
/// Redirect both to a log or to `/dev/null` before sending the report.
///
/// # Errors
///
/// In the launching process: [`Error::OtherThreads`] if there are other threads, and [`Error::Os`]
/// if the fork fails or the system is out of descriptors. The process is then still attached.
///
/// In the intermediate process: [`Error::Os`] if the daemon cannot be forked. The launching process
/// waits for this process, and exits with the same code.
///
/// In the daemon: [`Error::Os`] if `/dev/null` cannot be opened. The error is then also printed to
/// the launcher's standard error.
pub fn detach() -> Result<ReadinessNotifier> {
    if let Some(other_threads) = other_threads()? {
        return Err(Error::OtherThreads(other_threads));
    }
    let (reader, writer) =
        io::pipe().map_err(|error| Error::os("create a pipe for detaching", error))?;
    keep_exits();
    // The two waiting processes read these signals from a queue.
    let blocked = SignalBlockGuard::block(&STOP_SIGNALS)?;
    flush_streams();
    match fork()? {
        ForkResult::Parent(intermediate) => launcher(intermediate),
        ForkResult::Child => {
            // A new child is not a group leader, so setsid(2) cannot fail.
            let _ = nix::unistd::setsid();
            match fork()? {
                ForkResult::Parent(daemon) => {
                    drop(writer);
                    exit_now(intermediate(reader, daemon));
                }
                ForkResult::Child => {
                    drop(blocked);
                    daemon(writer)
                }
            }
        }
    }
}

/// Gives up the controlling terminal of this process, for this process and all processes that it
/// forks from now on. Does nothing if there is no controlling terminal. Open descriptors of the
/// terminal can still be read and written, but a process without the terminal can neither insert
/// input into it (`TIOCSTI`) nor receive its signals.
///
/// The process must not be a session leader, because then all processes of the session would lose
/// the terminal.
///
/// # Errors
///
/// If the system refuses it.
pub fn leave_terminal() -> Result<()> {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else {
        return Ok(());
    };
    // SAFETY: TIOCNOTTY takes no argument, and the descriptor is open.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) } {
        0 => Ok(()),
        _ => Err(Error::last("leave the controlling terminal")),
    }
}

/// The signals that end the start if they are sent to the launching process.
const STOP_SIGNALS: [Signal; 3] = [Signal::Term, Signal::Int, Signal::Quit];

fn launcher(intermediate: Pid) -> ! {
    // Without the queue, Ctrl-C has no effect until the daemon is ready or has ended.
    let _ = pass_on_stops(intermediate);
    match wait_for(intermediate) {
        Ok(Exit::Code(code)) => exit_now(code),
        Ok(exit) => {
            print_error(&format!("cannot detach: the intermediate process ended with {exit}"));
        }
        Err(error) => print_error(&error.to_string()),
    }
    exit_now(1)
}

/// Sends TERM to the intermediate process for each stop signal, until that process has exited.
fn pass_on_stops(intermediate: Pid) -> Result<()> {
    let signals = SignalQueue::new(&[&STOP_SIGNALS[..], &[Signal::Child]].concat())?;
    // The caller of `detach` may have blocked others. In this process they have their usual effect.
    let others =
        Signal::ALL.into_iter().filter(|s| *s != Signal::Child && !STOP_SIGNALS.contains(s));
    unblock(&others.collect::<Vec<_>>())?;
    while peek_exit(intermediate)?.is_none() {
        wait(&[(signals.as_fd(), Interest::Read)], None)?;
        if signals.drain()?.iter().any(|signal| STOP_SIGNALS.contains(signal)) {
            // The intermediate process is a child that is not reaped yet, so its pid is valid.
            let _ = signal(intermediate, Signal::Term)?;
        }
    }
    Ok(())
}

fn daemon(writer: PipeWriter) -> Result<ReadinessNotifier> {
    let readiness = ReadinessNotifier { writer };
    match stdin_from_null() {
        Ok(()) => Ok(readiness),
        Err(error) => {
            readiness.notify_failure(&error.to_string());
            Err(error)
        }
    }
}

fn intermediate(reader: PipeReader, daemon: Pid) -> i32 {
    match wait_for_report(reader, daemon) {
        Ok(None) => return 0,
        Ok(Some(reason)) => print_error(&reason),
        Err(error) => print_error(&error.to_string()),
    }
    1
}

/// Waits for the daemon's report or exit. Returns `None` if the daemon is ready, or the reason why
/// the daemon failed. Waiting for the end of the pipe is not enough, because a process that the
/// daemon forked may hold a copy of the writing end.
fn wait_for_report(mut reader: PipeReader, daemon: Pid) -> Result<Option<String>> {
    let signals = SignalQueue::new(&[Signal::Child, Signal::Term])?;
    let mut is_open = true;
    loop {
        let exit = reap(daemon)?;
        let mut report = [0; REPORT_MAX];
        let mut length = 0;
        let readable = [(reader.as_fd(), Interest::Read)];
        if is_open && wait(&readable, Some(std::time::Duration::ZERO))?[0].is_readable() {
            length =
                reader.read(&mut report).map_err(|e| Error::os("read the daemon's report", e))?;
            is_open = length > 0;
        }
        match (report[..length].split_first(), exit) {
            (Some((&READY, _)), _) => return Ok(None),
            (Some((_, reason)), _) => {
                return Ok(Some(String::from_utf8_lossy(reason).into_owned()));
            }
            (None, Some(exit)) => {
                return Ok(Some(format!("the daemon ended before it was ready: {exit}")));
            }
            (None, None) => {}
        }
        let queue = (signals.as_fd(), Interest::Read);
        if is_open {
            wait(&[queue, (reader.as_fd(), Interest::Read)], None)?;
        } else {
            wait(&[queue], None)?;
        }
        if signals.drain()?.contains(&Signal::Term) {
            // The daemon is not reaped, so its pid is valid.
            let _ = signal(daemon, Signal::Term)?;
        }
    }
}

fn print_error(message: &str) {
    let program = env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_name().unwrap_or(&program);
    // A failed write is ignored, because there is no other output for the message.
    let _ = writeln!(io::stderr(), "{}: {message}", name.display());
}
