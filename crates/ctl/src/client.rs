//! A connection to the control socket. The answer to each command has a deadline, even if the
//! daemon hangs or never ends its answer. Events have no deadline.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon_core::format;
use daemon_protocol::{
    ControlCommand, ControlError, ControlErrorKind, ControlMessage, ControlReply, ControlRequest,
    DaemonEvent, Report, ResponseBody, VERSION,
};
use serde::Deserialize;
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::CtlError;

/// The maximum length of a line in bytes: twice the length of the status of a daemon with the
/// largest scoreboard.
const LINE_MAX: usize = 64 << 20;

/// A connection to a daemon.
#[derive(Debug)]
pub(crate) struct DaemonClient {
    stream: UnixStream,
    socket: PathBuf,
    timeout: Duration,
    /// The bytes that were received after the last complete line.
    buffer: Vec<u8>,
}

/// The field that every line has, in every version of the protocol.
#[derive(Deserialize)]
struct VersionField {
    version: u32,
}

/// An event from the daemon.
#[derive(Debug)]
pub(crate) enum ReceivedEvent {
    /// An event that this version of daemonctl knows.
    Known(DaemonEvent),
    /// An event that this version of daemonctl does not know, because a later version of the daemon
    /// added it to the same version of the protocol.
    Unknown(Value),
}

/// A parsed line from the daemon.
enum ParsedLine {
    Body(ResponseBody),
    Unknown(Value),
}

impl DaemonClient {
    /// Connects to the daemon.
    ///
    /// The timeout applies to connecting too, because a daemon that hangs accepts no connections
    /// when the backlog of its socket is full.
    pub(crate) fn connect(socket: &Path, timeout: Duration) -> Result<DaemonClient, CtlError> {
        let stream = connected(socket, timeout).map_err(|source| {
            let socket = socket.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound => CtlError::NoSocket { socket },
                io::ErrorKind::ConnectionRefused => CtlError::NotListening { socket },
                io::ErrorKind::PermissionDenied => CtlError::PermissionDenied { socket },
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    CtlError::Timeout { action: "connect".to_owned(), socket, timeout }
                }
                _other => CtlError::Connect { socket, source },
            }
        })?;
        Ok(DaemonClient { stream, socket: socket.to_owned(), timeout, buffer: Vec::new() })
    }

    /// Returns a client of a connection that exists.
    #[cfg(test)]
    pub(crate) fn over(stream: UnixStream) -> DaemonClient {
        let timeout = Duration::from_secs(60);
        DaemonClient { stream, socket: PathBuf::from("test"), timeout, buffer: Vec::new() }
    }

    /// Sends a command, and waits for the answer.
    pub(crate) fn ask(&mut self, command: ControlCommand) -> Result<ControlReply, CtlError> {
        let action = action(&command);
        let deadline = Instant::now().checked_add(self.timeout);
        self.send(&action, command)?;
        match self.answer(&action, deadline)? {
            Some(ParsedLine::Body(ResponseBody::Ok(reply))) => Ok(reply),
            Some(ParsedLine::Body(ResponseBody::Error(fault))) => {
                Err(CtlError::Refused { action, fault })
            }
            Some(ParsedLine::Body(_) | ParsedLine::Unknown(_)) => {
                Err(self.invalid_answer(&action, "an event instead of an answer"))
            }
            None => Err(CtlError::Closed { action, socket: self.socket.clone() }),
        }
    }

    /// Sends a command, and returns the message of the daemon.
    pub(crate) fn execute(&mut self, command: ControlCommand) -> Result<String, CtlError> {
        let action = action(&command);
        match self.ask(command)? {
            ControlReply::Done { text } => Ok(format::clean(&text)),
            other => Err(self.other_reply(&action, &other)),
        }
    }

    /// Requests and returns the status of the daemon.
    pub(crate) fn status(&mut self) -> Result<Report, CtlError> {
        match self.ask(ControlCommand::Status)? {
            ControlReply::Status { report } => Ok(*report),
            other => Err(self.other_reply(&action(&ControlCommand::Status), &other)),
        }
    }

    /// Requests and returns the internal state of the parent.
    pub(crate) fn peek(&mut self, verbose: bool) -> Result<String, CtlError> {
        let command = ControlCommand::Peek { verbose };
        let action = action(&command);
        match self.ask(command)? {
            ControlReply::Peek { text } => Ok(format::clean_lines(&text)),
            other => Err(self.other_reply(&action, &other)),
        }
    }

    /// Requests and returns the evidence about a child, as text and as JSON.
    pub(crate) fn trace(&mut self, pid: u32) -> Result<(String, Value), CtlError> {
        let command = ControlCommand::Trace { pid };
        let action = action(&command);
        match self.ask(command)? {
            ControlReply::Trace { text, evidence } => Ok((format::clean_lines(&text), evidence)),
            other => Err(self.other_reply(&action, &other)),
        }
    }

    /// Subscribes to the daemon's events, which [`event`](DaemonClient::event) then returns.
    pub(crate) fn subscribe(&mut self) -> Result<(), CtlError> {
        match self.ask(ControlCommand::Events)? {
            ControlReply::Listening => Ok(()),
            other => Err(self.other_reply(&action(&ControlCommand::Events), &other)),
        }
    }

    /// Waits for the next event without a time limit, and returns the event. Returns `None` if the
    /// daemon has closed the connection.
    pub(crate) fn event(&mut self) -> Result<Option<ReceivedEvent>, CtlError> {
        let action = action(&ControlCommand::Events);
        match self.answer(&action, None)? {
            Some(ParsedLine::Body(ResponseBody::Event(event))) => {
                Ok(Some(ReceivedEvent::Known(event)))
            }
            Some(ParsedLine::Unknown(event)) => Ok(Some(ReceivedEvent::Unknown(event))),
            Some(ParsedLine::Body(ResponseBody::Error(fault))) => {
                Err(CtlError::Refused { action, fault })
            }
            Some(ParsedLine::Body(_)) => {
                Err(self.invalid_answer(&action, "an answer instead of an event"))
            }
            None => Ok(None),
        }
    }

    /// Returns the error for an unexpected end of the events.
    pub(crate) fn closed(&self) -> CtlError {
        CtlError::Closed { action: action(&ControlCommand::Events), socket: self.socket.clone() }
    }

    fn send(&mut self, action: &str, command: ControlCommand) -> Result<(), CtlError> {
        let mut line = serde_json::to_vec(&ControlRequest::new(command))
            .map_err(|error| self.invalid_answer(action, &error.to_string()))?;
        line.push(b'\n');
        match self.stream.write_all(&line) {
            Ok(()) => Ok(()),
            // The daemon may have sent the reason before it closed the connection.
            Err(error) if is_end(&error) => Ok(()),
            Err(error) => Err(self.connection_broken(action, error)),
        }
    }

    /// Reads and parses the next line. Returns `None` if the daemon has closed the connection.
    fn answer(
        &mut self,
        action: &str,
        deadline: Option<Instant>,
    ) -> Result<Option<ParsedLine>, CtlError> {
        let Some(line) = self.line(action, deadline)? else {
            return Ok(None);
        };
        // Parse only the version first. In another version of the protocol, all other fields of the
        // line may have another format.
        let VersionField { version } = serde_json::from_slice(&line).map_err(|error| {
            self.invalid_answer(action, &format!("{error}: {}", excerpt(&line)))
        })?;
        if version != VERSION {
            let socket = self.socket.clone();
            return Err(CtlError::VersionMismatch {
                action: action.to_owned(),
                socket,
                theirs: version,
            });
        }
        match serde_json::from_slice::<ControlMessage>(&line) {
            Ok(answer) => Ok(Some(ParsedLine::Body(answer.body))),
            Err(error) => match parse_addition(&line) {
                Some(received) => Ok(Some(received)),
                None => Err(self.invalid_answer(action, &format!("{error}: {}", excerpt(&line)))),
            },
        }
    }

    fn line(
        &mut self,
        action: &str,
        deadline: Option<Instant>,
    ) -> Result<Option<Vec<u8>>, CtlError> {
        let mut searched = 0;
        loop {
            let unsearched = self.buffer.get(searched..).unwrap_or_default();
            if let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(searched + end);
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if searched > LINE_MAX {
                return Err(self.invalid_answer(action, "the line is too long"));
            }
            match self.read_more(deadline) {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => {
                    let reason = format!("the line is incomplete: {}", excerpt(&self.buffer));
                    return Err(self.invalid_answer(action, &reason));
                }
                Ok(_more) => {}
                Err(error) if is_timeout(&error) => {
                    let (socket, timeout) = (self.socket.clone(), self.timeout);
                    return Err(CtlError::Timeout { action: action.to_owned(), socket, timeout });
                }
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => return Err(self.connection_broken(action, error)),
            }
        }
    }

    fn read_more(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let left = match deadline {
                None => None,
                Some(deadline) => match deadline.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => return Err(io::ErrorKind::TimedOut.into()),
                    left => Some(left),
                },
            };
            self.stream.set_read_timeout(left)?;
            match self.stream.read(&mut bytes) {
                Ok(read) => {
                    self.buffer.extend_from_slice(bytes.get(..read).unwrap_or_default());
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn connection_broken(&self, action: &str, source: io::Error) -> CtlError {
        let (action, socket) = (action.to_owned(), self.socket.clone());
        if is_timeout(&source) {
            return CtlError::Timeout { action, socket, timeout: self.timeout };
        }
        CtlError::ConnectionBroken { action, socket, source }
    }

    fn invalid_answer(&self, action: &str, reason: &str) -> CtlError {
        CtlError::InvalidAnswer {
            action: action.to_owned(),
            socket: self.socket.clone(),
            reason: reason.to_owned(),
        }
    }

    fn other_reply(&self, action: &str, reply: &ControlReply) -> CtlError {
        let received = serde_json::to_vec(reply).unwrap_or_default();
        self.invalid_answer(
            action,
            &format!("an answer to another command: {}", excerpt(&received)),
        )
    }
}

/// Parses a line with an event or a kind of error that this daemonctl does not know, because it was
/// added to the same version of the protocol later. Returns the event as JSON, or the error with
/// the kind [`ControlErrorKind::Failed`].
fn parse_addition(line: &[u8]) -> Option<ParsedLine> {
    let mut value: Value = serde_json::from_slice(line).ok()?;
    if let Some(event) = value.get_mut("event") {
        return Some(ParsedLine::Unknown(event.take()));
    }
    let text = value.get("error")?.get("text")?.as_str()?.to_owned();
    Some(ParsedLine::Body(ResponseBody::Error(ControlError {
        kind: ControlErrorKind::Failed,
        text,
    })))
}

fn connected(socket: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let address = SockAddr::unix(socket)?;
    let stream = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Linux this timeout applies to connect(2) too.
    stream.set_write_timeout(Some(timeout))?;
    stream.connect(&address)?;
    Ok(UnixStream::from(std::os::fd::OwnedFd::from(stream)))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Returns the start of a line, for an error message.
fn excerpt(line: &[u8]) -> String {
    const SHOWN: usize = 60;
    let line = String::from_utf8_lossy(line);
    let mut shown: String = format::clean(&line).chars().take(SHOWN).collect();
    if line.chars().count() > SHOWN {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Returns the action of a command, in the words that follow "cannot" in an error message.
fn action(command: &ControlCommand) -> String {
    match command {
        ControlCommand::Status => "get the status".to_owned(),
        ControlCommand::Peek { .. } => "peek into the parent".to_owned(),
        ControlCommand::Stop { .. } => "stop the daemon".to_owned(),
        ControlCommand::Reopen => "reopen the logs".to_owned(),
        ControlCommand::Reload => "reload".to_owned(),
        ControlCommand::Resize { to } => format!("resize to {to}"),
        ControlCommand::Retire { pid } => format!("retire process {pid}"),
        ControlCommand::Kill { pid } => format!("kill process {pid}"),
        ControlCommand::Trace { pid } => format!("trace process {pid}"),
        ControlCommand::Pause => "pause".to_owned(),
        ControlCommand::Resume => "resume".to_owned(),
        ControlCommand::Events => "subscribe to events".to_owned(),
    }
}
