//! Tests the examples that print what happens, `board` and `dispatch`, and what example servers do
//! without descriptors, and with clients that wait at a stop.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::harness::{
    ControlClient, GuardedProgram, LineClient, Process, Signal, example, run_clients, until,
};

/// An example server, and a request that it answers with one line or more.
struct Server {
    name: &'static str,
    arguments: &'static [&'static str],
    request: &'static str,
    /// Is in the first or the last line of the answer.
    answer: &'static str,
    /// How many clients it serves at the same time, if this is limited.
    clients_max: usize,
}

const HTTP: Server = Server {
    name: "http",
    arguments: &["0"],
    request: "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
    answer: "answered by process",
    clients_max: 32,
};
const NONFORKING: Server = Server {
    name: "nonforking",
    arguments: &["0"],
    request: "hello\n",
    answer: "hello",
    clients_max: 30,
};
const SHORT_WAY: Server = Server {
    name: "short_way",
    arguments: &["0"],
    request: "hello\n",
    answer: "hello",
    clients_max: 32,
};
const PREFORK_RELOAD: Server = Server {
    name: "prefork_reload",
    arguments: &["0", "/dev/null"],
    request: "Ann\n",
    answer: "Hello, Ann",
    clients_max: 4,
};
const FORKSERVER_ONLY: Server = Server {
    name: "forkserver_only",
    arguments: &["0"],
    request: "hello\n",
    answer: ": hello",
    clients_max: 64,
};
const PREFORKING: Server = Server {
    name: "preforking",
    arguments: &["0"],
    request: "PING\n",
    answer: "PONG",
    clients_max: 10,
};
const FORKING: Server = Server {
    name: "forking",
    arguments: &["0"],
    request: "PING\n",
    answer: "PONG",
    clients_max: 3,
};
const BOARD: Server = Server {
    name: "board",
    arguments: &["0"],
    request: "hello\n",
    answer: ": hello",
    clients_max: 12,
};
const BABYSIT: Server = Server {
    name: "babysit",
    arguments: &["0"],
    request: "hello\n",
    answer: "hello",
    clients_max: 8,
};
const SERVICE: Server = Server {
    name: "service",
    arguments: &["0"],
    request: "hello\n",
    answer: "hello",
    clients_max: 8,
};

/// The example of daemonctl.
const DEMO: Server = Server {
    name: "demo",
    arguments: &["0", "DIR"],
    request: "hello\n",
    answer: "hello",
    clients_max: 8,
};

/// All example servers.
const SERVERS: [Server; 11] = [
    HTTP,
    NONFORKING,
    SHORT_WAY,
    PREFORK_RELOAD,
    FORKSERVER_ONLY,
    PREFORKING,
    FORKING,
    BOARD,
    BABYSIT,
    SERVICE,
    DEMO,
];

impl Server {
    fn start(&self) -> (GuardedProgram, u16) {
        let guard = GuardedProgram::example(self.name, self.arguments);
        let port = until("the port is printed or written to a file", || {
            let printed = guard.stdout();
            let port = printed.lines().find_map(|line| line.strip_prefix("PORT="));
            port.unwrap_or(&guard.read("port")).parse().ok()
        });
        (guard, port)
    }

    /// Returns the process that takes signals: examples that run in the background have left their
    /// first process.
    fn parent(&self, guard: &GuardedProgram, port: u16) -> Process {
        match self.answer {
            "PONG" => Process(LineClient::connect(port).ask("PARENT").parse().expect("a pid")),
            _ => guard.process(),
        }
    }

    fn log(&self, guard: &GuardedProgram) -> String {
        guard.stdout() + &guard.stderr() + &guard.read(&format!("{}.log", self.name))
    }

    /// Connects as many clients as the server serves at the same time: some send nothing, some send
    /// half a request, and some send requests and never read.
    fn half_open_clients(&self, port: u16) -> Vec<TcpStream> {
        let kinds = (0..self.clients_max).map(|nth| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected");
            stream.set_write_timeout(Some(Duration::from_millis(200))).expect("set");
            match nth % 3 {
                0 => {}
                1 => {
                    let half = &self.request.as_bytes()[..self.request.len() / 2];
                    stream.write_all(half).expect("sent");
                }
                _ => {
                    let requests = self.request.replace("close", "keep-alive").repeat(100);
                    while stream.write_all(requests.as_bytes()).is_ok() {}
                }
            }
            stream
        });
        kinds.collect()
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

/// Sets the soft limit of descriptors of a process and its descendants, those that start later
/// included.
fn limit_all(process: Process, limit: u32) {
    process.limit_descriptors(limit);
    for child in process.children() {
        limit_all(child, limit);
    }
}

/// Calls a function with each client, in a thread of its own, and then closes the client.
fn run_each(clients: Vec<LineClient>, act: impl Fn(&mut LineClient) + Sync) {
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(|| {
                act(&mut client);
                drop(client);
            });
        }
    });
}

#[test]
fn clients_that_wait_at_a_stop_are_served() {
    let pools = [HTTP, SHORT_WAY, PREFORKING, BOARD, BABYSIT, SERVICE, PREFORK_RELOAD];
    for server in pools.into_iter().chain([NONFORKING, FORKING, FORKSERVER_ONLY, DEMO]) {
        let (mut guard, port) = server.start();
        // The answer shows that the server handles signals.
        server.ask(&mut LineClient::connect(port));
        let parent = server.parent(&guard, port);
        let mut clients: Vec<_> = (0..40).map(|_| LineClient::connect(port)).collect();
        parent.signal(Signal::SIGTERM);
        until("the stop begins", || {
            let log = server.log(&guard);
            (log.contains("daemon stopping") || log.contains("signal received")).then_some(())
        });
        // All of them, because children may take the clients in any order.
        for client in &mut clients {
            client.send(server.request).unwrap_or_else(|error| panic!("{}: {error}", server.name));
        }
        // A client leaves as soon as it has its answer, so that its child can take another one.
        run_each(clients, |client| server.check(client));
        assert_eq!(guard.wait_until_gone(), "code 0", "{}", server.name);
    }
}

#[test]
fn servers_without_descriptors_accept_again_when_they_have_some() {
    for server in SERVERS {
        let (guard, port) = server.start();
        server.ask(&mut LineClient::connect(port));
        let parent = server.parent(&guard, port);
        limit_all(parent, 3);
        let mut client = LineClient::connect(port);
        client.send(server.request).unwrap();
        let is_answered = client.is_answered_within(Duration::from_millis(300));
        assert!(!is_answered, "{} cannot accept", server.name);
        // The parent last: a fork server passes its limit to its children.
        for child in parent.children() {
            limit_all(child, 1024);
        }
        parent.limit_descriptors(1024);
        server.check(&mut client);
        assert!(parent.is_alive(), "{} runs", server.name);
    }
}

#[test]
fn half_open_clients_neither_keep_others_from_being_served_nor_hold_up_a_stop() {
    run_clients(SERVERS.len(), |nth| {
        let server = &SERVERS[nth];
        let (mut guard, port) = server.start();
        let parent = server.parent(&guard, port);
        let first = server.half_open_clients(port);
        server.ask(&mut LineClient::connect(port));
        let second = server.half_open_clients(port);
        parent.signal(Signal::SIGTERM);
        guard.wait_until_gone();
        drop((first, second));
    });
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
    shows(", 1 request, 0 crashes");
    let mut client = LineClient::connect(port);
    client.send("CRASH\n").unwrap();
    assert_eq!(client.rest(), "");
    shows(", 2 requests, 1 crash\n");
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

#[test]
fn the_dispatch_example_keeps_its_workers_until_it_is_asked_to_stop() {
    let program = example("dispatch");
    let start = "cd \"$1\" && exec \"$0\" --stay";
    let arguments = ["-c", start, program.to_str().unwrap(), "DIR"];
    let mut dispatch = GuardedProgram::program("/bin/sh", &arguments);
    until("the results are printed", || {
        dispatch.stdout().contains("1000 requests: 1000 values\n").then_some(())
    });
    let report = ControlClient::at(&dispatch.path("dispatch.sock")).report();
    assert_eq!(report["phase"], "running");
    assert!(!report["children"].as_array().unwrap().is_empty(), "{report}");
    assert_eq!(dispatch.stop(Signal::SIGTERM), "code 0");
}
