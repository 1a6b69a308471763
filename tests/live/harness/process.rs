//! A process, as `/proc` shows it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A process ID. The process may have exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    fn read(self, name: &str) -> Option<String> {
        fs::read(self.file(name)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns a field of `stat` after the command's name, numbered as in proc(5): 3 is the state.
    fn stat(self, field: usize) -> Option<String> {
        let stat = self.read("stat")?;
        let (_name, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(field - 3).map(str::to_owned)
    }

    /// Returns whether the process exists and is not a zombie.
    pub(crate) fn is_alive(self) -> bool {
        !matches!(self.state(), None | Some('Z' | 'X'))
    }

    pub(crate) fn state(self) -> Option<char> {
        self.stat(3)?.chars().next()
    }

    pub(crate) fn group(self) -> Option<u32> {
        self.stat(5)?.parse().ok()
    }

    pub(crate) fn session(self) -> Option<u32> {
        self.stat(6)?.parse().ok()
    }

    pub(crate) fn terminal(self) -> Option<String> {
        self.stat(7)
    }

    pub(crate) fn nice(self) -> Option<i32> {
        self.stat(19)?.parse().ok()
    }

    /// Returns the live children of the process, no matter which of its threads started them.
    pub(crate) fn children(self) -> Vec<Process> {
        let threads = fs::read_dir(self.file("task"));
        let mut children: Vec<Process> = threads
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
            .flat_map(|pids| {
                pids.split_whitespace()
                    .filter_map(|pid| pid.parse().ok().map(Process))
                    .collect::<Vec<_>>()
            })
            .filter(|child| child.is_alive())
            .collect();
        children.sort_unstable();
        children
    }

    /// Returns the live descendants of the process: its children, their children, and so on.
    pub(crate) fn descendants(self) -> Vec<Process> {
        let mut found = self.children();
        let mut seen = 0;
        while let Some(process) = found.get(seen).copied() {
            found.extend(process.children());
            seen += 1;
        }
        found
    }

    /// Returns the title that `ps` shows.
    pub(crate) fn title(self) -> String {
        self.read("cmdline").unwrap_or_default().trim_end_matches('\0').replace('\0', " ")
    }

    /// Returns whether the process is one that a fork server has forked to look up symbols.
    pub(crate) fn is_symbol_lookup(self) -> bool {
        self.title().ends_with(", symbol lookup")
    }

    /// Returns a size in `status`, such as `RssAnon`, in KiB.
    pub(crate) fn kibibytes(self, name: &str) -> Option<u64> {
        self.status(name).first()?.parse().ok()
    }

    /// Returns the words of a field of `status`, such as `Uid` or `Groups`.
    pub(crate) fn status(self, name: &str) -> Vec<String> {
        let status = self.read("status").unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// Returns an amount of memory of the field of `status` with this name in bytes, such as
    /// `VmRSS`.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory(self, name: &str) -> Option<u64> {
        Some(self.status(name).first()?.parse::<u64>().ok()? << 10)
    }

    /// Returns a soft limit, by its name in `limits`.
    pub(crate) fn limit(self, name: &str) -> Option<String> {
        let limits = self.read("limits")?;
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    }

    /// Sets the soft limit of descriptors.
    #[track_caller]
    pub(crate) fn limit_descriptors(self, limit: u32) {
        let done = Command::new("prlimit")
            .args(["--pid", &self.0.to_string(), &format!("--nofile={limit}:")])
            .status();
        let is_done = done.is_ok_and(|status| status.success());
        assert!(is_done || !self.is_alive(), "prlimit of util-linux works");
    }

    pub(crate) fn oom_score_adj(self) -> Option<i32> {
        self.read("oom_score_adj")?.trim().parse().ok()
    }

    /// Returns the path of the program that the process runs.
    #[cfg(target_os = "linux")]
    pub(crate) fn program(self) -> Option<PathBuf> {
        fs::read_link(self.file("exe")).ok()
    }

    pub(crate) fn workdir(self) -> Option<PathBuf> {
        fs::read_link(self.file("cwd")).ok()
    }

    /// Returns the open descriptors of the process and their targets.
    pub(crate) fn descriptors(self) -> BTreeMap<u32, PathBuf> {
        fs::read_dir(self.file("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|fd| {
                let number = fd.file_name().to_str()?.parse().ok()?;
                Some((number, fs::read_link(fd.path()).ok()?))
            })
            .collect()
    }

    /// Sends a signal to the process group that the process leads, as a terminal does. Returns
    /// whether the group existed.
    pub(crate) fn signal_group(self, signal: Signal) -> bool {
        killpg(Pid::from_raw(self.0.cast_signed()), signal).is_ok()
    }

    /// Sends a signal to the process. Returns whether the process existed.
    pub(crate) fn signal(self, signal: Signal) -> bool {
        kill(Pid::from_raw(self.0.cast_signed()), signal).is_ok()
    }
}
