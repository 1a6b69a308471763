//! One connection to the control socket. Every answer has a deadline, whatever the other end does.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actix_daemon::Report;
use actix_daemon::control::protocol::{
    ControlCommand, ControlError, ControlErrorKind, ControlEvent, ControlMessage, ControlReply,
    ControlRequest, ResponseBody, VERSION,
};
use serde::Deserialize;
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::failure::Failure;
use crate::text;

/// The longest line that is read, in bytes: the status of the largest scoreboard has half of it.
const LINE_MAX: usize = 64 << 20;

/// A connection to a daemon.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    socket: PathBuf,
    timeout: Duration,
    /// What was read and is not of a line that was taken.
    ahead: Vec<u8>,
}

/// What every line has, of whatever version it is.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Something that a daemon tells unasked.
#[derive(Debug)]
pub(crate) enum Happened {
    /// What this version knows.
    Event(ControlEvent),
    /// What a later daemon of the same version of the protocol may add.
    Added(Value),
}

/// An answer, as far as it is understood.
enum Heard {
    Body(ResponseBody),
    Added(Value),
}

/// What reading a line has come to.
enum Line {
    Read(Vec<u8>),
    End,
}

impl Client {
    /// Connects.
    ///
    /// A daemon that hangs takes no connection any more once its queue is full: the timeout holds
    /// here, too.
    pub(crate) fn connect(socket: &Path, timeout: Duration) -> Result<Client, Failure> {
        let stream = connected(socket, timeout).map_err(|source| {
            let socket = socket.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound => Failure::NoSocket { socket },
                io::ErrorKind::ConnectionRefused => Failure::NobodyListens { socket },
                io::ErrorKind::PermissionDenied => Failure::MayNotConnect { socket },
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    Failure::NoAnswer { act: "connect".to_owned(), socket, timeout }
                }
                _other => Failure::Connect { socket, source },
            }
        })?;
        Ok(Client { stream, socket: socket.to_owned(), timeout, ahead: Vec::new() })
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, command: ControlCommand) -> Result<ControlReply, Failure> {
        let act = act(&command);
        let deadline = Instant::now().checked_add(self.timeout);
        self.send(&act, command)?;
        match self.answer(&act, deadline)? {
            Some(Heard::Body(ResponseBody::Ok(reply))) => Ok(reply),
            Some(Heard::Body(ResponseBody::Error(fault))) => Err(Failure::Daemon { act, fault }),
            Some(Heard::Body(_) | Heard::Added(_)) => {
                Err(self.senseless(&act, "it tells an event, unasked"))
            }
            None => Err(Failure::Closed { act, socket: self.socket.clone() }),
        }
    }

    /// Asks for something that is done, and returns the sentence that says so.
    pub(crate) fn order(&mut self, command: ControlCommand) -> Result<String, Failure> {
        let act = act(&command);
        match self.ask(command)? {
            ControlReply::Done { text } => Ok(text::clean(&text)),
            other => Err(self.other_reply(&act, &other)),
        }
    }

    /// Asks for the state.
    pub(crate) fn status(&mut self) -> Result<Report, Failure> {
        match self.ask(ControlCommand::Status)? {
            ControlReply::Status { report } => Ok(*report),
            other => Err(self.other_reply(&act(&ControlCommand::Status), &other)),
        }
    }

    /// Asks for the inside of the parent.
    pub(crate) fn peek(&mut self, verbose: bool) -> Result<String, Failure> {
        let command = ControlCommand::Peek { verbose };
        let act = act(&command);
        match self.ask(command)? {
            ControlReply::Peek { text } => Ok(text::clean_lines(&text)),
            other => Err(self.other_reply(&act, &other)),
        }
    }

    /// Asks for evidence: the text for people and the value for programs.
    pub(crate) fn trace(&mut self, pid: u32) -> Result<(String, Value), Failure> {
        let command = ControlCommand::Trace { pid };
        let act = act(&command);
        match self.ask(command)? {
            ControlReply::Trace { text, evidence } => Ok((text::clean_lines(&text), evidence)),
            other => Err(self.other_reply(&act, &other)),
        }
    }

    /// Asks for events: they can be taken from now on.
    pub(crate) fn listen(&mut self) -> Result<(), Failure> {
        match self.ask(ControlCommand::Events)? {
            ControlReply::Listening => Ok(()),
            other => Err(self.other_reply(&act(&ControlCommand::Events), &other)),
        }
    }

    /// Waits for the next event, for ever; `None` when the daemon has closed.
    pub(crate) fn event(&mut self) -> Result<Option<Happened>, Failure> {
        let act = act(&ControlCommand::Events);
        match self.answer(&act, None)? {
            Some(Heard::Body(ResponseBody::Event(event))) => Ok(Some(Happened::Event(event))),
            Some(Heard::Added(event)) => Ok(Some(Happened::Added(event))),
            Some(Heard::Body(ResponseBody::Error(fault))) => Err(Failure::Daemon { act, fault }),
            Some(Heard::Body(_)) => Err(self.senseless(&act, "it answers what nobody asked")),
            None => Ok(None),
        }
    }

    /// What an unexpected end of the events is.
    pub(crate) fn closed(&self) -> Failure {
        Failure::Closed { act: act(&ControlCommand::Events), socket: self.socket.clone() }
    }

    fn send(&mut self, act: &str, command: ControlCommand) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(&ControlRequest::new(command))
            .map_err(|error| self.senseless(act, &error.to_string()))?;
        line.push(b'\n');
        match self.stream.write_all(&line) {
            Ok(()) => Ok(()),
            // It may have said why before it closed.
            Err(error) if is_end(&error) => Ok(()),
            Err(error) => Err(self.broken(act, error)),
        }
    }

    /// The next line, understood; `None` at the end.
    fn answer(&mut self, act: &str, deadline: Option<Instant>) -> Result<Option<Heard>, Failure> {
        let Line::Read(line) = self.line(act, deadline)? else {
            return Ok(None);
        };
        // What another version says need not make sense in this one.
        let Versioned { version } = serde_json::from_slice(&line)
            .map_err(|error| self.senseless(act, &format!("{error}: {}", beginning(&line))))?;
        if version != VERSION {
            let socket = self.socket.clone();
            return Err(Failure::OtherVersion { act: act.to_owned(), socket, theirs: version });
        }
        match serde_json::from_slice::<ControlMessage>(&line) {
            Ok(answer) => Ok(Some(Heard::Body(answer.body))),
            Err(error) => match added(&line) {
                Some(heard) => Ok(Some(heard)),
                None => Err(self.senseless(act, &format!("{error}: {}", beginning(&line)))),
            },
        }
    }

    fn line(&mut self, act: &str, deadline: Option<Instant>) -> Result<Line, Failure> {
        let mut looked_at = 0;
        loop {
            let fresh = self.ahead.get(looked_at..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let rest = self.ahead.split_off(looked_at + end + 1);
                let mut line = std::mem::replace(&mut self.ahead, rest);
                line.truncate(looked_at + end);
                return Ok(Line::Read(line));
            }
            looked_at = self.ahead.len();
            if looked_at > LINE_MAX {
                return Err(self.senseless(act, "its line has no end"));
            }
            match self.read_more(deadline) {
                Ok(0) if self.ahead.is_empty() => return Ok(Line::End),
                Ok(0) => {
                    let why = format!("it ends in the middle: {}", beginning(&self.ahead));
                    return Err(self.senseless(act, &why));
                }
                Ok(_more) => {}
                Err(error) if is_timeout(&error) => {
                    let (socket, timeout) = (self.socket.clone(), self.timeout);
                    return Err(Failure::NoAnswer { act: act.to_owned(), socket, timeout });
                }
                Err(error) if is_end(&error) => return Ok(Line::End),
                Err(error) => return Err(self.broken(act, error)),
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
                    self.ahead.extend_from_slice(bytes.get(..read).unwrap_or_default());
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn broken(&self, act: &str, source: io::Error) -> Failure {
        let (act, socket) = (act.to_owned(), self.socket.clone());
        if is_timeout(&source) {
            return Failure::NoAnswer { act, socket, timeout: self.timeout };
        }
        Failure::Broken { act, socket, source }
    }

    fn senseless(&self, act: &str, why: &str) -> Failure {
        Failure::Senseless { act: act.to_owned(), socket: self.socket.clone(), why: why.to_owned() }
    }

    fn other_reply(&self, act: &str, reply: &ControlReply) -> Failure {
        let said = serde_json::to_vec(reply).unwrap_or_default();
        self.senseless(act, &format!("it answers another question: {}", beginning(&said)))
    }
}

/// What may be added to the protocol without another version: events, which are passed on, and kinds
/// of errors, which are failures like others.
fn added(line: &[u8]) -> Option<Heard> {
    let mut value: Value = serde_json::from_slice(line).ok()?;
    if let Some(event) = value.get_mut("event") {
        return Some(Heard::Added(event.take()));
    }
    let text = value.get("error")?.get("text")?.as_str()?.to_owned();
    Some(Heard::Body(ResponseBody::Error(ControlError { kind: ControlErrorKind::Failed, text })))
}

fn connected(socket: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let address = SockAddr::unix(socket)?;
    let stream = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Linux this is the connect's too.
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

/// As much of a line as an error can hold.
fn beginning(line: &[u8]) -> String {
    const SHOWN: usize = 60;
    let line = String::from_utf8_lossy(line);
    let mut shown: String = text::clean(&line).chars().take(SHOWN).collect();
    if line.chars().count() > SHOWN {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// What a command does, after "cannot".
fn act(command: &ControlCommand) -> String {
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
        ControlCommand::Events => "listen to events".to_owned(),
        // The protocol's list may grow.
        added_later => format!("{added_later:?}"),
    }
}
