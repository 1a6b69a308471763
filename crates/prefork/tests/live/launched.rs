//! Scenarios of what the process that launches a manager hands down.

use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_prefork::{Prefork, Signal};
use daemon_sys::environment;
use daemon_sys::process::this_pid;
use daemon_sys::reap::adopt_descendants;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::getppid;

use super::support::{Counters, assert_success, run_in_process, send, until_term};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_manager_does_not_adopt_orphans_although_its_launcher_has_requested_it", orphans),
    ("workers_do_not_see_the_variables_of_the_supervisor", variables),
    ("an_inherited_listener_is_only_closed", shared_listener),
];

fn orphans() {
    if !adopt_descendants().expect("the system supports or ignores it") {
        println!("skipped: a process cannot adopt descendants on this system");
        return;
    }
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(1).build().expect("valid settings");
    until_term(&mut pm, |worker| {
        let middle = run_in_process(|| {
            let middle = this_pid().as_raw();
            run_in_process(|| {
                eventually("another process has adopted this one", || getppid().as_raw() != middle);
                let adopter = getppid().as_raw();
                counters.set(0, if adopter == worker.manager_pid().as_raw() { 2 } else { 1 });
            });
        });
        assert_success(middle);
        counters.until(0, 1);
        send(worker.manager_pid(), Signal::Term);
    });
    assert_eq!(counters.get(0), 1, "the manager has adopted the orphan");
}

fn variables() {
    let variables =
        ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "SERVER_STARTER_PORT", "EINHORN_FDS"];
    for name in variables {
        environment::set(name, "1").expect("this process has one thread");
    }
    environment::set("OWN_VARIABLE", "kept").expect("this process has one thread");
    let counters = Counters::new();
    let mut pm = Prefork::builder().max_workers(1).build().expect("valid settings");
    until_term(&mut pm, |worker| {
        let seen = variables.iter().filter(|name| env::var_os(name).is_some()).count();
        counters.set(0, u32::try_from(seen).expect("a small number"));
        counters.set(1, u32::from(env::var_os("OWN_VARIABLE").is_some()));
        send(worker.manager_pid(), Signal::Term);
    });
    assert_eq!((counters.get(0), counters.get(1)), (0, 1));
    // The manager may still need them.
    assert!(variables.iter().all(|name| env::var_os(name).is_some()));
}

/// The counter of clients that are being served.
const ACCEPTED: usize = 0;
/// The counter that lets workers answer.
const GO: usize = 1;
/// The counter that says that the manager has closed its listener.
const CLOSED: usize = 2;

fn shared_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    // As a launcher hands it down.
    fcntl(listener.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).expect("not close-on-exec");
    let counters = Counters::new();
    let manager = this_pid();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(60));
    // The other program that has the listener.
    let other = run_in_process(|| {
        let mut client = connect().expect("connected");
        counters.until(ACCEPTED, 1);
        send(manager, Signal::Term);
        let mut waiting = connect().expect("not refused");
        counters.set(GO, 1);
        for client in [&mut client, &mut waiting] {
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("not reset");
            assert_eq!(answer, "hello");
        }
        counters.until(CLOSED, 1);
        let late = connect().expect("not refused");
        eventually("this process accepts it", || {
            let accepted = listener.accept();
            accepted.is_ok_and(|(_, peer)| Some(peer) == late.local_addr().ok())
        });
    });
    let mut pm = Prefork::builder().max_workers(1).build().expect("valid settings");
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(|worker| {
            while let Some(mut connection) = worker.accept(&listener)? {
                counters.add(ACCEPTED);
                counters.until(GO, 1);
                connection.write_all(b"hello")?;
            }
            Ok::<_, std::io::Error>(())
        })
        .expect("start succeeds");
    }
    assert_eq!(pm.close_and_wait(listener).expect("the wait succeeds"), 0);
    counters.set(CLOSED, 1);
    assert_success(other);
}
