//! Starts a server in its own process, waits for it, and ends it with all its descendants.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Lines};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench_server::Measured;
use daemon_sys::process::{Pid, Signal, SignalOutcome, signal};

use crate::{clients, proc, table};

/// The argument that makes the program `bench` run a server instead of the benchmarks.
pub(crate) const SERVE: &str = "--serve";

/// The program that contains a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerProgram {
    /// The program `bench` itself, with the argument [`SERVE`].
    Bench,
    /// A daemon that forks for each connection.
    Fork,
    /// A daemon that forks for each connection and whose parent is large.
    Large,
    /// A daemon with a pool.
    Pool,
    /// A daemon with a pool. The daemon prints how long its launch took.
    Launch,
    /// The servers without actix.
    Loops,
}

impl ServerProgram {
    fn command(self) -> Measured<Command> {
        let this = std::env::current_exe()?;
        let beside = match self {
            ServerProgram::Bench => {
                let mut command = Command::new(this);
                command.arg(SERVE);
                return Ok(command);
            }
            ServerProgram::Fork => "bench-fork",
            ServerProgram::Large => "bench-large",
            ServerProgram::Pool => "bench-pool",
            ServerProgram::Launch => "bench-launch",
            ServerProgram::Loops => "bench-loop",
        };
        Ok(Command::new(installed(&this.with_file_name(beside))?))
    }
}

/// Copies a program, as an installation does, and returns the path of the copy. Does not copy the
/// program again if the copy is at least as new as the program.
///
/// The page cache holds a file that a linker has just written as single pages. It holds a file that
/// was written at once as groups of pages, and a process maps such groups faster. Users run
/// installed files, so a copy is measured.
fn installed(program: &Path) -> Measured<PathBuf> {
    let missing = |error| format!("{}: {error}: `make bench` builds it", program.display());
    let name = program.file_name().ok_or("the program has no name")?;
    let copy = table::directory()?.join(name);
    let written = |path: &Path| path.metadata().and_then(|file| file.modified());
    let built = written(program).map_err(missing)?;
    if written(&copy).is_ok_and(|copied| copied >= built) {
        return Ok(copy);
    }
    // Do not overwrite a copy that may be running.
    let fresh = copy.with_extension("new");
    fs::write(&fresh, fs::read(program)?)?;
    fs::set_permissions(&fresh, program.metadata()?.permissions())?;
    fs::rename(&fresh, &copy)?;
    Ok(copy)
}

/// The timeout for the start and the end of a server.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. The server is ended when this value is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    family: BTreeSet<u32>,
}

impl Running {
    /// Starts a server by its name and arguments.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: ServerProgram,
        server: &[A],
    ) -> Measured<Running> {
        let mut server = {
            let mut command = program.command()?;
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

    /// Reads lines until one starts with `key=`, and returns the rest of that line.
    pub(crate) fn read_value(&mut self, key: &str) -> Measured<String> {
        for line in self.lines.by_ref() {
            if let Some(value) = line?.strip_prefix(key).and_then(|v| v.strip_prefix('=')) {
                return Ok(value.to_owned());
            }
        }
        Err(format!("the server ended without printing {key}").into())
    }

    /// Waits until the server listens, has at least this many descendants and answers a request.
    /// Returns the address of the server.
    pub(crate) fn up(&mut self, descendants: usize) -> Measured<SocketAddr> {
        let port = self.read_value("PORT")?.parse()?;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until("the server's children run", || Ok(self.family()?.len() >= descendants))?;
        clients::ask(server)?;
        Ok(server)
    }

    /// Returns the current descendants of the server, and records them, so that they are ended
    /// together with the server.
    pub(crate) fn family(&mut self) -> Measured<BTreeSet<u32>> {
        let now = proc::descendants(self.pid())?;
        self.family.extend(&now);
        Ok(now)
    }

    /// Waits until the server ends by itself.
    pub(crate) fn ended(mut self) -> Measured<ExitStatus> {
        wait_until("the server ends", || Ok(self.process.try_wait()?.is_some()))?;
        Ok(self.process.wait()?)
    }

    /// Ends the server and all its descendants.
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
            return Err("the server left children behind, which were killed".into());
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

/// Sends a signal. A process that has already ended is not an error.
pub(crate) fn send(pid: u32, what: Signal) -> Measured<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match signal(pid.ok_or("invalid pid")?, what)? {
        SignalOutcome::Delivered | SignalOutcome::NoSuchProcess => Ok(()),
    }
}

/// Waits until a condition holds, and checks it every 2 ms. Fails after a timeout.
pub(crate) fn wait_until(what: &str, mut has_come: impl FnMut() -> Measured<bool>) -> Measured<()> {
    let deadline = Instant::now() + PATIENCE;
    while !has_come()? {
        if Instant::now() > deadline {
            let seconds = PATIENCE.as_secs();
            return Err(format!("timed out after {seconds} s while waiting until {what}").into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
