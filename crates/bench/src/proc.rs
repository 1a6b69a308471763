//! Data of processes from the kernel: descendants, processor time, context switches, proportional
//! memory. See proc(5). Linux only.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::time::Duration;

/// The unit of times in proc(5): `sysconf(_SC_CLK_TCK)` is 100 on every Linux that Rust supports.
const TICK: Duration = Duration::from_millis(10);

/// Returns the current descendants of a process.
pub(crate) fn descendants(root: u32) -> io::Result<BTreeSet<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Skip a process that has ended after the directory was read.
        if let Ok(stat) = Stat::of(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut unvisited = vec![root];
    while let Some(pid) = unvisited.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.insert(child);
            unvisited.push(child);
        }
    }
    Ok(found)
}

/// Returns whether the process exists and is not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    Stat::of(pid).is_ok_and(|stat| !matches!(stat.state.as_str(), "Z" | "X"))
}

/// Returns the processor time of a process and its descendants, including reaped ones.
pub(crate) fn processor_time(root: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for pid in descendants(root)?.into_iter().chain([root]) {
        // The time of a child that has just ended is included in that of the process that reaps it.
        if let (Ok(own), Ok(stat)) = (own_time(pid), Stat::of(pid)) {
            total += own + TICK * stat.reaped_ticks;
        }
    }
    Ok(total)
}

/// Returns the processor time that a process's existing threads had used at the scheduler's last
/// tick.
pub(crate) fn own_time(pid: u32) -> io::Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        total += number(schedstat.split(' ').next())?;
    }
    Ok(Duration::from_nanos(total))
}

/// Returns the number of voluntary and involuntary context switches of a process.
pub(crate) fn switches(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = |key: &str| number(status.lines().find_map(|line| line.strip_prefix(key)));
    Ok(value("voluntary_ctxt_switches:")? + value("nonvoluntary_ctxt_switches:")?)
}

/// Returns the proportional set size (PSS) of a process in KiB: a page that n processes share
/// counts 1/n for each of them.
pub(crate) fn proportional_memory(pid: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    number(pss.map(|pss| pss.trim_end_matches("kB")))
}

struct Stat {
    state: String,
    parent: u32,
    reaped_ticks: u32,
}

impl Stat {
    fn of(pid: u32) -> io::Result<Stat> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The program's name is in parentheses and can contain parentheses itself, so split after
        // the last one.
        let (_name, fields) =
            stat.rsplit_once(") ").ok_or_else(|| io::Error::other("no name in /proc/PID/stat"))?;
        let field = |index: usize| fields.split(' ').nth(index);
        let reaped = number(field(13))? + number(field(14))?;
        Ok(Stat {
            state: field(0).unwrap_or_default().to_owned(),
            parent: u32::try_from(number(field(1))?).map_err(io::Error::other)?,
            reaped_ticks: u32::try_from(reaped).map_err(io::Error::other)?,
        })
    }
}

fn number(text: Option<&str>) -> io::Result<u64> {
    text.unwrap_or_default().trim().parse().map_err(io::Error::other)
}
