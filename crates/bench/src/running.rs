//! A server of this program in a process of its own: started, waited for, and ended with all that
//! descends from it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Lines};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use daemon_sys::process::{Pid, Signal, SignalOutcome, signal};

use crate::{Measured, clients, proc, table};

/// The argument that makes this program one of its servers.
pub(crate) const SERVE: &str = "--serve";

/// The program that a server is a process of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// This one.
    Bench,
    /// A daemon that forks for each connection.
    Fork,
    /// The same, of a large parent.
    Large,
    /// A daemon with a pool.
    Pool,
    /// The same, that tells how long its launch took.
    Launch,
    /// That of the loops without actix.
    Loops,
}

impl Home {
    fn command(self) -> Measured<Command> {
        let this = std::env::current_exe()?;
        let beside = match self {
            Home::Bench => {
                let mut command = Command::new(this);
                command.arg(SERVE);
                return Ok(command);
            }
            Home::Fork => "bench-fork",
            Home::Large => "bench-large",
            Home::Pool => "bench-pool",
            Home::Launch => "bench-launch",
            Home::Loops => "bench-loop",
        };
        Ok(Command::new(installed(&this.with_file_name(beside))?))
    }
}

/// A copy of a program, as its installation would make it.
///
/// What a linker has just written lies in the kernel's cache a page each, a file that was written at once in
/// pieces of many pages; to map those costs a process less, and it is them that users run.
fn installed(program: &Path) -> Measured<PathBuf> {
    let missing = |error| format!("{}: {error}: `make bench` builds it", program.display());
    let name = program.file_name().ok_or("a program has a name")?;
    let copy = table::directory()?.join(name);
    let written = |path: &Path| path.metadata().and_then(|file| file.modified());
    let built = written(program).map_err(missing)?;
    if written(&copy).is_ok_and(|copied| copied >= built) {
        return Ok(copy);
    }
    // Not over a copy that may run.
    let fresh = copy.with_extension("new");
    fs::write(&fresh, fs::read(program)?)?;
    fs::set_permissions(&fresh, program.metadata()?.permissions())?;
    fs::rename(&fresh, &copy)?;
    Ok(copy)
}

/// How long a server may take to come up, or to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs; dropped, it is ended.
#[derive(Debug)]
pub(crate) struct Running {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    family: BTreeSet<u32>,
}

impl Running {
    /// Starts a server, by its name and arguments.
    pub(crate) fn start<A: AsRef<OsStr>>(home: Home, server: &[A]) -> Measured<Running> {
        let mut server = {
            let mut command = home.command()?;
            command.args(server);
            command
        };
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(table::directory()?.join("servers.log"))?;
        let mut process = server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = process.stdout.take().ok_or("the server has no output")?;
        Ok(Running { process, lines: BufReader::new(stdout).lines(), family: BTreeSet::new() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Reads the line that begins with `key=`, and answers with the rest of it.
    pub(crate) fn told(&mut self, key: &str) -> Measured<String> {
        for line in self.lines.by_ref() {
            if let Some(value) = line?.strip_prefix(key).and_then(|v| v.strip_prefix('=')) {
                return Ok(value.to_owned());
            }
        }
        Err(format!("the server ended without telling {key}").into())
    }

    /// Waits until it listens and so many processes descend from it, and answers with its address.
    pub(crate) fn up(&mut self, descendants: usize) -> Measured<SocketAddr> {
        let port = self.told("PORT")?.parse()?;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until("the server's children are there", || Ok(self.family()?.len() >= descendants))?;
        clients::ask(server)?;
        Ok(server)
    }

    /// The processes that descend from it now.
    pub(crate) fn family(&mut self) -> Measured<BTreeSet<u32>> {
        let now = proc::descendants(self.pid())?;
        self.family.extend(&now);
        Ok(now)
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> Measured<ExitStatus> {
        wait_until("the server ends", || Ok(self.process.try_wait()?.is_some()))?;
        Ok(self.process.wait()?)
    }

    /// Ends it, and sees to it that nothing is left.
    fn end(&mut self) -> Measured<()> {
        if self.process.try_wait()?.is_none() {
            self.family()?;
            send(self.pid(), Signal::Term)?;
            let gone = wait_until("the server ends", || Ok(self.process.try_wait()?.is_some()));
            if gone.is_err() {
                self.process.kill()?;
                self.process.wait()?;
            }
        }
        let family = std::mem::take(&mut self.family);
        let gone = || Ok(!family.iter().copied().any(proc::is_alive));
        if wait_until("the server's children end", gone).is_err() {
            for pid in family.iter().copied().filter(|pid| proc::is_alive(*pid)) {
                send(pid, Signal::Kill)?;
            }
            return Err("the server has left children behind: they were killed".into());
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            table::say(&format!("  {error}"));
        }
    }
}

/// Sends a signal; that the process is gone already is no error.
pub(crate) fn send(pid: u32, what: Signal) -> Measured<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match signal(pid.ok_or("no pid")?, what)? {
        SignalOutcome::Delivered | SignalOutcome::NoSuchProcess => Ok(()),
    }
}

/// Looks every 2 ms whether something has come about.
pub(crate) fn wait_until(what: &str, mut has_come: impl FnMut() -> Measured<bool>) -> Measured<()> {
    let deadline = Instant::now() + PATIENCE;
    while !has_come()? {
        if Instant::now() > deadline {
            return Err(format!("waited {} s in vain until {what}", PATIENCE.as_secs()).into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
