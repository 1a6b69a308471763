//! Detects kills by the kernel's OOM killer, from the cgroup's counter.

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use platform::parse_files as parse_oom_kills;

/// The cgroup's counter of OOM kills, and the number of kills that were claimed or discarded.
#[derive(Debug)]
pub(crate) struct OomKillCounter {
    counter: Option<platform::Counter>,
    seen: u64,
    /// The value of the counter when the babysitter last read the process table.
    sampled: u64,
}

impl OomKillCounter {
    /// Finds the counter of the cgroup that this process and its children are in.
    pub(crate) fn of_this_cgroup() -> OomKillCounter {
        let counter = platform::Counter::find();
        let seen = counter.as_ref().and_then(platform::Counter::read).unwrap_or(0);
        OomKillCounter { counter, seen, sampled: seen }
    }

    /// Discards the kills that were counted before the previous call and that no child's exit has
    /// claimed. Such a kill ended a process that is not a child of the daemon: a process that a
    /// child started, or an unrelated process in the same cgroup.
    pub(crate) fn expire(&mut self) {
        self.seen = self.seen.max(self.sampled);
        if let Some(count) = self.counter.as_ref().and_then(platform::Counter::read) {
            self.sampled = count;
        }
    }

    /// Claims one OOM kill for the exit of one child. Returns whether there was an unclaimed kill.
    pub(crate) fn claim(&mut self) -> bool {
        let count = self.counter.as_ref().and_then(platform::Counter::read);
        match count {
            Some(count) if count > self.seen => {
                self.seen += 1;
                true
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(target_os = "linux")]
mod platform {
    //! Reads the counter `oom_kill` from `memory.events` (see "Memory Interface Files" in the
    //! kernel's cgroup-v2 manual), or from `memory.oom_control` if the memory controller uses
    //! cgroup version 1.

    use std::fs;
    use std::path::{Path, PathBuf};

    const ROOT: &str = "/sys/fs/cgroup";

    #[derive(Debug)]
    pub(super) struct Counter {
        file: PathBuf,
    }

    impl Counter {
        pub(super) fn find() -> Option<Counter> {
            let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
            candidates(&groups)
                .into_iter()
                .map(|file| Counter { file })
                .find(|counter| counter.read().is_some())
        }

        pub(super) fn read(&self) -> Option<u64> {
            count(&fs::read_to_string(&self.file).ok()?)
        }
    }

    /// Returns the files that may contain the counter, given the text of `/proc/self/cgroup`. Each
    /// line of this text has the form `number:controllers:path`, see cgroups(7).
    fn candidates(groups: &str) -> Vec<PathBuf> {
        groups
            .lines()
            .filter_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (controllers, path) = (parts.next()?, parts.next()?);
                let inside = path.trim_start_matches('/');
                if controllers.is_empty() {
                    return Some(Path::new(ROOT).join(inside).join("memory.events"));
                }
                let memory = controllers.split(',').any(|controller| controller == "memory");
                memory
                    .then(|| Path::new(ROOT).join("memory").join(inside).join("memory.oom_control"))
            })
            .collect()
    }

    fn count(text: &str) -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    /// Reads a text as each of the files that the counter is found in.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn parse_files(text: &str) {
        let _read = (candidates(text), count(text));
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_files_of_the_counter_are_found_for_both_cgroup_versions() {
            let groups =
                "3:cpu,memory:/old/group\n1:name=systemd:/other\n0::/system.slice/echo.service\n";
            let files = [
                "/sys/fs/cgroup/memory/old/group/memory.oom_control",
                "/sys/fs/cgroup/system.slice/echo.service/memory.events",
            ];
            assert_eq!(candidates(groups), files.map(PathBuf::from));
            assert_eq!(candidates("garbage\n0:\n"), Vec::<PathBuf>::new());
        }

        #[test]
        fn the_number_of_oom_kills_is_found_among_other_counters_and_garbage_is_ignored() {
            assert_eq!(count("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
            assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
            assert_eq!(count("oom_kill many\n"), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    //! The fallback for systems other than Linux, which have no counter of OOM kills.

    #[derive(Debug)]
    pub(super) struct Counter;

    impl Counter {
        pub(super) fn find() -> Option<Counter> {
            None
        }

        pub(super) fn read(&self) -> Option<u64> {
            None
        }
    }

    /// Does nothing: this system has no such files.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn parse_files(_text: &str) {}
}
