//! Carries out the commands of operators: sends the daemon the message that a command of the
//! control socket requires, and turns the result into a reply.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use daemon_core::{Resize, StopMode};
use daemon_forkserver::Transfer;
use daemon_sys::process::Pid;

use super::{DaemonActor, OpenStream};
use crate::control::protocol::{ControlCommand, ControlError, ControlErrorKind, ControlReply};
use crate::control::{ControlTarget, fault};
use crate::events::EventStream;
use crate::messages::{
    CommandError, Detail, GetStatus, Kill, Pause, PauseOutcome, Peek, Reload, Reopen, Resized,
    Resume, Retire, SetSize, Shutdown, ShutdownStarted, TraceChild, TraceError,
};

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

/// The daemon as the control socket uses it.
#[derive(Debug)]
pub(super) struct Operator<R: Transfer + Send>(pub(super) Addr<DaemonActor<R>>);

impl<R: Transfer + Send> Clone for Operator<R> {
    fn clone(&self) -> Self {
        Operator(self.0.clone())
    }
}

impl<R: Transfer + Send> Operator<R> {
    async fn ask<M>(&self, message: M) -> Result<M::Result, ControlError>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        DaemonActor<R>: Handler<M>,
        <DaemonActor<R> as Actor>::Context: ToEnvelope<DaemonActor<R>, M>,
    {
        self.0
            .send(message)
            .await
            .map_err(|_gone| fault(ControlErrorKind::Failed, "the daemon has stopped"))
    }
}

impl<R: Transfer + Send> ControlTarget for Operator<R> {
    async fn events(&self) -> Option<EventStream> {
        self.0.send(OpenStream).await.ok()
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
            ControlCommand::Resize { to } => {
                Ok(done(sizes(self.ask(SetSize(Resize::To(to))).await??)))
            }
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
            // The server has opened the stream of events.
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
    use super::*;

    #[test]
    fn an_invalid_pid_is_refused_with_the_error_no_such_child() {
        for pid in [0, u32::MAX] {
            assert_eq!(process(pid).unwrap_err().kind, ControlErrorKind::NoSuchChild);
        }
    }
}
