//! Parses the request lines of the control socket, sends the daemon the messages that a command
//! requires, and turns the results into replies.

use std::cell::Cell;
use std::fmt::Display;
use std::rc::Rc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use daemon_core::StopMode;
use daemon_forkserver::Transfer;
use daemon_sys::process::Pid;

use super::protocol::{
    ControlCommand, ControlError, ControlErrorKind, ControlReply, ControlRequest, ResponseBody,
    VERSION,
};
use crate::messages::{
    CommandError, Detail, GetStatus, Kill, Pause, PauseOutcome, Peek, Reload, Reopen, Resize,
    Resized, Resume, Retire, Shutdown, ShutdownStarted, TraceChild, TraceError,
};
use crate::parent::DaemonActor;

/// Parses a request line. The version is checked first, because a request of another version of the
/// protocol need not be valid in this version.
pub(crate) fn parse(line: &[u8]) -> Result<ControlCommand, ControlError> {
    let malformed = |reason: &dyn Display| {
        fault(ControlErrorKind::Malformed, format!("the line is not a request: {reason}"))
    };
    let value: serde_json::Value =
        serde_json::from_slice(line).map_err(|error| malformed(&error))?;
    let version = value.get("version").ok_or_else(|| malformed(&"it has no version"))?;
    if version.as_u64() != Some(u64::from(VERSION)) {
        let text = format!(
            "the daemon uses version {VERSION} of the protocol, the client version {version}"
        );
        return Err(fault(ControlErrorKind::Version, text));
    }
    let ask: ControlRequest = serde_json::from_value(value).map_err(|error| malformed(&error))?;
    Ok(ask.command)
}

pub(super) fn fault(kind: ControlErrorKind, text: impl Into<String>) -> ControlError {
    ControlError { kind, text: text.into() }
}

fn done(text: impl Into<String>) -> ControlReply {
    ControlReply::Done { text: text.into() }
}

impl From<CommandError> for ControlError {
    fn from(refusal: CommandError) -> Self {
        let kind = match &refusal {
            CommandError::NoSuchChild { .. } => ControlErrorKind::NoSuchChild,
            CommandError::Phase(_)
            | CommandError::NoPool { .. }
            | CommandError::NoChildren { .. }
            | CommandError::Size { .. } => ControlErrorKind::Refused,
        };
        fault(kind, refusal.to_string())
    }
}

impl From<TraceError> for ControlError {
    fn from(error: TraceError) -> Self {
        let kind = match &error {
            TraceError::NoSuchChild(_) => ControlErrorKind::NoSuchChild,
            TraceError::NoBabysitter(_) => ControlErrorKind::Refused,
        };
        fault(kind, error.to_string())
    }
}

/// Carries out the commands of clients.
#[derive(Debug)]
pub(super) struct ControlHandler<R: Transfer + Send> {
    pub(super) daemon: Addr<DaemonActor<R>>,
    /// The number of responses in progress.
    pub(super) answers: Rc<Cell<usize>>,
}

impl<R: Transfer + Send> Clone for ControlHandler<R> {
    fn clone(&self) -> Self {
        ControlHandler { daemon: self.daemon.clone(), answers: Rc::clone(&self.answers) }
    }
}

impl<R: Transfer + Send> ControlHandler<R> {
    /// Carries out a command, and returns the response.
    pub(super) async fn answer(&self, command: ControlCommand) -> ResponseBody {
        match self.carry_out(command).await {
            Ok(reply) => ResponseBody::Ok(reply),
            Err(fault) => ResponseBody::Error(fault),
        }
    }

    async fn ask<M>(&self, message: M) -> Result<M::Result, ControlError>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        DaemonActor<R>: Handler<M>,
        <DaemonActor<R> as Actor>::Context: ToEnvelope<DaemonActor<R>, M>,
    {
        let stopped = |_gone| fault(ControlErrorKind::Failed, "the daemon has stopped");
        self.daemon.send(message).await.map_err(stopped)
    }

    async fn carry_out(&self, command: ControlCommand) -> Result<ControlReply, ControlError> {
        match command {
            ControlCommand::Status => {
                let report = Box::new(self.ask(GetStatus::Processes).await?);
                Ok(ControlReply::Status { report })
            }
            ControlCommand::Peek { verbose } => {
                let detail = if verbose { Detail::Verbose } else { Detail::Brief };
                Ok(ControlReply::Peek { text: self.ask(Peek { detail }).await? })
            }
            ControlCommand::Stop { now } => {
                let mode = if now { StopMode::Immediate } else { StopMode::Graceful };
                Ok(done(match (mode, self.ask(Shutdown(mode)).await?) {
                    // An immediate stop also replaces a graceful shutdown that is in progress.
                    (StopMode::Immediate, _) => "the daemon is stopping immediately",
                    (StopMode::Graceful, ShutdownStarted::Now) => "the daemon is stopping",
                    (StopMode::Graceful, ShutdownStarted::Already) => {
                        "the daemon was stopping already"
                    }
                }))
            }
            ControlCommand::Reopen => match self.ask(Reopen).await? {
                Ok(()) => Ok(done("the logs were reopened")),
                Err(error) => Err(fault(ControlErrorKind::Failed, error.to_string())),
            },
            ControlCommand::Reload => {
                let started = self.ask(Reload).await??;
                Ok(done(format!("{} children are being replaced", started.children)))
            }
            ControlCommand::Resize { to } => Ok(done(sizes(self.ask(Resize::To(to)).await??))),
            ControlCommand::Retire { pid } => {
                let child = self.ask(Retire(process(pid)?)).await??;
                Ok(done(format!("{child} (process {pid}) exits after its current request")))
            }
            ControlCommand::Kill { pid } => {
                let child = self.ask(Kill(process(pid)?)).await??;
                Ok(done(format!("{child} (process {pid}) was killed")))
            }
            ControlCommand::Trace { pid } => {
                let evidence = self.ask(TraceChild(process(pid)?)).await??;
                let text = evidence.to_string();
                match serde_json::to_value(evidence.as_ref()) {
                    Ok(evidence) => Ok(ControlReply::Trace { text, evidence }),
                    Err(error) => Err(fault(ControlErrorKind::Failed, error.to_string())),
                }
            }
            ControlCommand::Pause => Ok(done(match self.ask(Pause).await?? {
                PauseOutcome::Now => "paused: no more requests are accepted",
                PauseOutcome::Already => "was paused already",
            })),
            ControlCommand::Resume => Ok(done(match self.ask(Resume).await?? {
                PauseOutcome::Now => "resumed: requests are accepted again",
                PauseOutcome::Already => "was not paused",
            })),
            ControlCommand::Events => Ok(ControlReply::Listening),
        }
    }
}

fn sizes(resized: Resized) -> String {
    let Resized { min_spare, max_spare, max_children } = resized;
    // Without a pool there are no spare children.
    if max_spare == 0 {
        return format!("at most {max_children} children now");
    }
    format!("{min_spare} to {max_spare} spare children now, at most {max_children} in all")
}

fn process(pid: u32) -> Result<Pid, ControlError> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    process.ok_or_else(|| {
        fault(
            ControlErrorKind::NoSuchChild,
            format!("no child of this daemon has pid {pid}: it is not a valid pid"),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_of_the_daemons_protocol_version_is_parsed() {
        let parsed = parse(br#"{"version":1,"command":"resize","to":8}"#);
        assert_eq!(parsed, Ok(ControlCommand::Resize { to: 8 }));
        assert_eq!(
            parse(br#"{"version":1,"command":"stop","added-later":true}"#),
            Ok(ControlCommand::Stop { now: false })
        );
    }

    #[test]
    fn the_error_for_a_request_of_another_protocol_version_contains_both_versions() {
        let fault = parse(br#"{"version":7,"command":"levitate"}"#).unwrap_err();
        assert_eq!(fault.kind, ControlErrorKind::Version);
        assert_eq!(fault.text, "the daemon uses version 1 of the protocol, the client version 7");
    }

    #[test]
    fn lines_that_are_not_requests_are_malformed() {
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
            assert_eq!(fault.kind, ControlErrorKind::Malformed, "{line:?}: {fault}");
        }
    }

    #[test]
    fn an_invalid_pid_is_refused_with_the_error_no_such_child() {
        for pid in [0, u32::MAX] {
            assert_eq!(process(pid).unwrap_err().kind, ControlErrorKind::NoSuchChild);
        }
    }

    proptest! {
        #[test]
        fn parsing_any_bytes_returns_a_command_or_an_error(bytes: Vec<u8>) {
            let _answered = parse(&bytes);
        }
    }
}
