//! A running program under test and its processes. The process that starts the program is the
//! warden (`programs/warden.rs`), which reaps and reports the processes that lose their parent.
//! Dropping a [`DaemonProcess`] stops the daemon. If one of its processes does not stop in time,
//! the process is killed and the test fails.

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

/// The longest time a daemon may take to stop at the end of its test.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The exit status of each process that the warden has reaped, such as `code 0` or
/// `signal SIGKILL`. Children that the fork server has reaped are not included.
pub(crate) type ExitStatuses = BTreeMap<Process, String>;

/// A connection to the parent's command socket.
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

    /// Waits until the parent's command socket is open. If the program has no command socket, waits
    /// until the parent runs, or no process is left.
    pub(super) fn wait_until_launched(&self) {
        match self.command_socket() {
            Some(socket) => {
                drop(until("the command socket is open", || UnixStream::connect(&socket).ok()));
            }
            None => until("the parent runs or has ended", || {
                let has_ended = self.launcher_status().is_some() && self.processes().is_empty();
                (has_ended || self.find_parent().is_some()).then_some(())
            }),
        }
    }

    /// Waits until the first children are ready, if the program has a command socket.
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
        self.port.expect("the program has printed its port")
    }

    #[track_caller]
    pub(crate) fn client(&self) -> LineClient {
        LineClient::connect(self.port())
    }

    /// Returns the test's directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn warden(&self) -> Process {
        Process(self.warden.id())
    }

    /// Returns all processes of the daemon that are alive.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.warden().descendants()
    }

    /// Returns all processes of a daemon that has at least one child.
    #[track_caller]
    pub(crate) fn processes_with_children(&self) -> Vec<Process> {
        let processes = self.processes();
        assert!(processes.len() >= 3, "a parent, a fork server and a child run: {processes:?}");
        processes
    }

    /// Waits until the manager of `daemon-prefork` has exactly this many workers and returns them.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn wait_for_workers(&self, count: usize) -> Vec<Process> {
        let manager = self.parent();
        until(&format!("there are {count} workers"), || {
            let workers = manager.children();
            (workers.len() == count).then_some(workers)
        })
    }

    /// Returns the launching process.
    #[track_caller]
    pub(crate) fn launcher(&self) -> Process {
        until("the program was started", || {
            self.warden_report().lines().next()?.parse().ok().map(Process)
        })
    }

    /// Returns the parent, if it runs.
    pub(crate) fn find_parent(&self) -> Option<Process> {
        match self.warden().children().as_slice() {
            [parent] if self.is_parent(*parent) => Some(*parent),
            _on_its_way => None,
        }
    }

    /// Returns whether the process is the daemon's parent. A process without the parent's title may
    /// be one that exits because the daemon detaches. The programs `forkserver_only` and `workers`
    /// set no title.
    fn is_parent(&self, process: Process) -> bool {
        matches!(self.name.as_str(), "forkserver_only" | "workers")
            || process.title().contains(": parent")
    }

    /// Waits until the parent runs, and returns the parent.
    #[track_caller]
    pub(crate) fn parent(&self) -> Process {
        until("the parent runs", || self.find_parent())
    }

    /// Returns the fork server: the parent's child that leads its own process group.
    #[track_caller]
    pub(crate) fn fork_server(&self) -> Process {
        let parent = self.parent();
        until("the fork server runs", || {
            let mut children = parent.children().into_iter();
            children.find(|child| child.group() == Some(child.0))
        })
    }

    /// Returns the children of the fork server, without a process that looks up symbols.
    #[track_caller]
    pub(crate) fn children(&self) -> Vec<Process> {
        let mut children = self.fork_server().children();
        children.retain(|child| !child.is_symbol_lookup());
        children
    }

    /// Waits for the process that looks up the symbols of a backtrace, and stops it.
    #[track_caller]
    pub(crate) fn freeze_symbol_lookup(&self) -> Process {
        let fork_server = self.fork_server();
        until("a symbol lookup is stopped", || {
            let mut children = fork_server.children().into_iter();
            let lookup = children.find(|child| child.is_symbol_lookup())?;
            (lookup.signal(Signal::SIGSTOP) && lookup.state() == Some('T')).then_some(lookup)
        })
    }

    /// Waits until there are exactly this many children and returns them.
    #[track_caller]
    pub(crate) fn wait_for_children(&self, count: usize) -> Vec<Process> {
        let fork_server = self.fork_server();
        until(&format!("there are {count} children"), || {
            let mut children = fork_server.children();
            children.retain(|child| !child.is_symbol_lookup());
            (children.len() == count).then_some(children)
        })
    }

    /// Sends a command to the parent's command socket and returns the reply.
    #[track_caller]
    pub(crate) fn ask(&self, line: &str) -> String {
        match self.try_ask(line) {
            Ok(answer) => answer,
            Err(error) => panic!("no reply to {line:?} on the command socket: {error}"),
        }
    }

    pub(crate) fn try_ask(&self, line: &str) -> io::Result<String> {
        self.command_client()?.try_ask(line)
    }

    /// Connects to the parent's command socket. The connection can be used for several commands.
    pub(crate) fn command_client(&self) -> io::Result<CommandClient> {
        let place = self.command_socket().ok_or(io::ErrorKind::NotFound)?;
        let stream = UnixStream::connect(place)?;
        stream.set_read_timeout(Some(STOP_TIMEOUT))?;
        Ok(CommandClient(stream))
    }

    /// Returns the parent's status report as JSON.
    #[track_caller]
    pub(crate) fn report(&self) -> serde_json::Value {
        serde_json::from_str(&self.ask("json")).expect("a report is JSON")
    }

    /// Returns the path of the log file.
    pub(crate) fn logfile(&self) -> PathBuf {
        self.dir.path().join(format!("{}.log", self.name))
    }

    /// Returns the log, or standard error if the daemon has no log file.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.logfile()).unwrap_or_else(|_none| self.stderr())
    }

    /// Waits for a log line that contains this text and returns it.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        until(&format!("{text:?} is logged"), || {
            self.log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// Returns the content of standard error.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }

    fn warden_report(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("warden")).unwrap_or_default()
    }

    /// Returns the exit status of the launching process, if it has exited.
    pub(crate) fn launcher_status(&self) -> Option<String> {
        let report = self.warden_report();
        let launcher: u32 = report.lines().next()?.parse().ok()?;
        self.reaped().remove(&Process(launcher))
    }

    /// Returns the exit statuses of the processes that the warden has reaped: the launching process
    /// and orphans.
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

    /// Waits until no process is left and returns the exit statuses.
    #[track_caller]
    pub(crate) fn wait_until_gone(&mut self) -> ExitStatuses {
        until("no process is left", || {
            self.warden.try_wait().expect("the warden is a child of this process")
        });
        self.reaped()
    }

    /// Stops the daemon with TERM and waits until no process is left.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatuses {
        self.parent().signal(Signal::SIGTERM);
        self.wait_until_gone()
    }

    /// Kills all processes of the daemon, and waits until none is left.
    #[cfg(target_os = "linux")]
    pub(crate) fn kill(&mut self) {
        // The warden kills its descendants at the end of its input, and exits.
        drop(self.warden.stdin.take());
        let _ended = self.warden.wait();
    }

    /// Returns whether all processes end within this time.
    pub(crate) fn exits_within(&mut self, window: Duration) -> bool {
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
    #[expect(clippy::print_stderr, reason = "a failed test prints it")]
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
        assert!(
            went || failed,
            "{} does not stop, remaining processes: {left:?}\n{}",
            self.name,
            self.log()
        );
    }
}
