//! Attacks on the processes of the daemon, and misbehaviour of the child's own process.
//!
//! Signals to the parent and the fork server are those that they handle or ignore. Any process of
//! the same user can end them with other signals.

use std::fs;
use std::hint::black_box;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{Pid, getpid, getppid, setpgid, setsid};
use rustix::process::setpriority_process;

use super::descriptors::inheritable;
use super::{Attack, Attacker, attacks, missing};

pub(super) const PROCESSES: &[Attack] = attacks![Processes:
    sibling_stopped, sibling_killed, sibling_terminated, sibling_interrupted, sibling_quits,
    siblings_stopped, siblings_killed, siblings_terminated, sibling_signalled_at_random,
    sibling_traced, parent_storm, fork_server_storm, hangups_to_parent, stops_itself,
    grandchildren_stay, grandchildren_keep_descriptors, grandchildren_keep_listener, double_fork,
    own_group, own_session, own_priority, own_limits, own_death_signal,
    exits_with_0, exits_with_255, exits_with_101, aborts, segmentation_fault_signal,
    refuses_to_end, spins_without_signals, sleeps,
];

fn children_of(process: Pid) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let children = fs::read_to_string(thread?.path().join("children"))?;
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        found.extend(pids.map(Pid::from_raw));
    }
    Ok(found)
}

/// Returns the parent of the daemon: the parent of the fork server, or this process's own parent if
/// there is no fork server.
pub(super) fn daemon_parent() -> io::Result<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", getppid()))?;
    let fields = stat.rsplit_once(')').map(|(_name, rest)| rest.split_whitespace());
    let above = fields.and_then(|mut fields| fields.nth(1)?.parse().ok());
    let above: u32 = above.ok_or_else(|| missing("the parent"))?;
    let program = |pid: String| fs::read_link(format!("/proc/{pid}/exe"));
    let has_fork_server = program(above.to_string())? == program("self".to_owned())?;
    Ok(if has_fork_server { Pid::from_raw(above.cast_signed()) } else { getppid() })
}

fn siblings() -> io::Result<Vec<Pid>> {
    let mut found = children_of(getppid())?;
    found.retain(|pid| *pid != getpid());
    if found.is_empty() { Err(missing("a sibling")) } else { Ok(found) }
}

fn signal_one(attacker: &mut Attacker, signal: Signal) -> io::Result<()> {
    let sibling = attacker.random.one_of(&siblings()?).ok_or_else(|| missing("a sibling"))?;
    Ok(kill(sibling, signal)?)
}

fn signal_all(signal: Signal) -> io::Result<()> {
    siblings()?.into_iter().try_for_each(|sibling| Ok(kill(sibling, signal)?))
}

/// Stops a sibling.
fn sibling_stopped(attacker: &mut Attacker) -> io::Result<()> {
    signal_one(attacker, Signal::SIGSTOP)
}

/// Kills a sibling.
fn sibling_killed(attacker: &mut Attacker) -> io::Result<()> {
    signal_one(attacker, Signal::SIGKILL)
}

/// Sends TERM to a sibling.
fn sibling_terminated(attacker: &mut Attacker) -> io::Result<()> {
    signal_one(attacker, Signal::SIGTERM)
}

/// Sends INT to a sibling.
fn sibling_interrupted(attacker: &mut Attacker) -> io::Result<()> {
    signal_one(attacker, Signal::SIGINT)
}

/// Sends QUIT to a sibling.
fn sibling_quits(attacker: &mut Attacker) -> io::Result<()> {
    signal_one(attacker, Signal::SIGQUIT)
}

/// Stops all siblings.
fn siblings_stopped(_attacker: &mut Attacker) -> io::Result<()> {
    signal_all(Signal::SIGSTOP)
}

/// Kills all siblings.
fn siblings_killed(_attacker: &mut Attacker) -> io::Result<()> {
    signal_all(Signal::SIGKILL)
}

/// Sends TERM to all siblings.
fn siblings_terminated(_attacker: &mut Attacker) -> io::Result<()> {
    signal_all(Signal::SIGTERM)
}

/// Sends a sibling many signals of all kinds that do not end it at once.
fn sibling_signalled_at_random(attacker: &mut Attacker) -> io::Result<()> {
    let siblings = siblings()?;
    let signals = [
        Signal::SIGHUP,
        Signal::SIGURG,
        Signal::SIGCHLD,
        Signal::SIGCONT,
        Signal::SIGWINCH,
        Signal::SIGUSR2,
        Signal::SIGTTIN,
    ];
    attacker.repeat(|random| {
        if let (Some(sibling), Some(signal)) = (random.one_of(&siblings), random.one_of(&signals)) {
            // The sibling may have ended.
            let _sent = kill(sibling, signal);
        }
        std::thread::sleep(Duration::from_micros(100));
        Ok(())
    })
}

/// Traces a sibling, which stops it.
fn sibling_traced(attacker: &mut Attacker) -> io::Result<()> {
    let sibling = attacker.random.one_of(&siblings()?).ok_or_else(|| missing("a sibling"))?;
    Ok(nix::sys::ptrace::attach(sibling)?)
}

/// Sends the parent a storm of signals that it handles or ignores.
fn parent_storm(attacker: &mut Attacker) -> io::Result<()> {
    let parent = daemon_parent()?;
    let signals = [Signal::SIGCHLD, Signal::SIGURG, Signal::SIGWINCH, Signal::SIGCONT];
    attacker.repeat(|random| Ok(kill(parent, random.one_of(&signals).unwrap_or(Signal::SIGCHLD))?))
}

/// Sends the fork server a storm of signals, all of which it blocks, handles or ignores.
fn fork_server_storm(attacker: &mut Attacker) -> io::Result<()> {
    let signals = [Signal::SIGCHLD, Signal::SIGURG, Signal::SIGWINCH, Signal::SIGCONT];
    attacker
        .repeat(|random| Ok(kill(getppid(), random.one_of(&signals).unwrap_or(Signal::SIGCHLD))?))
}

/// Sends the parent HUP a hundred times, so that it reopens its logs.
fn hangups_to_parent(_attacker: &mut Attacker) -> io::Result<()> {
    let parent = daemon_parent()?;
    for _signal in 0..100 {
        kill(parent, Signal::SIGHUP)?;
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Stops itself in the middle of a request.
fn stops_itself(_attacker: &mut Attacker) -> io::Result<()> {
    Ok(kill(getpid(), Signal::SIGSTOP)?)
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Starts 20 grandchildren that outlive it, and ends.
fn grandchildren_stay(_attacker: &mut Attacker) -> io::Result<()> {
    for _grandchild in 0..20 {
        quiet(Command::new("sleep").arg("60")).spawn()?;
    }
    std::process::exit(3);
}

/// Starts grandchildren that have all its descriptors and outlive it, and ends.
fn grandchildren_keep_descriptors(_attacker: &mut Attacker) -> io::Result<()> {
    let _kept = inheritable()?;
    for _grandchild in 0..5 {
        Command::new("sleep").arg("60").spawn()?;
    }
    std::process::exit(3);
}

/// Starts grandchildren in sessions of their own that have all its descriptors, and ends.
fn grandchildren_keep_listener(_attacker: &mut Attacker) -> io::Result<()> {
    let _kept = inheritable()?;
    for _grandchild in 0..5 {
        Command::new("setsid").args(["sleep", "60"]).process_group(0).spawn()?;
    }
    std::process::exit(3);
}

/// Starts a process whose parent ends at once.
fn double_fork(_attacker: &mut Attacker) -> io::Result<()> {
    let _kept = inheritable()?;
    let started = Command::new("sh").args(["-c", "sleep 60 & sleep 60 &"]).spawn()?;
    drop(started);
    Ok(())
}

/// Leaves the process group of the fork server.
fn own_group(_attacker: &mut Attacker) -> io::Result<()> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    Ok(())
}

/// Leaves the session of the daemon.
fn own_session(_attacker: &mut Attacker) -> io::Result<()> {
    setsid()?;
    Ok(())
}

/// Lowers its priority as far as possible.
fn own_priority(_attacker: &mut Attacker) -> io::Result<()> {
    Ok(setpriority_process(None, 19)?)
}

/// Sets its limits to almost nothing.
fn own_limits(_attacker: &mut Attacker) -> io::Result<()> {
    for resource in [Resource::RLIMIT_NOFILE, Resource::RLIMIT_FSIZE, Resource::RLIMIT_CORE] {
        setrlimit(resource, 1, 1)?;
    }
    Ok(())
}

/// Clears the signal that it receives when the fork server ends.
fn own_death_signal(_attacker: &mut Attacker) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(None)?;
    Ok(())
}

/// Exits with code 0 in the middle of a request.
fn exits_with_0(_attacker: &mut Attacker) -> io::Result<()> {
    std::process::exit(0);
}

/// Exits with code 255.
fn exits_with_255(_attacker: &mut Attacker) -> io::Result<()> {
    std::process::exit(255);
}

/// Exits with the code of a panic.
fn exits_with_101(_attacker: &mut Attacker) -> io::Result<()> {
    std::process::exit(101);
}

/// Aborts.
fn aborts(_attacker: &mut Attacker) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    std::process::abort();
}

/// Sends itself SEGV.
fn segmentation_fault_signal(_attacker: &mut Attacker) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(kill(getpid(), Signal::SIGSEGV)?)
}

/// Blocks all signals, leaves group and session if it can, and never ends by itself.
fn refuses_to_end(_attacker: &mut Attacker) -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None)?;
    // A child that leads a process group cannot.
    let _leads_a_group = setsid();
    nix::sys::prctl::set_pdeathsig(None)?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Blocks all signals, and uses a processor.
fn spins_without_signals(_attacker: &mut Attacker) -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None)?;
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Sleeps in the middle of a request.
fn sleeps(_attacker: &mut Attacker) -> io::Result<()> {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}
