//! The servers `bare-fork` and `bare-pool`, with which the benchmark compares the other servers.
//! They do only what every forking or pre-forking server must do.

use std::net::TcpListener;

use bench_server::{Measured, echo_blocking, listen, touch};
use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::process::{Signal, die_with_parent, exit_now, this_pid};
use daemon_sys::reap::{reap_any, wait_for};

use crate::report_running;

/// Forks a child for each connection. The child echoes a line and exits, and the parent reaps it.
pub(super) fn fork_for_each(megabytes: usize) -> Measured<()> {
    touch(megabytes);
    let listener = listen()?;
    loop {
        let (stream, _peer) = listener.accept()?;
        match fork()? {
            ForkResult::Child => exit_now(echo_blocking(&stream).is_err().into()),
            ForkResult::Parent(_child) => drop(stream),
        }
        while reap_any()?.is_some() {}
    }
}

/// Forks this many children. Each child accepts one connection after another and echoes a line.
pub(super) fn pool(children: usize) -> Measured<()> {
    let listener = listen()?;
    let parent = this_pid();
    let mut pids = Vec::new();
    for _child in 0..children {
        match fork()? {
            ForkResult::Child => {
                die_with_parent(Signal::Kill, parent)?;
                report_running()?;
                serve(&listener);
            }
            ForkResult::Parent(pid) => pids.push(pid),
        }
    }
    for pid in pids {
        wait_for(pid)?;
    }
    Ok(())
}

fn serve(listener: &TcpListener) -> ! {
    loop {
        match listener.accept() {
            // Ignore errors of the client.
            Ok((stream, _peer)) => drop(echo_blocking(&stream)),
            Err(_no_listener) => exit_now(1),
        }
    }
}
