//! Tests what a stopping daemon does with its listener: all children serve the connections that
//! wait, new clients are refused, and the address is free for the next start although a child is
//! blocked.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix_daemon::bind_unix;

use crate::harness::{DaemonProcess, Process, Signal, TestProgram, until};

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A client of a line protocol, over either kind of socket.
struct Client(BufReader<Box<dyn Stream>>);

impl Client {
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn read(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, word: &str) -> String {
        self.send(&format!("{word}\n"));
        self.read()
    }
}

const TIMEOUT: Duration = Duration::from_secs(60);

/// A daemon and the way to connect to it.
struct Server {
    daemon: DaemonProcess,
    /// The path of the socket, if it is a Unix socket.
    path: Option<PathBuf>,
    /// The word that ends a request of a client that stays connected.
    end: &'static str,
}

impl Server {
    fn connect(&self) -> std::io::Result<Client> {
        let stream: Box<dyn Stream> = match &self.path {
            None => {
                let address = (Ipv4Addr::LOCALHOST, self.daemon.port()).into();
                let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                Box::new(stream)
            }
            Some(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                Box::new(stream)
            }
        };
        Ok(Client(BufReader::new(stream)))
    }

    fn client(&self) -> Client {
        self.connect().expect("the daemon listens")
    }

    /// Occupies a child with a request that ends when the file exists, and returns the child.
    fn occupy(&self, request: &str, file: &str) -> (Client, Process) {
        let mut client = self.client();
        let child = Process(client.ask("pid").parse().unwrap());
        client.send(&format!("{request} {}\n", self.daemon.dir().join(file).display()));
        (client, child)
    }

    fn create(&self, file: &str) {
        fs::write(self.daemon.dir().join(file), "").unwrap();
    }

    #[track_caller]
    fn stop(&self) {
        assert!(self.daemon.parent().signal(Signal::SIGTERM));
    }

    #[track_caller]
    fn wait_until_refused(&self) {
        until("new clients are refused", || {
            let error = self.connect().err()?;
            (error.kind() == ErrorKind::ConnectionRefused).then_some(())
        });
    }

    /// Checks that another program can listen on the same address, as the next start does.
    #[track_caller]
    fn assert_address_is_free(&self) {
        match &self.path {
            None => {
                let address = (Ipv4Addr::LOCALHOST, self.daemon.port());
                drop(TcpListener::bind(address).expect("the address is free"));
            }
            Some(path) => drop(bind_unix(path).expect("the path is free")),
        }
    }
}

/// Starts each kind of server that accepts connections, with at most this many children.
fn servers(children: usize, options: &str) -> impl Iterator<Item = Server> {
    let pool = format!("start={children} min=0 max={children} {options}");
    let forked = format!("max={children} {options}");
    let starts: [(TestProgram, Option<&str>, &'static str); 6] = [
        (TestProgram::serve().options(&pool), None, ""),
        (TestProgram::serve().options(&pool), Some("unix=DIR/s"), ""),
        (TestProgram::serve().options(&format!("postfork {forked}")), None, ""),
        (TestProgram::serve().options(&format!("postfork {forked}")), Some("unix=DIR/s"), ""),
        (TestProgram::pool().options(&pool), None, "done\n"),
        (TestProgram::postfork().options(&forked), None, "done\n"),
    ];
    starts.into_iter().map(|(program, unix, end)| {
        let daemon = program.logged().options(unix.unwrap_or_default()).start();
        let path = unix.map(|_| daemon.dir().join("s"));
        Server { daemon, path, end }
    })
}

#[test]
fn all_children_serve_the_connections_that_wait_when_the_daemon_stops() {
    for mut server in servers(4, "") {
        let mut busy: Vec<_> =
            (0..4).map(|_child| server.occupy("block", "unblock")).map(|(busy, _)| busy).collect();
        let mut waiting: Vec<_> = (0..48).map(|_client| server.client()).collect();
        for client in &mut waiting {
            client.send("sleep 50\n");
        }
        server.stop();
        server.wait_until_refused();
        server.create("unblock");
        for client in &mut busy {
            client.read();
            client.send(server.end);
        }
        drop(busy);
        let mut served = BTreeMap::<String, u32>::new();
        for mut client in waiting {
            assert_ne!(client.read(), "", "the connection is served");
            client.send("pid\n");
            *served.entry(client.read()).or_default() += 1;
            client.send(server.end);
        }
        let most = served.values().max().copied().unwrap();
        assert!(served.len() >= 4 && most <= 24, "{served:?}");
        server.daemon.wait_until_gone();
        assert!(!server.daemon.log().contains("dropped"), "{}", server.daemon.log());
    }
}

#[test]
fn the_address_is_free_while_one_of_several_children_is_blocked() {
    for mut server in servers(3, "") {
        let (mut blocked, child) = server.occupy("block", "unblock");
        server.stop();
        server.wait_until_refused();
        server.assert_address_is_free();
        assert!(child.is_alive());
        server.create("unblock");
        assert_ne!(blocked.read(), "", "the request is completed");
        blocked.send(server.end);
        drop(blocked);
        server.daemon.wait_until_gone();
    }
}

#[test]
fn the_address_is_free_while_all_children_are_blocked_and_those_that_wait_are_served_later() {
    for mut server in servers(2, "") {
        let mut blocked = [server.occupy("block", "unblock"), server.occupy("block", "unblock")];
        let mut waiting: Vec<_> = (0..20).map(|_client| server.client()).collect();
        for client in &mut waiting {
            client.send("sleep 1\n");
        }
        server.stop();
        server.wait_until_refused();
        server.assert_address_is_free();
        assert!(blocked.iter().all(|(_, child)| child.is_alive()));
        server.create("unblock");
        for (client, _) in &mut blocked {
            client.read();
            client.send(server.end);
        }
        drop(blocked);
        for mut client in waiting {
            assert_ne!(client.read(), "", "the connection is served");
            client.send(server.end);
        }
        server.daemon.wait_until_gone();
    }
}

#[test]
fn children_that_block_all_signals_or_are_stopped_do_not_keep_the_address() {
    for mut server in servers(2, "grace=2000") {
        let (_frozen, child) = server.occupy("sleep", "ignored");
        assert!(child.signal(Signal::SIGSTOP));
        let _waiting: Vec<_> = (0..3).map(|_client| server.client()).collect();
        server.stop();
        server.wait_until_refused();
        server.assert_address_is_free();
        server.daemon.wait_until_gone();
    }
}

#[test]
fn a_second_start_at_the_same_address_succeeds_while_the_first_daemon_is_blocked() {
    for unix in [None, Some("unix=DIR/s")] {
        let options = format!("start=1 min=0 max=1 {}", unix.unwrap_or_default());
        let daemon = TestProgram::serve().logged().options(&options).start();
        let path = unix.map(|_| daemon.dir().join("s"));
        let mut first = Server { daemon, path, end: "" };
        let address = match &first.path {
            None => format!("port={}", first.daemon.port()),
            Some(path) => format!("unix={}", path.display()),
        };
        let (mut blocked, _child) = first.occupy("block", "unblock");
        let mut waiting = first.client();
        waiting.send("of the first\n");
        let again = || TestProgram::serve().options(&format!("start=1 max=1 {address}"));
        assert_eq!(again().fail_to_start().status, "code 1", "the address is in use");
        first.stop();
        let daemon = until("the second daemon starts", || again().try_start());
        let second = Server { daemon, path: first.path.clone(), end: "" };
        assert_eq!(second.client().ask("of the second"), "of the second");
        first.create("unblock");
        assert_eq!(blocked.read(), "unblocked");
        drop(blocked);
        assert_eq!(waiting.read(), "of the first");
        drop(waiting);
        first.daemon.wait_until_gone();
        assert_eq!(second.client().ask("still"), "still");
    }
}

#[test]
fn connections_that_are_not_served_within_the_grace_period_are_counted() {
    for mut server in servers(2, "grace=500") {
        let _blocked = [server.occupy("block", "never"), server.occupy("block", "never")];
        let _waiting: Vec<_> = (0..9).map(|_client| server.client()).collect();
        server.stop();
        server.daemon.wait_until_gone();
        let log = server.daemon.log();
        let line = log.lines().find(|line| line.contains("waiting connections dropped"));
        assert!(line.is_some_and(|line| line.contains("connections: 9")), "{line:?} {log}");
    }
}

#[test]
fn a_stop_leaves_no_client_of_a_stream_of_clients_without_an_answer() {
    // With a quota of one request, all children of a pool can have exited when the daemon stops.
    let settings = [(4, ""), (1, "requests=1"), (2, "requests=1")];
    for mut server in settings.into_iter().flat_map(|(children, quota)| servers(children, quota)) {
        let (parent, answered) = (server.daemon.parent(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _client in 0..8 {
                scope.spawn(|| {
                    while let Ok(mut client) = server.connect() {
                        client.send("pid\n");
                        assert_ne!(client.read(), "", "a client that was not refused is served");
                        client.send(server.end);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            until("clients are served", || (answered.load(Ordering::Relaxed) > 100).then_some(()));
            assert!(parent.signal(Signal::SIGTERM));
        });
        server.daemon.wait_until_gone();
    }
}
