//! What can go wrong, and the exit code of each.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use actix_daemon::control::protocol::{ControlError, ControlErrorKind, VERSION};
use daemon_core::ScoreboardError;

use crate::text;

/// The exit codes that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// All is done.
    Done = 0,
    /// The daemon refused, or could not.
    Failed = 1,
    /// The command line makes no sense: mostly clap's to say.
    Usage = 2,
    /// There is no such child.
    NoSuchChild = 3,
    /// There is no daemon that answers.
    NoDaemon = 4,
    /// The user may not.
    Forbidden = 5,
    /// The daemon speaks another version.
    Version = 6,
}

/// Why a command was not carried out. Each sentence names the act, the object and the cause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No file of that name.
    #[error("cannot connect to {}: there is no such socket; the daemon does not run, or has its \
             control socket elsewhere", .socket.display())]
    NoSocket {
        /// Its path.
        socket: PathBuf,
    },
    /// A file, and nobody behind it.
    #[error("cannot connect to {}: nobody listens there; a daemon that is gone has left it behind, or \
             it is no control socket", .socket.display())]
    NobodyListens {
        /// Its path.
        socket: PathBuf,
    },
    /// The user may not open it.
    #[error("cannot connect to {}: permission denied; the daemon's own user may, and root", .socket.display())]
    MayNotConnect {
        /// Its path.
        socket: PathBuf,
    },
    /// Anything else that the system says of it.
    #[error("cannot connect to {}: {source}", .socket.display())]
    Connect {
        /// Its path.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The time is over.
    #[error("cannot {act}: the daemon at {} has not answered within {}", .socket.display(), text::seconds(*.timeout))]
    NoAnswer {
        /// What was wanted.
        act: String,
        /// Where.
        socket: PathBuf,
        /// How long it had.
        timeout: Duration,
    },
    /// The other end is gone.
    #[error("cannot {act}: the daemon at {} has closed the connection", .socket.display())]
    Closed {
        /// What was wanted.
        act: String,
        /// Where.
        socket: PathBuf,
    },
    /// The connection is broken.
    #[error("cannot {act}: the connection to {} is broken: {source}", .socket.display())]
    Broken {
        /// What was wanted.
        act: String,
        /// Where.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What came is no answer.
    #[error("cannot {act}: what {} answers makes no sense: {why}", .socket.display())]
    Senseless {
        /// What was wanted.
        act: String,
        /// Where.
        socket: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The other end speaks another version.
    #[error("cannot {act}: the daemon at {} speaks version {theirs} of the protocol, this daemonctl \
             version {VERSION}", .socket.display())]
    OtherVersion {
        /// What was wanted.
        act: String,
        /// Where.
        socket: PathBuf,
        /// Its version.
        theirs: u32,
    },
    /// The daemon says no.
    #[error("{}", refusal(act, &.fault.text))]
    Daemon {
        /// What was wanted.
        act: String,
        /// What it says.
        fault: ControlError,
    },
    /// The scoreboard's file cannot be mapped.
    #[error(transparent)]
    BoardFile(#[from] daemon_sys::Error),
    /// It is no scoreboard.
    #[error("cannot read {} as a scoreboard: {source}", .board.display())]
    NoBoard {
        /// Its path.
        board: PathBuf,
        /// Why not.
        source: ScoreboardError,
    },
    /// Metrics are made of counters, which only the daemon has.
    #[error("cannot print metrics: the daemon has the counters, and it does not answer: {0}")]
    NoCounters(Box<Failure>),
    /// They are asked of a scoreboard alone.
    #[error("cannot print metrics of {}: only the daemon has the counters; give --socket PATH", .board.display())]
    BoardHasNoCounters {
        /// Its path.
        board: PathBuf,
    },
    /// There is no place for a live screen.
    #[error("cannot show the screen: {source}")]
    Screen {
        /// What the system says.
        source: io::Error,
    },
    /// What was asked for cannot be written.
    #[error("cannot write {object}: {source}")]
    Write {
        /// Where to.
        object: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Failure {
    /// Its exit code.
    pub(crate) fn code(&self) -> Code {
        match self {
            Failure::NoSocket { .. }
            | Failure::NobodyListens { .. }
            | Failure::Connect { .. }
            | Failure::NoAnswer { .. }
            | Failure::Closed { .. }
            | Failure::Broken { .. }
            | Failure::Senseless { .. }
            | Failure::NoBoard { .. } => Code::NoDaemon,
            Failure::MayNotConnect { .. } => Code::Forbidden,
            Failure::OtherVersion { .. } => Code::Version,
            Failure::Daemon { fault, .. } => code_of(fault.kind),
            Failure::BoardFile(error) if is_denied(error) => Code::Forbidden,
            Failure::BoardFile(_) => Code::NoDaemon,
            Failure::NoCounters(why) => why.code(),
            Failure::BoardHasNoCounters { .. } => Code::Usage,
            Failure::Write { .. } if self.is_nobody_reads() => Code::Done,
            Failure::Screen { .. } | Failure::Write { .. } => Code::Failed,
        }
    }

    /// What to tell the user; nothing if who read our output has had enough of it.
    pub(crate) fn to_tell(&self) -> Option<String> {
        (!self.is_nobody_reads()).then(|| self.to_string())
    }

    /// Whether the daemon is to blame, and its scoreboard may help.
    pub(crate) fn is_silence(&self) -> bool {
        self.code() == Code::NoDaemon
    }

    fn is_nobody_reads(&self) -> bool {
        matches!(self, Failure::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn output(source: io::Error) -> Failure {
        Failure::Write { object: "standard output".to_owned(), source }
    }
}

/// The daemon's sentence, which may say itself what cannot be done.
fn refusal(act: &str, sentence: &str) -> String {
    let sentence = text::clean(sentence);
    if sentence.starts_with("cannot ") { sentence } else { format!("cannot {act}: {sentence}") }
}

fn code_of(kind: ControlErrorKind) -> Code {
    match kind {
        ControlErrorKind::NoSuchChild => Code::NoSuchChild,
        ControlErrorKind::Forbidden => Code::Forbidden,
        ControlErrorKind::Version => Code::Version,
        ControlErrorKind::Malformed | ControlErrorKind::Refused | ControlErrorKind::Failed => {
            Code::Failed
        }
        // What a later daemon may say.
        _added_later => Code::Failed,
    }
}

fn is_denied(error: &daemon_sys::Error) -> bool {
    error
        .raw_os_error()
        .map(io::Error::from_raw_os_error)
        .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
