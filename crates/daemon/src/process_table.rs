//! Reads the process table: with sysinfo, and on Linux also the files in `/proc/PID` for which
//! sysinfo has nothing, see proc(5).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use daemon_core::{Presence, ProcessSample};
use daemon_protocol::{Evidence, ProcessUsage};
use daemon_sys::process::exists;
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};

use crate::blocking::{BlockingCalls, NoResult, each};

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use platform::parse_files;
use platform::pss;

/// The resources that a process uses, and its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Used {
    cpu: Duration,
    /// In bytes.
    rss: u64,
    /// The proportional set size in bytes, if it was read.
    pss: Option<u64>,
    /// The letter of proc(5).
    state: Option<char>,
}

/// Returns the resource usage of these processes. Processes that the system does not show are left
/// out. Reading costs about ten microseconds per process.
///
/// # Errors
///
/// If the process table cannot be read at all.
fn read(pids: &[u32]) -> Result<HashMap<u32, Used>, sysinfo::Error> {
    let mut system = System::new()?;
    let wanted: Vec<Pid> = pids.iter().copied().map(Pid::from_u32).collect();
    let refresh = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&wanted), false, refresh);
    let used = |pid: &u32| {
        let process = system.process(Pid::from_u32(*pid))?;
        let cpu = Duration::from_millis(process.accumulated_cpu_time());
        let (rss, state) = (process.memory(), letter(process.status()));
        Some((*pid, Used { cpu, rss, pss: None, state }))
    };
    Ok(pids.iter().filter_map(used).collect())
}

fn letter(status: ProcessStatus) -> Option<char> {
    match status {
        ProcessStatus::Run => Some('R'),
        ProcessStatus::Sleep => Some('S'),
        ProcessStatus::UninterruptibleDiskSleep => Some('D'),
        ProcessStatus::Idle => Some('I'),
        ProcessStatus::Stop | ProcessStatus::Suspended => Some('T'),
        ProcessStatus::Tracing => Some('t'),
        ProcessStatus::Zombie => Some('Z'),
        ProcessStatus::Dead => Some('X'),
        ProcessStatus::Wakekill => Some('K'),
        ProcessStatus::Waking => Some('W'),
        ProcessStatus::Parked => Some('P'),
        ProcessStatus::LockBlocked => Some('L'),
        ProcessStatus::Unknown(letter) => char::from_u32(letter),
    }
}

/// How many times longer all processes may take than one.
const PARTS: u32 = 8;

/// Reads of the process table.
static READS: BlockingCalls = BlockingCalls::new();

/// Why the process table is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error(transparent)]
    Unreadable(#[from] sysinfo::Error),
    #[error("cannot read the process table: {0}")]
    NotRead(#[from] NoResult),
}

/// Returns the resource usage of these processes, with their proportional set size if `by_share`.
/// Processes that the system does not show are left out. A proportional set size that cannot be
/// read within this time is not known: the kernel locks the memory map of the process to compute
/// it, so a process that is stuck must not keep the others from being read.
async fn table(
    pids: Vec<u32>,
    by_share: bool,
    limit: Duration,
) -> Result<HashMap<u32, Used>, TableError> {
    let deadline = Instant::now() + limit;
    let mut table = READS.run(limit, move || read(&pids)).await??;
    if by_share {
        let left = deadline.saturating_duration_since(Instant::now());
        let shares = each(table.keys().copied().collect(), (limit / PARTS, left), pss).await;
        for (pid, used) in &mut table {
            used.pss = shares.get(pid).copied().flatten();
        }
    }
    Ok(table)
}

/// Returns the resource usage of these processes, with their proportional set size. What cannot be
/// read within this time is not known.
pub(crate) async fn usages(pids: Vec<u32>, limit: Duration) -> HashMap<u32, ProcessUsage> {
    let usage = |Used { cpu, rss, pss, .. }| ProcessUsage { cpu: Some(cpu), rss: Some(rss), pss };
    let table = table(pids, true, limit).await.unwrap_or_default();
    table.into_iter().map(|(pid, used)| (pid, usage(used))).collect()
}

/// What the operating system reports about a process. Values that cannot be read are `None` or
/// empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProcessInfo {
    usage: ProcessUsage,
    state: Option<char>,
    wchan: Option<String>,
    syscall: Option<String>,
    kernel_stack: Vec<String>,
}

impl ProcessInfo {
    /// Adds what is known to the evidence about this process.
    pub(crate) fn add_to(self, evidence: &mut Evidence) {
        let ProcessInfo { usage, state, wchan, syscall, kernel_stack } = self;
        (evidence.cpu, evidence.rss, evidence.pss) = (usage.cpu, usage.rss, usage.pss);
        (evidence.state, evidence.wchan, evidence.syscall) = (state, wchan, syscall);
        evidence.kernel_stack = kernel_stack;
    }
}

/// Returns what the operating system reports about a process. If the process is gone, all values
/// are `None` or empty.
///
/// Each of two steps may take this time. To compute the proportional set size, the kernel walks all
/// pages of the process. This takes milliseconds for a large process, and the memory map of the
/// process is locked during this time.
pub(crate) async fn inspect(pid: u32, limit: Duration) -> ProcessInfo {
    let inspected = each(vec![pid], (limit, limit), |pid| {
        let used = read(&[pid]).ok().and_then(|used| used.get(&pid).copied());
        let mut info = platform::inspect(pid);
        (info.usage.cpu, info.usage.rss) = (used.map(|used| used.cpu), used.map(|used| used.rss));
        info.state = used.and_then(|used| used.state);
        info
    });
    let mut info = inspected.await.remove(&pid).unwrap_or_default();
    info.usage.pss = each(vec![pid], (limit, limit), pss).await.remove(&pid).flatten();
    info
}

/// Returns whether each of these processes exists, and its resource usage. Its memory is the
/// proportional set size with `by_share`, otherwise the resident set size. A memory that cannot be
/// read within this time is not known.
///
/// A process that is not in the table may be hidden, for example by mount options of proc(5). It
/// counts as gone only if kill(2) with signal 0 does not find it.
///
/// # Errors
///
/// If the process table cannot be read, or not within this time.
pub(crate) async fn presences(
    pids: Vec<u32>,
    by_share: bool,
    limit: Duration,
) -> Result<HashMap<u32, Presence>, TableError> {
    let table = table(pids.clone(), by_share, limit).await?;
    let presence = |pid: u32| match table.get(&pid) {
        None => presence_of_unlisted(pid),
        Some(used) => Presence::Seen(ProcessSample {
            cpu: used.cpu,
            memory: if by_share { used.pss } else { Some(used.rss) },
        }),
    };
    Ok(pids.iter().map(|pid| (*pid, presence(*pid))).collect())
}

fn presence_of_unlisted(pid: u32) -> Presence {
    let number = daemon_core::Pid::from_u32(pid);
    match number.map(exists) {
        Some(true) => Presence::Hidden,
        Some(false) | None => Presence::Gone,
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::fs::File;
    use std::io::Read;

    use daemon_protocol::ProcessUsage;

    use super::ProcessInfo;

    /// The maximum number of bytes that are read from a file. The files are normally a few lines
    /// long.
    const LIMIT: u64 = 16 * 1024;

    pub(super) fn inspect(pid: u32) -> ProcessInfo {
        ProcessInfo {
            wchan: text(pid, "wchan").as_deref().and_then(waiting_in),
            syscall: text(pid, "syscall").as_deref().and_then(system_call),
            kernel_stack: text(pid, "stack").as_deref().map(stack_frames).unwrap_or_default(),
            usage: ProcessUsage::default(),
            state: None,
        }
    }

    /// Returns the proportional set size of a process in bytes.
    pub(crate) fn pss(pid: u32) -> Option<u64> {
        text(pid, "smaps_rollup").as_deref().and_then(proportional_set_size)
    }

    /// Returns the text of this file of the process, or `None` if the file cannot be read.
    fn text(pid: u32, file: &str) -> Option<String> {
        let mut bytes = Vec::new();
        let file = File::open(format!("/proc/{pid}/{file}")).ok()?;
        file.take(LIMIT).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the bytes in the line `Pss:  123 kB` of the file `smaps_rollup`.
    fn proportional_set_size(rollup: &str) -> Option<u64> {
        let value = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        value.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Returns the kernel function in which the process waits, given the text of the file `wchan`.
    /// The text `0` means that the process does not wait, or that we have no permission to read the
    /// function.
    fn waiting_in(wchan: &str) -> Option<String> {
        let wchan = wchan.trim();
        (!matches!(wchan, "" | "0")).then(|| wchan.to_owned())
    }

    /// Formats the number and the six arguments of the system call, given the line in the file
    /// `syscall`. The stack pointer and the program counter at the end of the line are left out.
    /// Returns `None` for the line `running`, which means that the process runs, and for the number
    /// -1, which means that the process waits outside of a system call.
    fn system_call(line: &str) -> Option<String> {
        let mut words = line.split_ascii_whitespace();
        let number: u32 = words.next()?.parse().ok()?;
        let arguments: Vec<&str> = words.take(6).collect();
        Some(format!("{number} ({})", arguments.join(", ")))
    }

    /// Returns the functions of a kernel stack. Each line of the stack is an address, hidden as
    /// `[<0>]`, and a function with an offset.
    fn stack_frames(stack: &str) -> Vec<String> {
        stack
            .lines()
            .map(|line| {
                line.split_once("] ")
                    .map_or(line, |(_address, function)| function)
                    .trim()
                    .to_owned()
            })
            .collect()
    }

    /// Reads a text as each of the files that [`inspect`] reads.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn parse_files(text: &str) {
        let _read = (proportional_set_size(text), waiting_in(text), system_call(text));
        let _frames = stack_frames(text);
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_system_call_is_formatted_with_its_arguments_and_a_running_process_has_no_system_call()
        {
            assert_eq!(
                system_call("0 0x3 0x7ff2 0x20000 0x22 0xffffffff 0x0 0x7ffd 0x7ff23\n").as_deref(),
                Some("0 (0x3, 0x7ff2, 0x20000, 0x22, 0xffffffff, 0x0)")
            );
            assert_eq!(system_call("running\n"), None);
            assert_eq!(system_call("-1 0x7ffd 0x7ff23\n"), None);
            assert_eq!(system_call(""), None);
        }

        #[test]
        fn a_process_that_does_not_wait_has_no_wait_channel() {
            assert_eq!(waiting_in("futex_wait_queue").as_deref(), Some("futex_wait_queue"));
            assert_eq!((waiting_in("0"), waiting_in("")), (None, None));
        }

        #[test]
        fn stack_frames_are_listed_without_the_hidden_addresses() {
            let stack = "[<0>] hrtimer_nanosleep+0x74/0xf0\n[<0>] do_syscall_64+0x71/0x280\n";
            assert_eq!(
                stack_frames(stack),
                ["hrtimer_nanosleep+0x74/0xf0", "do_syscall_64+0x71/0x280"]
            );
            assert_eq!(stack_frames("odd\n"), ["odd"]);
        }

        #[test]
        fn the_proportional_set_size_is_read_in_bytes() {
            let rollup =
                "00400000-7fff [rollup]\nRss:    2048 kB\nPss:     123 kB\nPss_Dirty: 9 kB\n";
            assert_eq!(proportional_set_size(rollup), Some(123 * 1024));
            for odd in
                ["", "Pss_Dirty: 9 kB", "Pss: 9", "Pss: -1 kB", "Pss: 18446744073709551615 kB"]
            {
                assert_eq!(proportional_set_size(odd), None, "{odd:?}");
            }
        }
    }
}

/// Systems of which this module reads only what sysinfo provides.
#[cfg(not(target_os = "linux"))]
mod platform {
    use super::ProcessInfo;

    pub(super) fn inspect(_: u32) -> ProcessInfo {
        ProcessInfo::default()
    }

    pub(crate) fn pss(_: u32) -> Option<u64> {
        None
    }

    /// Does nothing: this system has no such files.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn parse_files(_text: &str) {}
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::blocking::tests::run;

    const LIMIT: Duration = Duration::from_secs(60);

    fn inspect_now(pid: u32) -> ProcessInfo {
        run(inspect(pid, LIMIT))
    }

    #[test]
    fn the_usage_of_the_test_process_is_read_and_a_missing_process_is_left_out() {
        let (this, missing) = (std::process::id(), i32::MAX.cast_unsigned());
        let usages = run(usages(vec![this, missing], LIMIT));
        assert!(usages[&this].rss.is_some_and(|bytes| bytes > 100_000));
        assert!(usages[&this].cpu.is_some());
        assert_eq!(usages.get(&missing), None);
    }

    #[test]
    fn inspecting_the_test_process_returns_its_cpu_time_and_memory() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let start = Instant::now();
        let spent = |cpu: Option<Duration>| cpu.is_some_and(|cpu| cpu >= Duration::from_millis(20));
        let mut info = inspect_now(std::process::id());
        while !spent(info.usage.cpu) {
            assert!(start.elapsed() < Duration::from_secs(20), "{info:?}");
            info = inspect_now(std::process::id());
        }
        assert!(matches!(info.state, Some('R' | 'S')), "{info:?}");
        assert!(info.usage.rss.is_some_and(|rss| rss > 500_000), "{info:?}");
        assert!(info.usage.pss.is_some_and(|pss| pss > 100_000), "{info:?}");
        assert!(pss(std::process::id()).is_some_and(|pss| pss > 100_000));
    }

    #[test]
    fn a_sleeping_process_is_inspected_and_nothing_is_known_about_a_dead_process() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let mut waiting =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        let mut info = inspect_now(waiting.id());
        while info.state != Some('S') {
            assert!(start.elapsed() < Duration::from_secs(10), "{info:?}");
            info = inspect_now(waiting.id());
        }
        assert_eq!(info.usage.cpu.map(|cpu| cpu < Duration::from_secs(1)), Some(true));
        drop(waiting.stdin.take());
        assert!(waiting.wait().unwrap().success());
        assert_eq!(inspect_now(waiting.id()), ProcessInfo::default());
        assert_eq!(inspect_now(u32::MAX), ProcessInfo::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_cannot_hide_behind_its_name() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let dir = std::env::temp_dir().join(format!("evidence-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for name in [&b"\xff\xfe"[..], b"a) Z 1 (b", b"a\nb) R"] {
            let program = dir.join(OsStr::from_bytes(name));
            std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
            let mut process =
                Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let start = Instant::now();
            let mut info = inspect_now(process.id());
            while info.state != Some('S') {
                assert!(start.elapsed() < Duration::from_secs(10), "{name:?}: {info:?}");
                info = inspect_now(process.id());
            }
            assert!(info.usage.rss.is_some_and(|bytes| bytes > 100_000), "{name:?}: {info:?}");
            let table = read(&[process.id()]).unwrap();
            assert!(table.contains_key(&process.id()), "{name:?}");
            drop(process.stdin.take());
            process.wait().unwrap();
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_test_process_is_seen_and_a_process_that_has_ended_is_gone() {
        let mut ended = std::process::Command::new("true").spawn().expect("spawn true");
        let (this, gone) = (std::process::id(), ended.id());
        ended.wait().expect("wait for the end of true");
        for by_share in [false, true] {
            let presences = run(presences(vec![this, gone], by_share, LIMIT)).unwrap();
            let Presence::Seen(sample) = presences[&this] else {
                panic!("this process is not seen: {presences:?}");
            };
            assert!(sample.memory.is_some_and(|bytes| bytes > 100_000), "{sample:?}");
            assert_eq!(presences[&gone], Presence::Gone);
        }
        // `presence_of_unlisted` assumes that its process is not in the table. Process 1 exists.
        assert_eq!(presence_of_unlisted(1), Presence::Hidden);
    }
}
