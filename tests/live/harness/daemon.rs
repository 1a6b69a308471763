//! A program under test that runs, and its processes. Dropped, it is stopped; whoever does not
//! stop in time is killed, and the test has failed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::client::LineClient;
use super::patience::until;
use super::process::Process;

/// How long a daemon may take to stop at the end of its test.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// How each process that the warden has reaped has ended: `code 0`, `signal SIGKILL`. Children of
/// the fork server are the fork server's to reap, and not in it.
pub(crate) type ExitStatuses = BTreeMap<Process, String>;

/// A place at a parent's desk.
#[derive(Debug)]
pub(crate) struct CommandClient(UnixStream);

impl CommandClient {
    pub(crate) fn try_ask(&mut self, line: &str) -> io::Result<String> {
        self.0.write_all(format!("{line}\n").as_bytes())?;
        let mut lines = Vec::new();
        for line in BufReader::new(&self.0).lines() {
            match line? {
                end if end == "." => return Ok(lines.join("\n")),
                line => lines.push(line),
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[derive(Debug)]
pub(crate) struct DaemonProcess {
    name: String,
    warden: Child,
    dir: TempDir,
    port: Option<u16>,
}

impl DaemonProcess {
    pub(super) fn new(name: String, warden: Child, dir: TempDir, port: Option<u16>) -> Self {
        DaemonProcess { name, warden, dir, port }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Waits until the parent is there, and answers at its desk if it has one.
    pub(super) fn wait_until_launched(&self) {
        match self.command_socket() {
            Some(desk) => drop(until("the desk is open", || UnixStream::connect(&desk).ok())),
            None => drop(self.parent()),
        }
    }

    /// Waits until the first children are up, as far as the program can be asked.
    pub(super) fn wait_until_running(&self) {
        if self.command_socket().is_some() {
            until("the daemon runs", || {
                let report: serde_json::Value = serde_json::from_str(&self.ask("json")).ok()?;
                (report["phase"] == "running").then_some(())
            });
        }
    }

    fn command_socket(&self) -> Option<PathBuf> {
        match self.name.as_str() {
            "pool" | "postfork" | "solo" | "large" | "other_threads" => {
                Some(self.dir.path().join("commands"))
            }
            _example => None,
        }
    }

    #[track_caller]
    pub(crate) fn port(&self) -> u16 {
        self.port.expect("the program has told its port")
    }

    #[track_caller]
    pub(crate) fn client(&self) -> LineClient {
        LineClient::connect(self.port())
    }

    /// The test's directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn warden(&self) -> Process {
        Process(self.warden.id())
    }

    /// All processes of the daemon that are alive.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.warden().descendants()
    }

    fn find_parent(&self) -> Option<Process> {
        match self.warden().children().as_slice() {
            [parent] if self.is_parent(*parent) => Some(*parent),
            _on_its_way => None,
        }
    }

    /// Before its title says so, it may be one that detaches. Without actix there is no title.
    fn is_parent(&self, process: Process) -> bool {
        self.name == "forkserver_only" || process.title().contains(": parent")
    }

    /// The parent, while it lives.
    #[track_caller]
    pub(crate) fn parent(&self) -> Process {
        until("there is a parent", || self.find_parent())
    }

    /// The fork server: the child of the parent that leads its own group.
    #[track_caller]
    pub(crate) fn fork_server(&self) -> Process {
        let parent = self.parent();
        until("there is a fork server", || {
            let mut children = parent.children().into_iter();
            children.find(|child| child.group() == Some(child.0))
        })
    }

    /// The children of the fork server.
    #[track_caller]
    pub(crate) fn children(&self) -> Vec<Process> {
        self.fork_server().children()
    }

    /// Waits until there are so many children, and returns them.
    #[track_caller]
    pub(crate) fn wait_for_children(&self, count: usize) -> Vec<Process> {
        let fork_server = self.fork_server();
        until(&format!("there are {count} children"), || {
            Some(fork_server.children()).filter(|children| children.len() == count)
        })
    }

    /// Asks at the parent's desk.
    #[track_caller]
    pub(crate) fn ask(&self, line: &str) -> String {
        match self.try_ask(line) {
            Ok(answer) => answer,
            Err(error) => panic!("{line:?} is not answered at the desk: {error}"),
        }
    }

    pub(crate) fn try_ask(&self, line: &str) -> io::Result<String> {
        self.command_client()?.try_ask(line)
    }

    /// A place at the parent's desk, for more than one question.
    pub(crate) fn command_client(&self) -> io::Result<CommandClient> {
        let place = self.command_socket().ok_or(io::ErrorKind::NotFound)?;
        let stream = UnixStream::connect(place)?;
        stream.set_read_timeout(Some(STOP_TIMEOUT))?;
        Ok(CommandClient(stream))
    }

    /// The parent's report, as it is serialised.
    #[track_caller]
    pub(crate) fn report(&self) -> serde_json::Value {
        serde_json::from_str(&self.ask("json")).expect("a report is JSON")
    }

    /// The path of the log file.
    pub(crate) fn logfile(&self) -> PathBuf {
        self.dir.path().join(format!("{}.log", self.name))
    }

    /// The log, or standard error of a daemon that has no log file.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.logfile()).unwrap_or_else(|_none| self.stderr())
    }

    /// Waits for a line with this text in the log, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        until(&format!("{text:?} is logged"), || {
            self.log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// What was said on standard error.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }

    fn warden_report(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("warden")).unwrap_or_default()
    }

    /// How the process that was started has ended, if it has.
    pub(crate) fn launcher_status(&self) -> Option<String> {
        let report = self.warden_report();
        let launcher: u32 = report.lines().next()?.parse().ok()?;
        self.reaped().remove(&Process(launcher))
    }

    /// Those that have ended and had the warden, or the program's caller, as their parent.
    pub(crate) fn reaped(&self) -> ExitStatuses {
        self.warden_report()
            .lines()
            .skip(1)
            .filter_map(|line| {
                let (pid, status) = line.split_once(' ')?;
                Some((Process(pid.parse().ok()?), status.to_owned()))
            })
            .collect()
    }

    /// Waits until no process is left.
    #[track_caller]
    pub(crate) fn wait_until_gone(&mut self) -> ExitStatuses {
        until("no process is left", || self.warden.try_wait().expect("the warden is ours"));
        self.reaped()
    }

    /// Stops the daemon by TERM, and waits until no process is left.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatuses {
        self.parent().signal(Signal::SIGTERM);
        self.wait_until_gone()
    }

    fn exits_within(&mut self, window: Duration) -> bool {
        let deadline = Instant::now() + window;
        while Instant::now() < deadline {
            if !matches!(self.warden.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(4));
        }
        false
    }
}

impl Drop for DaemonProcess {
    #[expect(clippy::print_stderr, reason = "it is what a failed test shows")]
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("{} warden:\n{}", self.name, self.warden_report());
            for process in self.processes() {
                eprintln!("{} {:?} {}", process.0, process.state(), process.title());
            }
            eprintln!("log of {}:\n{}", self.name, self.log());
        }
        if self.exits_within(Duration::from_millis(1)) {
            return;
        }
        for process in self.warden().children() {
            process.signal(Signal::SIGCONT);
            process.signal(Signal::SIGTERM);
        }
        let went = self.exits_within(if failed { Duration::ZERO } else { STOP_TIMEOUT });
        let left: Vec<String> = self
            .processes()
            .into_iter()
            .map(|process| format!("{} {}", process.0, process.title()))
            .collect();
        drop(self.warden.stdin.take());
        let _end = self.warden.wait();
        assert!(went || failed, "{} does not stop: {left:?} were left\n{}", self.name, self.log());
    }
}
