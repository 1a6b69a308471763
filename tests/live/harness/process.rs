//! A process, as `/proc` shows it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A process by its number. It may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    fn read(self, name: &str) -> Option<String> {
        fs::read(self.file(name)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A field of `stat` after the command's name, counted as proc(5) does: 3 is the state.
    fn stat(self, field: usize) -> Option<String> {
        let stat = self.read("stat")?;
        let (_name, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(field - 3).map(str::to_owned)
    }

    /// Whether it runs: neither gone nor only to be reaped.
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

    /// Its children that are alive, whichever thread started them.
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

    /// Its children, theirs, and so on.
    pub(crate) fn descendants(self) -> Vec<Process> {
        let mut found = self.children();
        let mut seen = 0;
        while let Some(process) = found.get(seen).copied() {
            found.extend(process.children());
            seen += 1;
        }
        found
    }

    /// What `ps` shows.
    pub(crate) fn title(self) -> String {
        self.read("cmdline").unwrap_or_default().trim_end_matches('\0').replace('\0', " ")
    }

    /// A field of `status`, as `Uid` or `Groups`, its words.
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

    /// A soft limit, by the words that `limits` calls it.
    pub(crate) fn limit(self, name: &str) -> Option<String> {
        let limits = self.read("limits")?;
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    }

    pub(crate) fn oom_score_adj(self) -> Option<i32> {
        self.read("oom_score_adj")?.trim().parse().ok()
    }

    pub(crate) fn workdir(self) -> Option<PathBuf> {
        fs::read_link(self.file("cwd")).ok()
    }

    /// Its open descriptors, and what they lead to.
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

    /// Sends its process group a signal, as a terminal does; whether there was anybody to get it.
    pub(crate) fn signal_group(self, signal: Signal) -> bool {
        killpg(Pid::from_raw(self.0.cast_signed()), signal).is_ok()
    }

    /// Sends a signal; whether there was anybody to get it.
    pub(crate) fn signal(self, signal: Signal) -> bool {
        kill(Pid::from_raw(self.0.cast_signed()), signal).is_ok()
    }
}
