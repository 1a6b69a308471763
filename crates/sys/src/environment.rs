//! Changes the environment variables of this process, which is possible only while it has one
//! thread.
//!
//! The C library returns pointers into the environment without a lock (getenv(3)), so a change can
//! make another thread read freed memory. Therefore all functions that change a variable
//! count the threads first.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::error::{Error, Result};
use crate::fork::other_threads;
use crate::title;

/// The variables of sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3).
pub const SD_VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// The other variables through which a supervisor and the process that it starts communicate.
const SUPERVISOR_VARIABLES: [&str; 15] = [
    // systemd.exec(5)
    "LISTEN_PIDFDID",
    "FDSTORE",
    "MAINPID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "MONITOR_SERVICE_RESULT",
    "MONITOR_EXIT_CODE",
    "MONITOR_EXIT_STATUS",
    "MONITOR_INVOCATION_ID",
    "MONITOR_UNIT",
    // Server::Starter
    "SERVER_STARTER_PORT",
    "SERVER_STARTER_GENERATION",
    // Einhorn
    "EINHORN_MASTER_PID",
    "EINHORN_SOCK_PATH",
    "EINHORN_FDS",
];

/// Returns whether a variable is one through which a supervisor and the process that it starts
/// communicate: those of sd_notify(3), of Server::Starter and of Einhorn. A process that inherits
/// them could speak for the one that was started, or take descriptors that it does not have.
#[must_use]
pub fn is_of_supervisor(name: &OsStr) -> bool {
    SD_VARIABLES.iter().chain(&SUPERVISOR_VARIABLES).any(|known| name == *known)
}

/// Removes the [variables of the supervisor](is_of_supervisor), if there are any.
///
/// # Errors
///
/// The errors of [`retain`].
pub fn remove_supervisor_variables() -> Result<()> {
    match names().iter().any(|name| is_of_supervisor(name)) {
        true => retain(|name| !is_of_supervisor(name)),
        false => Ok(()),
    }
}

/// Removes all variables except those that `keep` accepts. If a [`Title`](crate::title::Title) has
/// been claimed, the values of the removed variables are also erased from memory, which a process
/// that is forked later would otherwise inherit.
///
/// # Errors
///
/// [`Error::OtherThreads`] if this process has other threads. Nothing has changed then.
pub fn retain(keep: impl Fn(&OsStr) -> bool) -> Result<()> {
    refuse_with_threads()?;
    for name in names().iter().filter(|name| is_valid(name) && !keep(name)) {
        erase(name);
        // SAFETY: this process has one thread, so nothing reads the environment meanwhile. The name
        // is valid, see `is_valid`.
        unsafe { env::remove_var(name) };
    }
    Ok(())
}

/// Sets a variable.
///
/// # Errors
///
/// [`Error::OtherThreads`] if this process has other threads. [`Error::Os`] if the name is empty or
/// contains `=`, or the name or the value contains a zero byte.
pub fn set(name: &str, value: impl AsRef<OsStr>) -> Result<()> {
    refuse_with_threads()?;
    let value = value.as_ref();
    if !is_valid(name.as_ref()) || value.as_bytes().contains(&0) {
        return Err(Error::os(format!("set variable {name}"), nix::Error::EINVAL));
    }
    // SAFETY: this process has one thread, so nothing reads the environment meanwhile. The name and
    // the value are valid.
    unsafe { env::set_var(name, value) };
    Ok(())
}

/// Returns the values that these variables had when this process was executed, if the system still
/// shows them; otherwise their present values. A library may have removed a variable since.
#[must_use]
pub fn initial<const N: usize>(names: [&str; N]) -> [Option<String>; N] {
    match read_initial() {
        Ok(variables) => {
            let found = names.map(|name| {
                variables.split(|byte| *byte == 0).find_map(|variable| {
                    let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                    String::from_utf8(value.to_vec()).ok()
                })
            });
            wipe(variables);
            found
        }
        Err(_not_linux) => names.map(|name| env::var(name).ok()),
    }
}

/// Reads the variables that this process had when it was executed.
fn read_initial() -> io::Result<Vec<u8>> {
    let mut file = File::open("/proc/self/environ")?;
    let (mut variables, mut length) = (vec![0; 64 << 10], 0);
    loop {
        match file.read(&mut variables[length..])? {
            0 => break,
            read => length += read,
        }
        if length == variables.len() {
            let mut larger = vec![0; 2 * length];
            larger[..length].copy_from_slice(&variables);
            wipe(std::mem::replace(&mut variables, larger));
        }
    }
    variables.truncate(length);
    Ok(variables)
}

/// Returns the names of all variables.
fn names() -> Vec<OsString> {
    let name_of = |(name, value): (OsString, OsString)| {
        wipe(value.into_vec());
        name
    };
    env::vars_os().map(name_of).collect()
}

/// Overwrites a copy of values before its memory is freed. Otherwise the values would still be in
/// the memory of this process, and of those that it forks.
fn wipe(mut values: Vec<u8>) {
    values.fill(0);
    // The compiler must not remove the writes.
    std::hint::black_box(&values);
}

fn refuse_with_threads() -> Result<()> {
    match other_threads()? {
        None => Ok(()),
        Some(threads) => Err(Error::OtherThreads(threads)),
    }
}

fn is_valid(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && !bytes.contains(&b'=') && !bytes.contains(&0)
}

/// Overwrites the value of a variable with zeros, if this process owns its memory.
fn erase(name: &OsStr) {
    let Ok(name) = CString::new(name.as_bytes()) else { return };
    if !title::owns_environment() {
        return;
    }
    // SAFETY: the name is a string, and this process has one thread.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return;
    }
    // SAFETY: `value` is a string of the environment.
    let length = unsafe { libc::strlen(value) };
    // SAFETY: the `length` bytes belong to the string. The title has replaced each string of the
    // environment by a copy on the heap, which is writable, and nothing else reads it.
    unsafe { std::ptr::write_bytes(value, 0, length) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_the_value_of_the_start_of_the_process() {
        let [path, missing] = initial(["PATH", "NO_SUCH_VARIABLE"]);
        assert_eq!((path, missing), (env::var("PATH").ok(), None));
    }

    #[test]
    fn a_process_with_other_threads_cannot_change_its_environment() {
        let before = env::vars_os().count();
        // The test runs in a thread of its own.
        assert!(matches!(retain(|_name| false), Err(Error::OtherThreads(_))));
        assert!(matches!(set("LANG", "C"), Err(Error::OtherThreads(_))));
        assert_eq!(env::vars_os().count(), before);
    }
}
