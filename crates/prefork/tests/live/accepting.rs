//! Scenarios of workers that accept connections, and of the clients that wait while they are asked
//! to stop.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::Duration;

use daemon_prefork::{Listener, Pid, Prefork, Signal, SignalForward, Worker, bind_unix};
use daemon_sys::listen::{ListenAddress, listen_again};
use daemon_sys::process::this_pid;
use daemon_sys::reap::Exit;

use super::support::{
    Counters, assert_success, discard_logs, reaped_by, record_logs, run_in_process, send,
    until_term,
};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("no_tcp_client_that_waits_is_lost_at_a_stop", no_tcp_client_is_lost),
    ("no_unix_client_that_waits_is_lost_at_a_stop", no_unix_client_is_lost),
    ("workers_stop_although_clients_continue_to_connect", bounded),
    ("a_listener_is_closed_while_a_worker_still_serves_a_client", closed_early),
    ("workers_that_are_not_asked_to_stop_leave_a_closed_listener_without_an_error", not_asked),
    ("clients_that_no_worker_takes_at_a_stop_are_counted", none_left),
    ("a_worker_without_descriptors_accepts_again_when_it_has_some", shortage),
    ("a_worker_without_descriptors_stops", stop_during_a_shortage),
    ("a_worker_that_stays_without_descriptors_is_replaced_and_others_serve_meanwhile", replaced),
    ("a_worker_returns_the_error_of_a_broken_listener", broken),
];

const WORKERS: u32 = 3;

/// How long a client tries to connect. Nobody answers while the manager ends the listener.
const SOON: Duration = Duration::from_millis(500);

/// The counter of connections that were accepted.
const ACCEPTED: usize = 0;
/// The counter that lets workers answer.
const GO: usize = 1;
/// The counter that contains the pid of the worker that accepted last.
const PID: usize = 2;
/// The counter that ends a client.
const ENOUGH: usize = 3;

fn large_backlog(listener: impl AsFd) {
    let address = ListenAddress::of(listener.as_fd()).expect("a socket");
    listen_again(listener.as_fd(), &address).expect("the backlog is enlarged");
}

/// Answers each client, but not before the driver says so.
fn answer<L: Listener<Stream: Write>>(worker: &Worker, listener: &L, counters: &Counters) {
    while let Some(mut connection) = worker.accept(listener).expect("a listener") {
        counters.set(PID, this_pid().as_u32());
        counters.add(ACCEPTED);
        counters.until(GO, 1);
        // A client that only tried whether it is refused does not wait.
        let _ = connection.write_all(b"hello");
    }
}

/// Sends TERM while this many clients wait in the queue, in addition to those that are being
/// served. Checks that new clients are refused although all workers are busy, and that each client
/// that came before gets its answer.
fn none_is_lost<L: Listener<Stream: Write>, S: Read>(
    listener: L,
    waiting: u32,
    connect: impl Fn() -> io::Result<S>,
) {
    large_backlog(&listener);
    let counters = Counters::new();
    let manager = this_pid();
    let driver = run_in_process(|| {
        let clients: Vec<S> =
            (0..waiting + WORKERS).map(|_| connect().expect("connected")).collect();
        counters.until(ACCEPTED, WORKERS);
        send(manager, Signal::Term);
        crate::scenarios::eventually("clients are refused", || {
            connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        });
        counters.set(GO, 1);
        for (nth, mut client) in clients.into_iter().enumerate() {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).expect("the connection is not reset");
            assert_eq!(answer, b"hello", "client {nth}");
        }
    });
    let mut pm = Prefork::builder().max_workers(WORKERS).build().expect("valid settings");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| answer(worker, &listener, &counters)).expect("start succeeds");
    }
    assert_eq!(pm.close_and_wait(listener).expect("the wait succeeds"), 0);
    assert_success(driver);
    // A client may have connected before it was refused.
    assert!(counters.get(ACCEPTED) >= waiting + WORKERS);
}

fn no_tcp_client_is_lost() {
    for waiting in [0, 1, 20, 200] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        none_is_lost(listener, waiting, || TcpStream::connect_timeout(&address, SOON));
    }
}

fn no_unix_client_is_lost() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("socket");
    for waiting in [20, 200] {
        // The second start replaces the file that the first has left.
        let listener = bind_unix(&path).expect("bound");
        none_is_lost(listener, waiting, || UnixStream::connect(&path));
    }
}

fn bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let counters = Counters::new();
    counters.set(GO, 1);
    let manager = this_pid();
    let clients: Vec<Pid> = (0..4)
        .map(|_| {
            run_in_process(|| {
                while counters.get(ENOUGH) == 0 {
                    // This process has the listener too, so a client may wait for nobody.
                    let mut client = TcpStream::connect(address).expect("connected");
                    let second = Duration::from_secs(1);
                    client.set_read_timeout(Some(second)).expect("set");
                    let _ = client.read(&mut [0; 8]);
                }
            })
        })
        .collect();
    let driver = run_in_process(|| {
        counters.until(ACCEPTED, 100);
        send(manager, Signal::Term);
    });
    let mut pm = Prefork::builder().max_workers(WORKERS).build().expect("valid settings");
    // The test fails by its time limit if a worker does not stop.
    until_term(&mut pm, |worker| answer(worker, &listener, &counters));
    assert_success(driver);
    counters.set(ENOUGH, 1);
    drop(listener);
    for client in clients {
        assert!(daemon_sys::reap::wait_for(client).is_ok());
    }
}

fn closed_early() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let counters = Counters::new();
    let manager = this_pid();
    let driver = run_in_process(|| {
        let mut client = TcpStream::connect(address).expect("connected");
        counters.until(ACCEPTED, 1);
        send(manager, Signal::Term);
        crate::scenarios::eventually("clients are refused", || {
            TcpStream::connect_timeout(&address, SOON)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        });
        counters.set(GO, 1);
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("not reset");
        assert_eq!(answer, "hello");
    });
    let mut pm = Prefork::builder().max_workers(WORKERS).build().expect("valid settings");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| answer(worker, &listener, &counters)).expect("start succeeds");
    }
    assert_eq!(pm.close_and_wait(listener).expect("the wait succeeds"), 0);
    assert_success(driver);
}

/// Closes a listener when only the first worker was asked to stop. The test fails by its time limit
/// if the others wait for their turn.
fn all_leave<L: Listener<Stream: Write>>(listener: L) {
    let counters = Counters::new();
    let manager = this_pid();
    let driver = run_in_process(|| {
        counters.until(ACCEPTED, WORKERS);
        send(manager, Signal::Term);
    });
    let (pm, reaped) = reaped_by(Prefork::builder());
    let hour = Duration::from_secs(3600);
    let mut pm = pm
        .max_workers(WORKERS)
        .trap_signals([(Signal::Term, SignalForward::OneByOne(Signal::Term, hour))])
        .logger(discard_logs())
        .build()
        .expect("valid settings");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| {
            assert!(!worker.should_stop());
            counters.add(ACCEPTED);
            worker.accept(&listener).map(|accepted| assert!(accepted.is_none()))
        })
        .expect("start succeeds");
    }
    assert_eq!(pm.close_and_wait(listener).expect("the wait succeeds"), 0);
    assert_success(driver);
    let exits: Vec<Exit> = reaped.borrow().iter().map(|reaped| reaped.exit).collect();
    assert_eq!(exits, [Exit::Code(0); WORKERS as usize]);
}

fn not_asked() {
    all_leave(TcpListener::bind("127.0.0.1:0").expect("bound"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    all_leave(UnixListener::bind(dir.path().join("socket")).expect("bound"));
}

/// Sets how many descriptors a worker may have.
fn limit_descriptors(worker: u32, limit: &str) {
    let done = Command::new("prlimit")
        .args(["--pid", &worker.to_string(), &format!("--nofile={limit}")])
        .status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit of util-linux works");
}

/// Runs one worker, and lets the driver act after the worker was left without descriptors.
fn without_descriptors(then: impl FnOnce(std::net::SocketAddr, u32, Pid)) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let counters = Counters::new();
    counters.set(GO, 1);
    let manager = this_pid();
    let driver = run_in_process(|| {
        let mut first = TcpStream::connect(address).expect("connected");
        first.read_to_end(&mut Vec::new()).expect("an answer");
        let worker = counters.get(PID);
        limit_descriptors(worker, "3:");
        then(address, worker, manager);
    });
    let log = discard_logs();
    let mut pm = Prefork::builder().max_workers(1).logger(log).build().expect("valid settings");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| answer(worker, &listener, &counters)).expect("start succeeds");
    }
    assert_eq!(pm.close_and_wait(listener).expect("the wait succeeds"), 0);
    assert_success(driver);
}

fn none_left() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let clients: Vec<_> =
        (0..5).map(|_client| TcpStream::connect(address).expect("connected")).collect();
    let (log, records) = record_logs();
    let mut pm = Prefork::builder().logger(log).build().expect("valid settings");
    assert_eq!(pm.close_and_wait(listener).expect("the wait succeeds"), 0);
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).expect("closed, not reset"), 0);
    }
    let dropped = records.try_iter().find(|record| record.contains("dropped"));
    assert_eq!(dropped.as_deref(), Some("waiting connections dropped, connections: 5"));
}

fn shortage() {
    without_descriptors(|address, worker, manager| {
        let mut client = TcpStream::connect(address).expect("connected");
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
        client.read_exact(&mut [0; 5]).expect_err("the worker cannot accept");
        limit_descriptors(worker, "1024:");
        client.set_read_timeout(None).expect("set");
        client.read_exact(&mut [0; 5]).expect("the worker accepts again");
        send(manager, Signal::Term);
    });
}

fn stop_during_a_shortage() {
    without_descriptors(|address, _worker, manager| {
        let client = TcpStream::connect(address).expect("connected");
        send(manager, Signal::Term);
        // The client is lost when the worker gives up.
        let _ = (&client).read(&mut [0; 1]);
    });
}

fn replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let counters = Counters::new();
    let manager = this_pid();
    let driver = run_in_process(|| {
        let served_by = || {
            let mut pid = [0; 4];
            let mut client = TcpStream::connect(address).expect("connected");
            client.read_exact(&mut pid).expect("an answer");
            u32::from_ne_bytes(pid)
        };
        counters.until(GO, 2);
        let starved = served_by();
        limit_descriptors(starved, "3:");
        crate::scenarios::eventually("the worker is replaced", || {
            assert_ne!(served_by(), starved);
            counters.get(GO) == 3
        });
        send(manager, Signal::Term);
    });
    let (pm, reaped) = reaped_by(Prefork::builder());
    let mut pm = pm.max_workers(2).logger(discard_logs()).build().expect("valid settings");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| -> io::Result<()> {
            counters.add(GO);
            while let Some(mut connection) = worker.accept(&listener)? {
                let _ = connection.write_all(&this_pid().as_u32().to_ne_bytes());
            }
            Ok(())
        })
        .expect("start succeeds");
    }
    assert_eq!(pm.close_and_wait(listener).expect("the wait succeeds"), 0);
    assert_success(driver);
    let exits: Vec<Exit> = reaped.borrow().iter().map(|reaped| reaped.exit).collect();
    assert_eq!(exits, [Exit::Code(1), Exit::Code(0), Exit::Code(0)]);
}

fn broken() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let counters = Counters::new();
    let mut pm =
        Prefork::builder().max_workers(1).logger(discard_logs()).build().expect("valid settings");
    until_term(&mut pm, |worker| {
        let copy = listener.as_fd().try_clone_to_owned().expect("a copy");
        let _ = TcpStream::from(copy).shutdown(std::net::Shutdown::Both);
        let error = worker.accept(&listener).expect_err("it was shut down");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        counters.add(ACCEPTED);
        send(worker.manager_pid(), Signal::Term);
    });
    assert!(counters.get(ACCEPTED) >= 1);
}
