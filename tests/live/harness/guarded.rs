//! A program that speaks no line protocol, ours or somebody else's, under a warden: nothing of it
//! outlives the test, however the test ends.

use std::fs::{File, read_to_string};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Signal;
use super::patience::until;
use super::process::Process;
use super::program::example;

/// A program under a warden. Dropped, it is killed if it still runs.
#[derive(Debug)]
pub(crate) struct GuardedProgram {
    warden: Child,
    dir: TempDir,
}

impl GuardedProgram {
    /// Starts one of the workspace's examples; for its arguments see [`program`](Guard::program).
    pub(crate) fn example(name: &str, arguments: &[&str]) -> Self {
        GuardedProgram::program(example(name), arguments)
    }

    /// Starts a program; `DIR` in its arguments is the test's directory, where an example logs too.
    pub(crate) fn program(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let here = dir.path().display().to_string();
        let file = |name| File::create(dir.path().join(name)).expect("a file for what it says");
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

    fn read(&self, name: &str) -> String {
        read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// The process that was started. It may be gone.
    #[track_caller]
    pub(crate) fn process(&self) -> Process {
        until("the program is started", || {
            self.read("warden").split_once('\n')?.0.parse().ok().map(Process)
        })
    }

    /// What it has said on standard output.
    pub(crate) fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it has said on standard error.
    pub(crate) fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// What of that is no mere information.
    pub(crate) fn warnings(&self) -> String {
        let complained = self.stderr();
        complained.split_inclusive('\n').filter(|line| !line.contains(" INFO ")).collect()
    }

    /// How it has ended, if it has: `code 0`, `signal SIGKILL`.
    pub(crate) fn status(&self) -> Option<String> {
        let report = self.read("warden");
        let (process, ended) = report.split_once('\n')?;
        let of = |line: &str| Some(line.strip_prefix(process)?.strip_prefix(' ')?.to_owned());
        // The last line may not be written to its end yet.
        ended.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).find_map(of)
    }

    /// Waits until no process of it is left, and tells how it has ended.
    #[track_caller]
    pub(crate) fn wait_until_gone(&mut self) -> String {
        until("no process is left", || self.warden.try_wait().expect("the warden is ours"));
        self.status().expect("the warden has told")
    }

    /// Sends a signal, waits until no process of it is left, and tells how it has ended.
    #[track_caller]
    pub(crate) fn stop(&mut self, signal: Signal) -> String {
        self.process().signal(signal);
        self.wait_until_gone()
    }
}

impl Drop for GuardedProgram {
    #[expect(clippy::print_stderr, reason = "it is what a failed test shows")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}, {:?}", self.read("warden"), self.status());
            eprintln!("it has said:\n{}{}", self.stdout(), self.stderr());
        }
        // The warden kills whoever is left.
        drop(self.warden.stdin.take());
        let _ended = self.warden.wait();
    }
}
