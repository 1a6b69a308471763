//! From a line to a command, from a command to messages to the daemon, and from its answers to what
//! is said.

use std::cell::Cell;
use std::fmt::Display;
use std::rc::Rc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, MailboxError, Message};
use daemon_core::StopMode;
use daemon_forkserver::Transfer;
use daemon_sys::process::Pid;

use super::protocol::{Ask, Command, Fault, FaultKind, Outcome, Reply, VERSION};
use crate::messages::{
    Detail, GetStatus, Kill, Pause, PauseOutcome, Peek, Refusal, Reload, Reopen, Resize, Resized,
    Resume, Retire, Shutdown, ShutdownStarted, TraceChild, TraceError,
};
use crate::parent::DaemonActor;

/// Reads a client's line. The version is looked at first: what another version asks for need not
/// make sense in this one.
pub(super) fn parse(line: &[u8]) -> Result<Command, Fault> {
    let malformed =
        |why: &dyn Display| fault(FaultKind::Malformed, format!("the line is no request: {why}"));
    let value: serde_json::Value =
        serde_json::from_slice(line).map_err(|error| malformed(&error))?;
    let version = value.get("version").ok_or_else(|| malformed(&"it names no version"))?;
    if version.as_u64() != Some(u64::from(VERSION)) {
        let text = format!("the daemon speaks version {VERSION}, the client version {version}");
        return Err(fault(FaultKind::Version, text));
    }
    let ask: Ask = serde_json::from_value(value).map_err(|error| malformed(&error))?;
    Ok(ask.command)
}

pub(super) fn fault(kind: FaultKind, text: impl Into<String>) -> Fault {
    Fault { kind, text: text.into() }
}

fn done(text: impl Into<String>) -> Reply {
    Reply::Done { text: text.into() }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let kind = match &refusal {
            Refusal::NoSuchChild { .. } => FaultKind::NoSuchChild,
            Refusal::Phase(_)
            | Refusal::NoPool { .. }
            | Refusal::NoChildren { .. }
            | Refusal::Size { .. } => FaultKind::Refused,
        };
        fault(kind, refusal.to_string())
    }
}

impl From<TraceError> for Fault {
    fn from(error: TraceError) -> Self {
        let kind = match &error {
            TraceError::NoSuchChild(_) => FaultKind::NoSuchChild,
            TraceError::NoBabysitter(_) => FaultKind::Refused,
        };
        fault(kind, error.to_string())
    }
}

impl From<MailboxError> for Fault {
    fn from(_gone: MailboxError) -> Self {
        fault(FaultKind::Failed, "the daemon has stopped")
    }
}

/// The daemon, as its clients ask it.
#[derive(Debug)]
pub(super) struct Desk<R: Transfer + Send> {
    pub(super) daemon: Addr<DaemonActor<R>>,
    /// Answers that are under way.
    pub(super) answers: Rc<Cell<usize>>,
}

impl<R: Transfer + Send> Clone for Desk<R> {
    fn clone(&self) -> Self {
        Desk { daemon: self.daemon.clone(), answers: Rc::clone(&self.answers) }
    }
}

impl<R: Transfer + Send> Desk<R> {
    /// Does what is asked for.
    pub(super) async fn answer(&self, command: Command) -> Outcome {
        match self.carry_out(command).await {
            Ok(reply) => Outcome::Ok(reply),
            Err(fault) => Outcome::Error(fault),
        }
    }

    async fn ask<M>(&self, message: M) -> Result<M::Result, Fault>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        DaemonActor<R>: Handler<M>,
        <DaemonActor<R> as Actor>::Context: ToEnvelope<DaemonActor<R>, M>,
    {
        Ok(self.daemon.send(message).await?)
    }

    async fn carry_out(&self, command: Command) -> Result<Reply, Fault> {
        match command {
            Command::Status => {
                let report = Box::new(self.ask(GetStatus::Processes).await?);
                Ok(Reply::Status { report })
            }
            Command::Peek { verbose } => {
                let detail = if verbose { Detail::Verbose } else { Detail::Brief };
                Ok(Reply::Peek { text: self.ask(Peek { detail }).await? })
            }
            Command::Stop { now } => {
                let manner = if now { StopMode::Immediate } else { StopMode::Graceful };
                Ok(done(match self.ask(Shutdown(manner)).await? {
                    ShutdownStarted::Now => "the daemon is stopping",
                    ShutdownStarted::Already => "the daemon was stopping already",
                }))
            }
            Command::Reopen => match self.ask(Reopen).await? {
                Ok(()) => Ok(done("the logs are reopened")),
                Err(error) => Err(fault(FaultKind::Failed, error.to_string())),
            },
            Command::Reload => {
                let reloading = self.ask(Reload).await??;
                Ok(done(format!("{} children are being replaced", reloading.children)))
            }
            Command::Resize { to } => Ok(done(sizes(self.ask(Resize::To(to)).await??))),
            Command::Retire { pid } => {
                let child = self.ask(Retire(process(pid)?)).await??;
                Ok(done(format!("{child} (process {pid}) leaves after the request in hand")))
            }
            Command::Kill { pid } => {
                let child = self.ask(Kill(process(pid)?)).await??;
                Ok(done(format!("{child} (process {pid}) is killed")))
            }
            Command::Trace { pid } => {
                let evidence = self.ask(TraceChild(process(pid)?)).await??;
                let text = evidence.to_string();
                match serde_json::to_value(evidence.as_ref()) {
                    Ok(evidence) => Ok(Reply::Trace { text, evidence }),
                    Err(error) => Err(fault(FaultKind::Failed, error.to_string())),
                }
            }
            Command::Pause => Ok(done(match self.ask(Pause).await?? {
                PauseOutcome::Now => "paused: no more requests are taken",
                PauseOutcome::Already => "was paused already",
            })),
            Command::Resume => Ok(done(match self.ask(Resume).await?? {
                PauseOutcome::Now => "resumed: requests are taken again",
                PauseOutcome::Already => "was not paused",
            })),
            Command::Events => Ok(Reply::Listening),
        }
    }
}

fn sizes(resized: Resized) -> String {
    let Resized { min_spare, max_spare, max_children } = resized;
    // Where there is no pool nobody is spare.
    if max_spare == 0 {
        return format!("at most {max_children} children now");
    }
    format!("{min_spare} to {max_spare} spare children now, at most {max_children} in all")
}

fn process(pid: u32) -> Result<Pid, Fault> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    process.ok_or_else(|| {
        fault(
            FaultKind::NoSuchChild,
            format!("no child is process {pid}: no process has such a number"),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_a_command_of_our_version() {
        let parsed = parse(br#"{"version":1,"command":"resize","to":8}"#);
        assert_eq!(parsed, Ok(Command::Resize { to: 8 }));
        assert_eq!(
            parse(br#"{"version":1,"command":"stop","added-later":true}"#),
            Ok(Command::Stop { now: false })
        );
    }

    #[test]
    fn another_version_is_told_both_numbers_whatever_it_asks_for() {
        let fault = parse(br#"{"version":7,"command":"levitate"}"#).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Version);
        assert_eq!(fault.text, "the daemon speaks version 1, the client version 7");
    }

    #[test]
    fn what_is_no_request_is_malformed() {
        let lines = [
            "",
            "hello",
            "[]",
            "{}",
            "{\"version\":1}",
            "{\"version\":1,\"command\":\"levitate\"}",
            "{\"version\":1,\"command\":\"resize\",\"to\":-1}",
            "{\"version\":1,\"command\":\"kill\",\"pid\":\"1\"}",
        ];
        for line in lines {
            let fault = parse(line.as_bytes()).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Malformed, "{line:?}: {fault}");
        }
    }

    #[test]
    fn a_number_that_no_process_has_is_no_child() {
        for pid in [0, u32::MAX] {
            assert_eq!(process(pid).unwrap_err().kind, FaultKind::NoSuchChild);
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_a_command_or_a_fault(bytes: Vec<u8>) {
            let _answered = parse(&bytes);
        }
    }
}
