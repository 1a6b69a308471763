//! The interface to systemd, or to another service manager that understands sd_notify(3):
//! notifications, the watchdog, the descriptor store, and inherited descriptors.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::time::Duration;

use actix::Message;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::error::ServiceError;
use crate::state::ServiceState;
use crate::state_machine::ServiceStatus;

/// The first inherited descriptor.
const FIRST_FD: RawFd = 3;
/// The upper limit for `LISTEN_FDS`. A larger value is an error.
const FDS_MAX: u16 = 4096;

/// Checks the environment variables that systemd sets. Call this function first, so that an invalid
/// variable is detected before the program has started anything. Variables that are not set are not
/// an error.
///
/// # Errors
///
/// [`ServiceError::Environment`] if `NOTIFY_SOCKET`, `WATCHDOG_USEC` or `WATCHDOG_PID` has an
/// invalid value, and [`ServiceError::System`] if no socket can be created.
pub fn check_environment() -> Result<(), ServiceError> {
    watchdog_from_env()?;
    NotifySocket::from_env().map(drop)
}

/// The environment variables that this module reads.
pub const VARIABLES: [&str; 6] = daemon_sys::environment::SD_VARIABLES;

static REMEMBERED: OnceLock<[Option<OsString>; VARIABLES.len()]> = OnceLock::new();

/// Remembers the values of [`VARIABLES`]. From then on, this module uses the remembered values, so
/// the variables can be removed from the environment, which processes that this process starts
/// inherit. Has no effect if it was called before.
///
/// The launch of a daemon calls this function, and then removes the variables.
pub fn remember_environment() {
    REMEMBERED.get_or_init(|| VARIABLES.map(env::var_os));
}

/// Returns the value of one of [`VARIABLES`], or `None` if it is not set or empty.
fn variable_os(name: &str) -> Option<OsString> {
    let index = VARIABLES.iter().position(|known| *known == name)?;
    let value = match REMEMBERED.get() {
        Some(remembered) => remembered[index].clone(),
        None => env::var_os(name),
    };
    value.filter(|value| !value.is_empty())
}

fn variable(name: &str) -> Option<String> {
    variable_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Creates the error for a variable whose value is invalid.
fn invalid(variable: &'static str, value: &str, reason: &str) -> ServiceError {
    ServiceError::Environment { variable, value: value.to_owned(), reason: reason.to_owned() }
}

/// Returns whether the variable, which contains a pid, names the process `own`.
fn names_process(name: &'static str, value: &str, own: u32) -> Result<bool, ServiceError> {
    let pid = value.parse::<u32>();
    pid.map(|pid| pid == own).map_err(|_not_a_number| invalid(name, value, "not a process id"))
}

/// The socket for notifications to systemd.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    address: UnixAddr,
}

impl NotifySocket {
    /// Opens a socket for notifications to the address in `NOTIFY_SOCKET`. Returns `None` if the
    /// variable is not set or is empty.
    pub(crate) fn from_env() -> Result<Option<NotifySocket>, ServiceError> {
        let address = variable_os("NOTIFY_SOCKET");
        address.map(|address| NotifySocket::open(&address)).transpose()
    }

    /// Opens a socket for notifications to `address`: an absolute path, or `@` and the name of an
    /// abstract socket.
    fn open(address: &OsStr) -> Result<NotifySocket, ServiceError> {
        let unix = match address.as_bytes() {
            [b'@', name @ ..] => platform::abstract_address(name),
            [b'/', ..] => UnixAddr::new(address).map_err(|error| error.to_string()),
            _ => Err("neither an absolute path nor an abstract address (@NAME)".to_owned()),
        };
        let refused =
            |reason: String| invalid("NOTIFY_SOCKET", &address.to_string_lossy(), &reason);
        let failed =
            |source| ServiceError::System { action: "open the notification socket", source };
        let socket = UnixDatagram::unbound().map_err(failed)?;
        Ok(NotifySocket { socket, address: unix.map_err(refused)? })
    }

    /// Sends lines of `NAME=value` together with descriptors. Returns the errors of sendmsg(2);
    /// `WouldBlock` if systemd's receive queue is full.
    pub(crate) fn send(&self, lines: &str, descriptors: &[RawFd]) -> io::Result<()> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let rights = if descriptors.is_empty() { &[] } else { &rights[..] };
        let (socket, bytes) = (self.socket.as_raw_fd(), [IoSlice::new(lines.as_bytes())]);
        sendmsg(socket, &bytes, rights, MsgFlags::MSG_DONTWAIT, Some(&self.address))?;
        Ok(())
    }

    /// Stores a descriptor under this name.
    pub(crate) fn store(&self, StoreFd { name, fd }: &StoreFd) -> io::Result<()> {
        self.send(&format!("FDSTORE=1\nFDNAME={}\n", check_name(name)?), &[fd.as_raw_fd()])
    }

    /// Removes the stored descriptors with this name.
    pub(crate) fn remove(&self, RemoveFd(name): &RemoveFd) -> io::Result<()> {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={}\n", check_name(name)?), &[])
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use nix::sys::socket::UnixAddr;

    pub(super) fn abstract_address(name: &[u8]) -> Result<UnixAddr, String> {
        UnixAddr::new_abstract(name).map_err(|error| error.to_string())
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use nix::sys::socket::UnixAddr;

    pub(super) fn abstract_address(_name: &[u8]) -> Result<UnixAddr, String> {
        Err("this system does not support abstract socket addresses".to_owned())
    }
}

/// Returns the sd_notify lines for a status that follows the status `before`. `text` is the status
/// text, and `now` is the time of the monotonic clock.
///
/// `READY=1` is sent when the service first runs, and when a reload ends. A reload ends when all
/// participants have answered the callback [`Unhandled`](crate::Callback::Unhandled), or earlier if
/// the service pauses or continues. For example, a pre-forking daemon answers when its children
/// have been replaced.
///
/// In the states `StartPending` and `StopPending`, the lines also extend systemd's timeout by the
/// wait hint. A pause appears only in `STATUS=`, because systemd has no paused state.
pub(crate) fn notification(
    before: Option<&ServiceStatus>,
    status: &ServiceStatus,
    text: &str,
    now: Duration,
) -> String {
    use ServiceState::{
        ContinuePending, NotReady, PausePending, Paused, Running, StartPending, StopPending,
        Stopped,
    };

    let (was, was_reloading) =
        before.map_or((NotReady, false), |was| (was.state, was.is_reloading));
    let mut lines = match status.state {
        Running | Paused if status.is_reloading => {
            format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.as_micros())
        }
        StopPending if was != StopPending => "STOPPING=1\n".to_owned(),
        Running if was == NotReady || was == StartPending => "READY=1\n".to_owned(),
        Running | PausePending | Paused | ContinuePending if was_reloading => {
            "READY=1\n".to_owned()
        }
        NotReady | StartPending | Running | PausePending | Paused | ContinuePending
        | StopPending | Stopped => String::new(),
    };
    match status.state {
        StartPending | StopPending => {
            // systemd ignores a number that does not fit into 64 bits.
            let micros = u64::try_from(status.wait_hint.as_micros()).unwrap_or(u64::MAX);
            lines.push_str(&format!("EXTEND_TIMEOUT_USEC={micros}\n"));
        }
        NotReady | Running | PausePending | Paused | ContinuePending | Stopped => {}
    }
    let text = if status.state == Stopped { "" } else { text };
    lines + &status_line(status.state, text)
}

/// Returns the `STATUS=` line for a state and a status text.
pub(crate) fn status_line(state: ServiceState, text: &str) -> String {
    let word = state.word();
    // A line break would end the value and start the next variable.
    let text = text.replace(['\n', '\r'], " ");
    if text.is_empty() { format!("STATUS={word}\n") } else { format!("STATUS={word}: {text}\n") }
}

/// Returns the watchdog timeout from the environment: the service must notify systemd within this
/// time.
pub(crate) fn watchdog_from_env() -> Result<Option<Duration>, ServiceError> {
    let (usec, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
    watchdog_timeout(usec.as_deref(), pid.as_deref(), std::process::id())
}

/// Returns the watchdog timeout from the values of `WATCHDOG_USEC` and `WATCHDOG_PID` in the
/// process `own`. Returns `None` if `usec` is not set, or if `pid` names another process.
pub(crate) fn watchdog_timeout(
    usec: Option<&str>,
    pid: Option<&str>,
    own: u32,
) -> Result<Option<Duration>, ServiceError> {
    let Some(usec) = usec else { return Ok(None) };
    if let Some(pid) = pid
        && !names_process("WATCHDOG_PID", pid, own)?
    {
        return Ok(None);
    }
    let timeout = usec.parse().ok().filter(|usec| *usec > 0).map(Duration::from_micros);
    let reason = "not a number of microseconds greater than 0";
    timeout.map(Some).ok_or_else(|| invalid("WATCHDOG_USEC", usec, reason))
}

/// Stores a duplicate of a descriptor in systemd's descriptor store (`FDSTORE=1`).
///
/// systemd passes the stored descriptor to the service at its next start: see [`inherited_fds`]. If
/// the descriptor is a listener, connections wait in its queue until the service has started again.
/// systemd stores the descriptor only if `FileDescriptorStoreMax=` allows it. A daemon must know
/// that it does not own the listener alone: declare it with actix-daemon's
/// `ListenerOwnership::Shared`.
#[derive(Message, Debug)]
#[rtype(result = "io::Result<FdStoreResult>")]
pub struct StoreFd {
    /// The name of the stored descriptor: 1 to 255 printable ASCII characters, without a colon.
    pub name: String,
    /// The descriptor.
    pub fd: OwnedFd,
}

/// Removes the descriptors with this name from systemd's descriptor store (`FDSTOREREMOVE=1`).
#[derive(Message, Debug)]
#[rtype(result = "io::Result<FdStoreResult>")]
pub struct RemoveFd(pub String);

/// The result of [`StoreFd`] and [`RemoveFd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FdStoreResult {
    /// The request was sent to systemd, which does not confirm such requests.
    Sent,
    /// Nothing was sent, because `NOTIFY_SOCKET` is not set.
    NoServiceManager,
}

/// Checks a name against the rules of sd_notify(3).
fn check_name(name: &str) -> io::Result<&str> {
    let is_valid = |letter: char| letter.is_ascii() && !letter.is_ascii_control() && letter != ':';
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_valid) {
        let message = format!(
            "cannot use {name:?} as the name of a stored descriptor: \
             it must be 1 to 255 printable ASCII characters without a colon"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(name)
}

/// An inherited descriptor.
#[derive(Debug)]
pub struct InheritedFd {
    /// The name of the descriptor: `FileDescriptorName=` of a socket unit, `FDNAME` of a stored
    /// descriptor, or `unknown` if systemd passed no name.
    pub name: String,
    /// The descriptor. It is close-on-exec: programs that this process executes do not inherit it.
    pub fd: OwnedFd,
}

/// Takes the descriptors that systemd passes with `LISTEN_FDS`, with their names from
/// `LISTEN_FDNAMES`. Returns an empty list if `LISTEN_FDS` or `LISTEN_PID` is not set, or if
/// `LISTEN_PID` names another process.
///
/// The descriptors can be taken only once: a second call fails.
///
/// # Errors
///
/// - [`ServiceError::Environment`] if one of the variables has an invalid value.
/// - [`ServiceError::System`] if one of the descriptors is not open or has been taken before.
pub fn inherited_fds() -> Result<Vec<InheritedFd>, ServiceError> {
    let names = fd_names_from_env()?;
    let descriptors = daemon_sys::fds::take_inherited(FIRST_FD, names.len()).map_err(|error| {
        let source = io::Error::other(error);
        ServiceError::System { action: "take the inherited descriptors (LISTEN_FDS)", source }
    })?;
    Ok(names.into_iter().zip(descriptors).map(|(name, fd)| InheritedFd { name, fd }).collect())
}

/// Returns the numbers of the descriptors that systemd passes to this process with `LISTEN_FDS`,
/// whether or not they have been taken.
///
/// # Errors
///
/// [`ServiceError::Environment`] if one of the variables has an invalid value.
pub fn inherited_fd_numbers() -> Result<Range<RawFd>, ServiceError> {
    // There are at most `FDS_MAX` names.
    let count = u16::try_from(fd_names_from_env()?.len()).unwrap_or(FDS_MAX);
    Ok(FIRST_FD..FIRST_FD + RawFd::from(count))
}

/// Returns the number of descriptors that systemd passes, or `None` if they are not for the process
/// `own`.
fn fd_count(pid: Option<&str>, count: Option<&str>, own: u32) -> Result<Option<u16>, ServiceError> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(None) };
    if !names_process("LISTEN_PID", pid, own)? {
        return Ok(None);
    }
    let number: Option<u16> = count.parse().ok().filter(|number| *number <= FDS_MAX);
    let number = number.ok_or_else(|| invalid("LISTEN_FDS", count, "not a number from 0 to 4096"));
    number.map(Some)
}

fn fd_names_from_env() -> Result<Vec<String>, ServiceError> {
    let [pid, count, names] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(variable);
    fd_names(pid.as_deref(), count.as_deref(), names.as_deref(), std::process::id())
}

/// Returns the names of the inherited descriptors, the first of which is [`FIRST_FD`], from the
/// values of `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` in the process `own`.
pub(crate) fn fd_names(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own: u32,
) -> Result<Vec<String>, ServiceError> {
    let Some(number) = fd_count(pid, count, own)? else { return Ok(Vec::new()) };
    let names = names.unwrap_or_default();
    let given = names.split(':').filter(|_| !names.is_empty());
    let mut given: Vec<String> = given.map(str::to_owned).collect();
    if given.len() > usize::from(number) {
        let reason = "more names than descriptors";
        return Err(invalid("LISTEN_FDNAMES", names, reason));
    }
    given.resize(usize::from(number), "unknown".to_owned());
    Ok(given)
}

#[cfg(test)]
mod tests;
