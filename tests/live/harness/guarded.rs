//! Runs a program under a warden (`programs/warden.rs`). The program does not need the line
//! protocol of the test programs. None of its processes outlives the test, no matter how the test
//! ends.

use std::fs::{File, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Signal;
use super::patience::until;
use super::process::Process;
use super::program::example;

/// A program under a warden. Dropping it kills the program if it still runs.
#[derive(Debug)]
pub(crate) struct GuardedProgram {
    warden: Child,
    dir: TempDir,
}

impl GuardedProgram {
    /// Starts one of the workspace's examples. For its arguments see
    /// [`program`](GuardedProgram::program).
    pub(crate) fn example(name: &str, arguments: &[&str]) -> Self {
        GuardedProgram::program(example(name), arguments)
    }

    /// Starts a program. `DIR` in its arguments is replaced by the test's directory, which is also
    /// where examples log.
    pub(crate) fn program(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let here = dir.path().display().to_string();
        let file = |name| File::create(dir.path().join(name)).expect("a file for its output");
        let warden = Command::new(env!("CARGO_BIN_EXE_warden"))
            .arg(dir.path().join("warden"))
            .arg(program.as_ref())
            .args(arguments.iter().map(|argument| argument.replace("DIR", &here)))
            .env("EXAMPLE_LOG_DIR", dir.path())
            .stdin(Stdio::piped())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the warden starts");
        GuardedProgram { warden, dir }
    }

    /// Returns the path of a file in the test's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the content of a file in the test's directory, or an empty string.
    pub(crate) fn read(&self, name: &str) -> String {
        read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Returns the process that was started. The process may have exited.
    #[track_caller]
    pub(crate) fn process(&self) -> Process {
        until("the program is started", || {
            self.read("warden").split_once('\n')?.0.parse().ok().map(Process)
        })
    }

    /// Returns the content of standard output.
    pub(crate) fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// Returns the content of standard error.
    pub(crate) fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// Returns the lines of standard error that do not have the level INFO.
    pub(crate) fn warnings(&self) -> String {
        let complained = self.stderr();
        complained.split_inclusive('\n').filter(|line| !line.contains(" INFO ")).collect()
    }

    /// Returns the exit status, such as `code 0` or `signal SIGKILL`, if the program has exited.
    pub(crate) fn status(&self) -> Option<String> {
        let report = self.read("warden");
        let (process, ended) = report.split_once('\n')?;
        let of = |line: &str| Some(line.strip_prefix(process)?.strip_prefix(' ')?.to_owned());
        // The last line may be incomplete.
        ended.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).find_map(of)
    }

    /// Waits until none of the program's processes is left, and returns the exit status.
    #[track_caller]
    pub(crate) fn wait_until_gone(&mut self) -> String {
        until("no process is left", || {
            self.warden.try_wait().expect("the warden is a child of this process")
        });
        self.status().expect("the warden has reported the exit")
    }

    /// Sends a signal to the program, waits until none of its processes is left, and returns the
    /// exit status.
    #[track_caller]
    pub(crate) fn stop(&mut self, signal: Signal) -> String {
        self.process().signal(signal);
        self.wait_until_gone()
    }
}

impl Drop for GuardedProgram {
    #[expect(clippy::print_stderr, reason = "a failed test prints it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}, {:?}", self.read("warden"), self.status());
            eprintln!("output:\n{}{}", self.stdout(), self.stderr());
        }
        // The warden kills all remaining processes.
        drop(self.warden.stdin.take());
        let _ended = self.warden.wait();
    }
}
