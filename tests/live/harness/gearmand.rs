//! A real gearmand, with the `gearman` command as its client.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};

use super::client::LineClient;
use super::guarded::GuardedProgram;
use super::patience::until;
use super::{Signal, skipped};

/// The timeout of the `gearman` command, in milliseconds. After a timeout the command prints no
/// answer and exits with code 0.
const TIMEOUT: &str = "20000";

/// A gearmand on its own port. Dropping it kills the server.
#[derive(Debug)]
pub(crate) struct Gearmand {
    guard: GuardedProgram,
    program: &'static str,
    port: u16,
}

/// The server's counters for a function.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FunctionQueue {
    /// Jobs that are not finished.
    pub(crate) jobs: usize,
    /// Unfinished jobs that a worker is running.
    pub(crate) running: usize,
    /// Workers that offer the function.
    pub(crate) workers: usize,
}

impl Gearmand {
    /// Starts a gearmand. Prints a message and returns `None` if `gearmand` or `gearman` is not
    /// installed.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let is_there = |program: &&str| Command::new(program).arg("-H").output().is_ok();
        let server = ["gearmand", "/usr/sbin/gearmand"].into_iter().find(is_there);
        let (Some(program), true) = (server, is_there(&"gearman")) else {
            skipped("gearmand or gearman is not installed");
            return None;
        };
        // After this test has released the port and before gearmand binds it, another process may
        // take the port.
        let up = (0..5).find_map(|_try| {
            let port = free_port();
            let guard = serve(program, port);
            answers(&guard, port).then_some(Gearmand { guard, program, port })
        });
        Some(up.expect("gearmand starts on one of five ports"))
    }

    /// Stops the server, calls `meanwhile`, and starts the server again on the same port. The
    /// server's jobs are lost.
    #[track_caller]
    pub(crate) fn restart_while(&mut self, meanwhile: impl FnOnce()) {
        self.guard.stop(Signal::SIGTERM);
        meanwhile();
        self.guard = serve(self.program, self.port);
        assert!(answers(&self.guard, self.port), "{}", self.guard.stderr());
    }

    /// Returns the address of the server.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut client = Command::new("gearman");
        client.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", TIMEOUT]);
        client.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        client
    }

    /// Submits a job with the `gearman` command, and returns the command's output when the job is
    /// done.
    pub(crate) fn job(&self, function: &str, workload: &str) -> Output {
        self.client(&["-f", function, workload]).output().expect("gearman runs")
    }

    /// Submits a background job, without waiting for it.
    pub(crate) fn submit(&self, function: &str, workload: &str) {
        let output = self.client(&["-b", "-f", function, workload]).output().expect("gearman runs");
        assert!(output.status.success(), "{output:?}");
    }

    /// Submits each line, with its line end, as a job, one after the other. Returns the
    /// concatenated answers.
    pub(crate) fn jobs(&self, function: &str, lines: &str) -> String {
        let mut client = self
            .client(&["-n", "-f", function])
            .stdin(Stdio::piped())
            .spawn()
            .expect("gearman runs");
        let mut stdin = client.stdin.take().expect("standard input is piped");
        // The lines fit into a pipe, so writing them does not block.
        assert!(lines.len() < 4096);
        stdin.write_all(lines.as_bytes()).expect("gearman reads its input");
        drop(stdin);
        let output = client.wait_with_output().expect("gearman ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).expect("answers are text")
    }

    /// Returns the server's counters for a function. All are zero if the server does not know the
    /// function.
    pub(crate) fn queue(&self, function: &str) -> FunctionQueue {
        let lines = LineClient::connect(self.port).ask_up_to("status", ".");
        let columns = lines.iter().find_map(|line| line.strip_prefix(function)?.strip_prefix('\t'));
        let mut numbers = columns.unwrap_or_default().split('\t').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten().unwrap_or_default();
        FunctionQueue { jobs: next(), running: next(), workers: next() }
    }

    /// Returns the lines of the server's worker list that contain this name.
    pub(crate) fn workers(&self, name: &str) -> Vec<String> {
        let lines = LineClient::connect(self.port).ask_up_to("workers", ".");
        lines.into_iter().filter(|line| line.contains(name)).collect()
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("the listener is bound").port()
}

fn serve(program: &str, port: u16) -> GuardedProgram {
    let port = port.to_string();
    let mut arguments =
        vec!["--listen=127.0.0.1", "--port", &port, "--log-file=stderr", "--pid-file=DIR/pid"];
    if nix::unistd::geteuid().is_root() {
        // gearmand refuses to run as root without this option.
        arguments.push("--user=root");
    }
    GuardedProgram::program(program, &arguments)
}

/// Waits until the server answers or exits. Returns whether it answers.
#[track_caller]
fn answers(guard: &GuardedProgram, port: u16) -> bool {
    until("gearmand answers", || match guard.status() {
        Some(_ended) => Some(false),
        None => LineClient::try_connect(port).ok()?.try_ask("version").ok().map(|_version| true),
    })
}
