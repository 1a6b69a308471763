//! Tests the examples that print what happens, `board` and `dispatch`, and what example servers do
//! without descriptors, and with clients that wait at a stop.

use std::process::Command;
use std::time::Duration;

use crate::harness::{GuardedProgram, LineClient, Process, Signal, until};

/// An example server, and a request that it answers with one line or more.
struct Server {
    name: &'static str,
    arguments: &'static [&'static str],
    request: &'static str,
    /// Is in the first or the last line of the answer.
    answer: &'static str,
}

const HTTP: Server = Server {
    name: "http",
    arguments: &["0"],
    request: "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
    answer: "answered by process",
};
const NONFORKING: Server =
    Server { name: "nonforking", arguments: &["0"], request: "hello\n", answer: "hello" };
const SHORT_WAY: Server =
    Server { name: "short_way", arguments: &["0"], request: "hello\n", answer: "hello" };
const PREFORK_RELOAD: Server = Server {
    name: "prefork_reload",
    arguments: &["0", "/dev/null"],
    request: "Ann\n",
    answer: "Hello, Ann",
};
const FORKSERVER_ONLY: Server =
    Server { name: "forkserver_only", arguments: &["0"], request: "hello\n", answer: ": hello" };

impl Server {
    fn start(&self) -> (GuardedProgram, u16) {
        let guard = GuardedProgram::example(self.name, self.arguments);
        let port = until("the port is printed", || {
            guard.stdout().lines().find_map(|line| line.strip_prefix("PORT=")?.parse().ok())
        });
        (guard, port)
    }

    /// Sends the request, and checks its answer.
    #[track_caller]
    fn ask(&self, client: &mut LineClient) {
        client.send(self.request).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.check(client);
    }

    #[track_caller]
    fn check(&self, client: &mut LineClient) {
        loop {
            let line = client.read().unwrap_or_else(|error| panic!("{}: {error}", self.name));
            if line.contains(self.answer) {
                return;
            }
        }
    }
}

/// Sets the soft limit of descriptors of a process.
fn limit_descriptors(process: Process, limit: u32) {
    let done = Command::new("prlimit")
        .args(["--pid", &process.0.to_string(), &format!("--nofile={limit}:")])
        .status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit of util-linux works");
}

#[test]
fn clients_that_wait_at_a_stop_are_served() {
    for server in [HTTP, NONFORKING, SHORT_WAY, PREFORK_RELOAD] {
        let (mut guard, port) = server.start();
        // The answer shows that the server handles signals.
        server.ask(&mut LineClient::connect(port));
        let clients: Vec<_> = (0..40).map(|_| LineClient::connect(port)).collect();
        guard.process().signal(Signal::SIGTERM);
        until("the stop begins", || {
            let log = guard.stderr();
            (log.contains("daemon stopping") || log.contains("signal received")).then_some(())
        });
        for mut client in clients {
            server.ask(&mut client);
        }
        assert_eq!(guard.wait_until_gone(), "code 0", "{}", server.name);
    }
}

#[test]
fn servers_without_descriptors_accept_again_when_they_have_some() {
    for server in [NONFORKING, PREFORK_RELOAD, FORKSERVER_ONLY] {
        let (guard, port) = server.start();
        server.ask(&mut LineClient::connect(port));
        let mut limited = vec![guard.process()];
        if server.name == PREFORK_RELOAD.name {
            limited.extend(guard.process().children());
        }
        for process in &limited {
            limit_descriptors(*process, 3);
        }
        let mut client = LineClient::connect(port);
        client.send(server.request).unwrap();
        let is_answered = client.is_answered_within(Duration::from_millis(300));
        assert!(!is_answered, "{} cannot accept", server.name);
        for process in &limited {
            limit_descriptors(*process, 1024);
        }
        server.check(&mut client);
        assert_eq!(guard.status(), None, "{} runs", server.name);
    }
}

#[test]
fn the_board_example_counts_each_request_and_each_crash_once() {
    let mut board = GuardedProgram::example("board", &["0"]);
    let port = until("the port is printed", || {
        board.stdout().lines().find_map(|line| line.strip_prefix("PORT=")?.parse().ok())
    });
    let shows = |text: &str| {
        until(&format!("{text:?} is printed"), || board.stdout().contains(text).then_some(()));
    };
    let answer = LineClient::connect(port).ask("hello");
    assert!(answer.contains(": hello"), "{answer}");
    shows(", 1 requests, 0 crashes");
    let mut client = LineClient::connect(port);
    client.send("CRASH\n").unwrap();
    assert_eq!(client.rest(), "");
    shows(", 2 requests, 1 crashes");
    assert_eq!(board.stop(Signal::SIGINT), "code 0");
    assert!(
        board.stdout().ends_with("\nboard has stopped; no process is left\n"),
        "{}",
        board.stdout()
    );
}

#[test]
fn the_dispatch_example_prints_each_kind_of_result_and_exits() {
    let mut example = GuardedProgram::example("dispatch", &[]);
    assert_eq!(example.wait_until_gone(), "code 0", "{}", example.stderr());
    let said = example.stdout();
    let expected = [
        "counted: 6 words, in process ",
        "divided: 6, computed by a typed task",
        "error: cannot divide by zero",
        "crashed: worker died while running the task: killed by signal ABRT",
        "hung: timed out after 200ms (hard limit, the worker was killed)",
        "dead letter: gave up after 3 attempts: the worker died each time, last cause: killed by signal ABRT",
        "rejected: unknown method \"unheard of\"",
        "1000 requests: 1000 values",
    ];
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
}
