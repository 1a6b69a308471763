//! Reads information about a process from `/proc/PID`, see proc(5).

use std::io::Read;
use std::time::Duration;

use procfs::process::{Process, Stat};
use procfs::{FromRead, WithCurrentSystemInfo};

use super::ProcessInfo;

/// The maximum number of bytes that are read from a file. The files are normally a few lines long.
const LIMIT: u64 = 16 * 1024;

pub(super) fn inspect(pid: u32) -> ProcessInfo {
    let Some(process) = process(pid) else {
        return ProcessInfo::default();
    };
    // The file contains the name of the process, which the process chooses and which can be any
    // bytes. `Process::stat` fails for a name that is not UTF-8.
    let stat = text(&process, "stat").and_then(|text| Stat::from_read(text.as_bytes()).ok());
    ProcessInfo {
        cpu: stat.as_ref().map(|stat| ticks(stat.utime.saturating_add(stat.stime))),
        rss: stat.as_ref().map(|stat| stat.rss_bytes().get()),
        state: stat.as_ref().map(|stat| stat.state),
        wchan: text(&process, "wchan").as_deref().and_then(waiting_in),
        syscall: text(&process, "syscall").as_deref().and_then(system_call),
        kernel_stack: text(&process, "stack").as_deref().map(stack_frames).unwrap_or_default(),
        // Read last, because only this read waits for a lock that a stuck process may hold.
        pss: read_pss(&process),
    }
}

fn ticks(ticks: u64) -> Duration {
    let per_second = procfs::ticks_per_second().max(1);
    let (whole, rest) = (ticks / per_second, ticks % per_second);
    Duration::from_secs(whole)
        + Duration::from_secs(rest) / u32::try_from(per_second).unwrap_or(100)
}

fn process(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

pub(super) fn pss(pid: u32) -> Option<u64> {
    read_pss(&process(pid)?)
}

fn read_pss(process: &Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    rollup.memory_map_rollup.iter().find_map(|map| map.extension.map.get("Pss")).copied()
}

/// Returns the text of this file of the process, or `None` if the file cannot be read.
fn text(process: &Process, file: &str) -> Option<String> {
    let mut bytes = Vec::new();
    process.open_relative(file).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the kernel function in which the process waits, given the text of the file `wchan`. The
/// text `0` means that the process does not wait, or that we have no permission to read the
/// function.
fn waiting_in(wchan: &str) -> Option<String> {
    let wchan = wchan.trim();
    (!matches!(wchan, "" | "0")).then(|| wchan.to_owned())
}

/// Formats the number and the six arguments of the system call, given the line in the file
/// `syscall`. The stack pointer and the program counter at the end of the line are left out.
/// Returns `None` for the line `running`, which means that the process runs, and for the number -1,
/// which means that the process waits outside of a system call.
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
            line.split_once("] ").map_or(line, |(_address, function)| function).trim().to_owned()
        })
        .collect()
}

/// Reads a text as each of the files that [`inspect`] reads.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn parse_files(text: &str) {
    let _read = (waiting_in(text), system_call(text), stack_frames(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_call_is_formatted_with_its_arguments_and_a_running_process_has_no_system_call() {
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
    fn clock_ticks_are_converted_to_a_duration() {
        let per_second = procfs::ticks_per_second();
        assert_eq!(ticks(per_second * 3 + per_second / 2), Duration::from_millis(3500));
        assert!(ticks(u64::MAX) > Duration::from_secs(1 << 40));
    }
}
