//! The errors of daemonctl, and their exit codes.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use daemon_core::{ScoreboardError, format};
use daemon_protocol::{ControlError, ControlErrorKind, VERSION};

/// The exit codes, which scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    Success = 0,
    /// The daemon refused the command or could not carry it out, or the output cannot be written.
    Failed = 1,
    /// The command line is invalid. clap reports most of these errors.
    Usage = 2,
    NoSuchChild = 3,
    /// The daemon does not answer, its answer is invalid, or the scoreboard file cannot be read.
    NoDaemon = 4,
    PermissionDenied = 5,
    /// The daemon uses another version of the protocol.
    VersionMismatch = 6,
}

/// The reason why a command failed. Each message names the action, its object and the cause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CtlError {
    /// The socket does not exist.
    #[error(
        "cannot connect to {}: the socket does not exist; is the daemon running, with its control \
         socket at this path?",
        .socket.display()
    )]
    NoSocket {
        /// The path of the socket.
        socket: PathBuf,
    },
    /// No process listens on the socket.
    #[error(
        "cannot connect to {}: connection refused; the daemon has exited, or this is not a \
         control socket",
        .socket.display()
    )]
    NotListening {
        /// The path of the socket.
        socket: PathBuf,
    },
    /// The user has no permission to connect to the socket.
    #[error(
        "cannot connect to {}: permission denied; only root and the daemon's user may connect",
        .socket.display()
    )]
    PermissionDenied {
        /// The path of the socket.
        socket: PathBuf,
    },
    /// Connecting failed for another reason.
    #[error("cannot connect to {}: {source}", .socket.display())]
    Connect {
        /// The path of the socket.
        socket: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The daemon did not answer in time.
    #[error(
        "cannot {action}: the daemon at {} did not answer within {}",
        .socket.display(), format::duration(*.timeout)
    )]
    Timeout {
        /// The action that failed.
        action: String,
        /// The path of the socket.
        socket: PathBuf,
        /// The time limit.
        timeout: Duration,
    },
    /// The daemon closed the connection.
    #[error("cannot {action}: the daemon at {} closed the connection", .socket.display())]
    Closed {
        /// The action that failed.
        action: String,
        /// The path of the socket.
        socket: PathBuf,
    },
    /// The connection failed.
    #[error("cannot {action}: the connection to {} failed: {source}", .socket.display())]
    ConnectionBroken {
        /// The action that failed.
        action: String,
        /// The path of the socket.
        socket: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The answer cannot be understood.
    #[error("cannot {action}: invalid answer from {}: {reason}", .socket.display())]
    InvalidAnswer {
        /// The action that failed.
        action: String,
        /// The path of the socket.
        socket: PathBuf,
        /// Why the answer is invalid.
        reason: String,
    },
    /// The daemon uses another version of the protocol.
    #[error("cannot {action}: the daemon at {} uses protocol version {theirs}, but this \
             daemonctl uses version {VERSION}", .socket.display())]
    VersionMismatch {
        /// The action that failed.
        action: String,
        /// The path of the socket.
        socket: PathBuf,
        /// The protocol version of the daemon.
        theirs: u32,
    },
    /// The daemon refused, or failed to carry out the command.
    #[error("{}", refusal(action, &.fault.text))]
    Refused {
        /// The action that failed.
        action: String,
        /// The answer of the daemon.
        fault: ControlError,
    },
    /// The scoreboard file cannot be mapped.
    #[error(transparent)]
    BoardFile(#[from] daemon_sys::Error),
    /// The file is not a scoreboard.
    #[error("cannot read {} as a scoreboard: {source}", .board.display())]
    InvalidBoard {
        /// The path of the file.
        board: PathBuf,
        /// Why the file is not a scoreboard.
        source: ScoreboardError,
    },
    /// Only the daemon has the counters that metrics need, and the daemon does not answer.
    #[error("cannot print metrics, which only the daemon can provide: {0}")]
    MetricsUnavailable(Box<CtlError>),
    /// Metrics of a scoreboard file were requested.
    #[error(
        "cannot print metrics from {}: a scoreboard file has no counters; give --socket PATH",
        .board.display()
    )]
    BoardHasNoMetrics {
        /// The path of the file.
        board: PathBuf,
    },
    /// The live screen cannot be shown.
    #[error("cannot show the screen: {source}")]
    Terminal {
        /// The error of the system.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write to {object}: {source}")]
    Write {
        /// The destination.
        object: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl CtlError {
    /// Returns the exit code.
    pub(crate) fn exit_status(&self) -> ExitStatus {
        match self {
            CtlError::NoSocket { .. }
            | CtlError::NotListening { .. }
            | CtlError::Connect { .. }
            | CtlError::Timeout { .. }
            | CtlError::Closed { .. }
            | CtlError::ConnectionBroken { .. }
            | CtlError::InvalidAnswer { .. }
            | CtlError::InvalidBoard { .. } => ExitStatus::NoDaemon,
            CtlError::PermissionDenied { .. } => ExitStatus::PermissionDenied,
            CtlError::VersionMismatch { .. } => ExitStatus::VersionMismatch,
            CtlError::Refused { fault, .. } => exit_status_of(fault.kind),
            CtlError::BoardFile(error) if is_permission_denied(error) => {
                ExitStatus::PermissionDenied
            }
            CtlError::BoardFile(_) => ExitStatus::NoDaemon,
            CtlError::MetricsUnavailable(cause) => cause.exit_status(),
            CtlError::BoardHasNoMetrics { .. } => ExitStatus::Usage,
            CtlError::Write { .. } if self.is_broken_pipe() => ExitStatus::Success,
            CtlError::Terminal { .. } | CtlError::Write { .. } => ExitStatus::Failed,
        }
    }

    /// Returns the message for the user; `None` if the reader of the output has closed its pipe.
    pub(crate) fn message(&self) -> Option<String> {
        (!self.is_broken_pipe()).then(|| self.to_string())
    }

    /// Returns whether the daemon is unavailable. If so, callers read its scoreboard instead.
    pub(crate) fn is_daemon_unavailable(&self) -> bool {
        self.exit_status() == ExitStatus::NoDaemon
    }

    fn is_broken_pipe(&self) -> bool {
        matches!(self, CtlError::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn output(source: io::Error) -> CtlError {
        CtlError::Write { object: "standard output".to_owned(), source }
    }
}

/// Returns the daemon's message. Puts the action before the message unless the message already
/// names an action.
fn refusal(action: &str, message: &str) -> String {
    let message = format::clean(message);
    if message.starts_with("cannot ") { message } else { format!("cannot {action}: {message}") }
}

fn exit_status_of(kind: ControlErrorKind) -> ExitStatus {
    match kind {
        ControlErrorKind::NoSuchChild => ExitStatus::NoSuchChild,
        ControlErrorKind::Forbidden => ExitStatus::PermissionDenied,
        ControlErrorKind::Version => ExitStatus::VersionMismatch,
        ControlErrorKind::Malformed | ControlErrorKind::Refused | ControlErrorKind::Failed => {
            ExitStatus::Failed
        }
        // A kind that a later version of the daemon adds.
        _added_later => ExitStatus::Failed,
    }
}

fn is_permission_denied(error: &daemon_sys::Error) -> bool {
    error
        .raw_os_error()
        .map(io::Error::from_raw_os_error)
        .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
