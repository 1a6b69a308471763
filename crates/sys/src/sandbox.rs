//! Restricts what a process may do, permanently: which files it may open, whether it may open
//! network connections and execute programs.
//!
//! On Linux, files are restricted with Landlock, see landlock(7), and system calls with seccomp(2).
//! Both need no privileges.

use std::path::PathBuf;

use crate::error::Result;

#[cfg(any(not(target_os = "linux"), fallback))]
mod fallback;
#[cfg(all(target_os = "linux", not(fallback)))]
mod linux;
#[cfg(any(not(target_os = "linux"), fallback))]
use fallback as platform;
#[cfg(all(target_os = "linux", not(fallback)))]
use linux as platform;

pub use platform::PreparedSandbox;

/// What a process in a sandbox may do.
///
/// The process may open only the files that [`read`](Sandbox::read), [`write`](Sandbox::write) and
/// [`append`](Sandbox::append) permit. Descriptors that are open already, for example of a listener
/// or of a log, stay usable. It may neither trace processes outside of the sandbox nor, on Linux
/// 6.12 or later, signal them: so it cannot kill its parent. It may not gain privileges by executing
/// a program (`no_new_privs`). The user's permissions apply in addition: a sandbox permits nothing
/// that is forbidden without it.
///
/// # Examples
///
/// ```
/// use daemon_sys::sandbox::Sandbox;
///
/// let sandbox = Sandbox::new().read("/usr").read("/etc").write("/var/lib/thumbnails").no_exec();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a sandbox has no effect until a process enters it"]
pub struct Sandbox {
    paths: Vec<(PathBuf, FileAccess)>,
    connections: Connections,
    programs: Programs,
    enforcement: Enforcement,
}

/// What may be done with the files at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileAccess {
    Read,
    Append,
    Write,
}

/// Whether new network connections are permitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Connections {
    #[default]
    Permitted,
    Denied,
}

/// Whether the execution of programs is permitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Programs {
    #[default]
    Permitted,
    Denied,
}

/// What happens if the system does not support a restriction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Enforcement {
    #[default]
    Required,
    BestEffort,
}

impl Sandbox {
    /// Creates a sandbox in which no file may be opened.
    pub fn new() -> Sandbox {
        Sandbox::default()
    }

    /// Permits reading this file, or this directory and everything below it. Programs there may be
    /// executed, unless [`no_exec`](Sandbox::no_exec) is set.
    ///
    /// The permission belongs to the file or directory that has this path when the sandbox is
    /// [prepared](Sandbox::prepare). If a file is replaced later, the new file may not be read, so
    /// name the directory of files that are replaced.
    pub fn read(self, path: impl Into<PathBuf>) -> Sandbox {
        self.permit(path, FileAccess::Read)
    }

    /// Permits reading and changing this file, or this directory and everything below it: writing,
    /// creating, renaming and removing. Otherwise as [`read`](Sandbox::read).
    pub fn write(self, path: impl Into<PathBuf>) -> Sandbox {
        self.permit(path, FileAccess::Write)
    }

    /// Permits creating files in this directory and below it, and writing to files there, but
    /// neither reading nor truncating, renaming or removing them. This is what a log needs that is
    /// opened again after a rotation.
    pub fn append(self, path: impl Into<PathBuf>) -> Sandbox {
        self.permit(path, FileAccess::Append)
    }

    /// Forbids new network connections. The process may create only Unix sockets. It may neither
    /// connect TCP sockets nor bind them to a port, nor connect to abstract Unix sockets of
    /// processes outside of the sandbox. Accepting connections from a listener that is open already
    /// stays possible. `io_uring_setup` fails, because it would circumvent the restriction.
    ///
    /// Names are then not resolved either, because that needs a connection to a name server.
    pub fn no_new_connections(mut self) -> Sandbox {
        self.connections = Connections::Denied;
        self
    }

    /// Forbids executing programs.
    pub fn no_exec(mut self) -> Sandbox {
        self.programs = Programs::Denied;
        self
    }

    /// Uses what the system supports and ignores the rest, instead of refusing to start.
    ///
    /// Without this setting, [`prepare`](Sandbox::prepare) requires Linux 6.2 (Landlock ABI 3), for
    /// [`no_new_connections`](Sandbox::no_new_connections) Linux 6.7 (ABI 4), and one of the
    /// architectures x86_64, aarch64 and riscv64 if system calls are forbidden.
    pub fn best_effort(mut self) -> Sandbox {
        self.enforcement = Enforcement::BestEffort;
        self
    }

    fn permit(mut self, path: impl Into<PathBuf>, access: FileAccess) -> Sandbox {
        self.paths.push((path.into(), access));
        self
    }

    /// Opens the paths and compiles the rules, so that entering the sandbox takes three system
    /// calls. Restricts nothing yet.
    ///
    /// # Errors
    ///
    /// If a path does not exist, or if the system does not support a restriction and the sandbox is
    /// not [`best_effort`](Sandbox::best_effort).
    pub fn prepare(&self) -> Result<PreparedSandbox> {
        platform::prepare(self)
    }
}
