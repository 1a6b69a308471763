//! Restricts what a process may do, permanently: which files it may open, whether it may open
//! network connections and execute programs.
//!
//! On Linux, files are restricted with Landlock, see landlock(7), and system calls with seccomp(2).
//! Both need no privileges.

use std::path::PathBuf;

use crate::error::Result;
use crate::privileges::Privileges;

pub use platform::PreparedSandbox;

/// What a process in a sandbox may do.
///
/// The process may open only the files that [`read`](Sandbox::read), [`write`](Sandbox::write) and
/// [`append`](Sandbox::append) permit. Descriptors that are open already, for example of a listener
/// or of a log, stay usable. It may neither trace processes outside of the sandbox nor, on Linux
/// 6.12 or later, signal them: so it cannot kill its parent. It may not gain privileges by
/// executing a program (`no_new_privs`). The user's permissions apply in addition: a sandbox
/// permits nothing that is forbidden without it.
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
    no_new_connections: bool,
    no_exec: bool,
    /// Whether restrictions that the system does not support are left out.
    best_effort: bool,
}

/// What may be done with the files at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileAccess {
    Read,
    Append,
    Write,
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
        self.no_new_connections = true;
        self
    }

    /// Forbids executing programs.
    pub fn no_exec(mut self) -> Sandbox {
        self.no_exec = true;
        self
    }

    /// Uses what the system supports and ignores the rest, instead of refusing to start.
    ///
    /// Without this setting, [`prepare`](Sandbox::prepare) requires Linux 6.2 (Landlock ABI 3), for
    /// [`no_new_connections`](Sandbox::no_new_connections) Linux 6.7 (ABI 4), and one of the
    /// architectures x86_64, aarch64 and riscv64 if system calls are forbidden.
    pub fn best_effort(mut self) -> Sandbox {
        self.best_effort = true;
        self
    }

    fn permit(mut self, path: impl Into<PathBuf>, access: FileAccess) -> Sandbox {
        self.paths.push((path.into(), access));
        self
    }

    /// Opens the paths and compiles the rules, so that entering the sandbox takes three system
    /// calls. Restricts nothing yet. `user` is the user to whom the process will change, if any.
    ///
    /// # Errors
    ///
    /// If a path does not exist or contains a symbolic link that this user, or another user than
    /// root and that of this process, can change: a process in the sandbox could otherwise extend
    /// the next sandbox. Or if the system does not support a restriction and the sandbox is not
    /// [`best_effort`](Sandbox::best_effort).
    pub fn prepare(&self, user: Option<&Privileges>) -> Result<PreparedSandbox> {
        platform::prepare(self, user)
    }
}

/// Systems without sandboxes.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use super::Sandbox;
    use crate::error::{Error, Result};
    use crate::privileges::Privileges;

    /// A sandbox that a process can enter.
    #[derive(Debug)]
    #[must_use = "the sandbox has no effect until a process enters it"]
    pub struct PreparedSandbox(());

    pub(super) fn prepare(
        sandbox: &Sandbox,
        _user: Option<&Privileges>,
    ) -> Result<PreparedSandbox> {
        if sandbox.best_effort {
            return Ok(PreparedSandbox(()));
        }
        Err(Error::Unsupported { action: "prepare the sandbox".to_owned() })
    }

    impl PreparedSandbox {
        /// Does nothing on this system.
        ///
        /// # Errors
        ///
        /// Never.
        pub fn enter(self) -> Result<()> {
            Ok(())
        }
    }
}

/// Restricts files with Landlock and system calls with seccomp(2).
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::collections::BTreeMap;
    use std::io;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath,
        RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
        RulesetStatus, Scope,
    };
    use libc::c_long;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch, apply_filter,
    };

    use super::{FileAccess, Sandbox};
    use crate::error::{Error, Result};
    use crate::place::{self, FileKind, Trust};
    use crate::privileges::Privileges;

    /// The first version that restricts truncation, without which every file could be emptied.
    const FILES: ABI = ABI::V3;

    /// A sandbox that a process can enter. Processes that are forked afterwards have a copy.
    #[derive(Debug)]
    #[must_use = "the sandbox has no effect until a process enters it"]
    pub struct PreparedSandbox {
        ruleset: RulesetCreated,
        filter: Option<BpfProgram>,
        best_effort: bool,
    }

    pub(super) fn prepare(sandbox: &Sandbox, user: Option<&Privileges>) -> Result<PreparedSandbox> {
        Ok(PreparedSandbox {
            ruleset: ruleset(sandbox, user)?,
            filter: filter(sandbox)?,
            best_effort: sandbox.best_effort,
        })
    }

    impl PreparedSandbox {
        /// Restricts the calling thread, and the threads and processes that it starts from now on,
        /// permanently.
        ///
        /// # Errors
        ///
        /// If a system call fails. The process may then be restricted in part and should exit.
        pub fn enter(self) -> Result<()> {
            let action = "enter the sandbox";
            let RestrictionStatus { ruleset, .. } =
                self.ruleset.restrict_self().map_err(|error| Error::os(action, other(&error)))?;
            if ruleset == RulesetStatus::NotEnforced && !self.best_effort {
                let reason = "the kernel does not enforce the rules for files";
                return Err(Error::os(action, io::Error::other(reason)));
            }
            match self.filter.as_ref().map(|filter| apply_filter(filter)) {
                None | Some(Ok(())) => Ok(()),
                Some(Err(_unsupported)) if self.best_effort => Ok(()),
                Some(Err(error)) => Err(Error::os(action, other(&error))),
            }
        }
    }

    /// Returns the innermost cause, which says most.
    fn other(error: &dyn std::error::Error) -> io::Error {
        let mut cause = error.to_string();
        let mut next = error.source();
        while let Some(error) = next {
            cause = error.to_string();
            next = error.source();
        }
        io::Error::other(cause)
    }

    fn unsupported(what: &str, needs: &str) -> Error {
        let reason = format!(
            "this kernel cannot restrict {what} (needs {needs}); `best_effort` accepts that"
        );
        Error::os("prepare the sandbox", io::Error::other(reason))
    }

    fn ruleset(sandbox: &Sandbox, user: Option<&Privileges>) -> Result<RulesetCreated> {
        let trust = user.map_or(Trust::Own, Trust::NotThisUser);
        let level = match sandbox.best_effort {
            false => CompatLevel::HardRequirement,
            true => CompatLevel::BestEffort,
        };
        let broken = |error: RulesetError| Error::os("prepare the sandbox", other(&error));
        let mut rules = Ruleset::default()
            .set_compatibility(level)
            .handle_access(AccessFs::from_all(FILES))
            .map_err(|_error| unsupported("files", "Landlock ABI 3 of Linux 6.2"))?;
        if sandbox.no_new_connections {
            rules = rules
                .handle_access(AccessNet::from_all(ABI::V4))
                .map_err(|_error| unsupported("connections", "Landlock ABI 4 of Linux 6.7"))?;
        }
        rules = rules
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::IoctlDev)
            .and_then(|rules| rules.scope(Scope::Signal))
            .map_err(broken)?;
        if sandbox.no_new_connections {
            rules = rules.scope(Scope::AbstractUnixSocket).map_err(broken)?;
        }
        let mut rules = rules.create().map_err(broken)?.set_compatibility(CompatLevel::BestEffort);
        for (path, access) in &sandbox.paths {
            let action = || format!("prepare the sandbox: open {}", path.display());
            let (opened, found) =
                place::open_path(path, trust).map_err(|error| Error::os(action(), error))?;
            let mut access = access.rights();
            if found.kind != FileKind::Directory {
                access &= AccessFs::from_file(ABI::V5);
            }
            rules = rules.add_rule(PathBeneath::new(opened, access)).map_err(broken)?;
        }
        Ok(rules)
    }

    impl FileAccess {
        fn rights(self) -> BitFlags<AccessFs> {
            match self {
                FileAccess::Read => AccessFs::from_read(ABI::V5),
                FileAccess::Append => AccessFs::WriteFile | AccessFs::MakeReg,
                FileAccess::Write => AccessFs::from_all(ABI::V5),
            }
        }
    }

    /// Compiles the filter of system calls. Returns `None` if nothing is forbidden, or if there are
    /// no filters for this architecture and none is required.
    fn filter(sandbox: &Sandbox) -> Result<Option<BpfProgram>> {
        let action = "prepare the sandbox";
        let failed = |error: seccompiler::BackendError| Error::os(action, other(&error));
        let mut rules = BTreeMap::new();
        if sandbox.no_exec {
            for call in
                calls(libc::SYS_execve, X32_EXECVE).chain(calls(libc::SYS_execveat, X32_EXECVEAT))
            {
                rules.insert(call, Vec::new());
            }
        }
        if sandbox.no_new_connections {
            let unix = u64::from(libc::AF_UNIX.unsigned_abs());
            for call in same_calls(libc::SYS_socket) {
                let family =
                    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, unix);
                let rule = SeccompRule::new(vec![family.map_err(failed)?]).map_err(failed)?;
                rules.insert(call, vec![rule]);
            }
            for call in same_calls(libc::SYS_io_uring_setup) {
                rules.insert(call, Vec::new());
            }
        }
        if rules.is_empty() {
            return Ok(None);
        }
        let architecture = match TargetArch::try_from(std::env::consts::ARCH) {
            Ok(architecture) if seccomp_is_available() => architecture,
            Ok(_) | Err(_) if sandbox.best_effort => return Ok(None),
            Ok(_) | Err(_) => {
                return Err(unsupported("system calls", "seccomp on x86_64, aarch64 or riscv64"));
            }
        };
        let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture);
        let program: std::result::Result<BpfProgram, _> = filter.map_err(failed)?.try_into();
        Ok(Some(program.map_err(failed)?))
    }

    /// The bit of the numbers of system calls with 32-bit pointers on x86_64 (x32), which some
    /// kernels offer beside the normal ones.
    const X32: i64 = 0x4000_0000;
    const X32_EXECVE: i64 = X32 + 520;
    const X32_EXECVEAT: i64 = X32 + 545;

    /// Returns the numbers of a system call.
    fn calls(number: c_long, x32: i64) -> impl Iterator<Item = i64> {
        let x32 = (std::env::consts::ARCH == "x86_64").then_some(x32);
        std::iter::once(wide(number)).chain(x32)
    }

    /// Returns the numbers of a system call whose x32 number differs only in the bit [`X32`].
    fn same_calls(number: c_long) -> impl Iterator<Item = i64> {
        calls(number, X32 + wide(number))
    }

    #[expect(clippy::useless_conversion, reason = "a c_long has 32 bits on some architectures")]
    fn wide(number: c_long) -> i64 {
        number.into()
    }

    fn seccomp_is_available() -> bool {
        let action: u32 = libc::SECCOMP_RET_ERRNO;
        // SAFETY: the call reads one number through the pointer and changes nothing.
        let answer = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
        };
        answer == 0
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_missing_path_is_refused_with_its_name() {
            let missing =
                Sandbox::new().read("/no/such").prepare(None).expect_err("refused").to_string();
            assert!(
                missing.starts_with("cannot prepare the sandbox: open /no/such: no such file")
                    || missing.contains("best_effort"),
                "{missing}"
            );
        }

        #[test]
        fn a_sandbox_that_forbids_no_system_call_has_no_filter() {
            assert!(filter(&Sandbox::new().read("/")).expect("compiled").is_none());
            let calls =
                |sandbox: Sandbox| filter(&sandbox).expect("compiled").map(|code| code.len());
            let (exec, both) =
                (Sandbox::new().no_exec(), Sandbox::new().no_exec().no_new_connections());
            assert!(calls(exec) < calls(both));
        }
    }
}
