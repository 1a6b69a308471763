//! A real gearmand, and the `gearman` command as its client.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};

use super::Signal;
use super::client::LineClient;
use super::guarded::GuardedProgram;
use super::patience::until;

/// Milliseconds that a client waits for an answer. It then ends without one, and with code 0.
const TIMEOUT: &str = "20000";

/// A gearmand on a port of its own. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Gearmand {
    guard: GuardedProgram,
    program: &'static str,
    port: u16,
}

/// A function, as the server counts its jobs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FunctionQueue {
    /// Jobs that are not done.
    pub(crate) jobs: usize,
    /// Those of them that a worker has in hand.
    pub(crate) running: usize,
    /// Workers that have the function.
    pub(crate) workers: usize,
}

impl Gearmand {
    /// Starts one; `None` where it is not installed, or its command is not, and says so.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let is_there = |program: &&str| Command::new(program).arg("-H").output().is_ok();
        let server = ["gearmand", "/usr/sbin/gearmand"].into_iter().find(is_there);
        let (Some(program), true) = (server, is_there(&"gearman")) else {
            let skipped = b"skipped: gearmand or gearman is not on this machine\n";
            let _ = std::io::stderr().write_all(skipped);
            return None;
        };
        // Somebody else may take a port between our letting go and its binding.
        let up = (0..5).find_map(|_try| {
            let port = free_port();
            let guard = serve(program, port);
            answers(&guard, port).then_some(Gearmand { guard, program, port })
        });
        Some(up.expect("gearmand comes up on one of five ports"))
    }

    /// Stops it, and has another one take its place. Its jobs are gone with it.
    #[track_caller]
    pub(crate) fn restart_while(&mut self, meanwhile: impl FnOnce()) {
        self.guard.stop(Signal::SIGTERM);
        meanwhile();
        self.guard = serve(self.program, self.port);
        assert!(answers(&self.guard, self.port), "{}", self.guard.stderr());
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut client = Command::new("gearman");
        client.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", TIMEOUT]);
        client.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        client
    }

    /// Submits a job with the command, and waits for it.
    pub(crate) fn job(&self, function: &str, workload: &str) -> Output {
        self.client(&["-f", function, workload]).output().expect("gearman runs")
    }

    /// Submits a job in the background: nobody waits for it.
    pub(crate) fn submit(&self, function: &str, workload: &str) {
        let output = self.client(&["-b", "-f", function, workload]).output().expect("gearman runs");
        assert!(output.status.success(), "{output:?}");
    }

    /// Submits a job a line, its end included, one after the other; returns the answers as they stand
    /// one behind the other.
    pub(crate) fn jobs(&self, function: &str, lines: &str) -> String {
        let mut client = self
            .client(&["-n", "-f", function])
            .stdin(Stdio::piped())
            .spawn()
            .expect("gearman runs");
        let mut stdin = client.stdin.take().expect("it is piped");
        // They fit into a pipe, so nobody waits for whom.
        assert!(lines.len() < 4096);
        stdin.write_all(lines.as_bytes()).expect("gearman reads");
        drop(stdin);
        let output = client.wait_with_output().expect("gearman ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).expect("answers are text")
    }

    /// What the server counts for a function; all naughts if it has not heard of it.
    pub(crate) fn queue(&self, function: &str) -> FunctionQueue {
        let lines = LineClient::connect(self.port).ask_up_to("status", ".");
        let columns = lines.iter().find_map(|line| line.strip_prefix(function)?.strip_prefix('\t'));
        let mut numbers = columns.unwrap_or_default().split('\t').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten().unwrap_or_default();
        FunctionQueue { jobs: next(), running: next(), workers: next() }
    }

    /// The server's list of workers that has this in it, a line each.
    pub(crate) fn workers(&self, name: &str) -> Vec<String> {
        let lines = LineClient::connect(self.port).ask_up_to("workers", ".");
        lines.into_iter().filter(|line| line.contains(name)).collect()
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

fn serve(program: &str, port: u16) -> GuardedProgram {
    let port = port.to_string();
    let mut arguments =
        vec!["--listen=127.0.0.1", "--port", &port, "--log-file=stderr", "--pid-file=DIR/pid"];
    if nix::unistd::geteuid().is_root() {
        // It refuses to be root's unless it is told.
        arguments.push("--user=root");
    }
    GuardedProgram::program(program, &arguments)
}

/// Waits until it answers, or has ended.
#[track_caller]
fn answers(guard: &GuardedProgram, port: u16) -> bool {
    until("gearmand answers", || match guard.status() {
        Some(_ended) => Some(false),
        None => LineClient::try_connect(port).ok()?.try_ask("version").ok().map(|_version| true),
    })
}
