//! The fork server without actix: a program that forks a child for each connection.
//!
//! Run
//!
//! ```sh
//! cargo run --release --example forkserver_only -- 7074
//! nc 127.0.0.1 7074     # in another terminal
//! ```
//!
//! and type a line. The child returns the line with its own pid, and exits. The parent only accepts
//! connections. Because the fork server forks, the time of a fork does not depend on the memory or
//! the threads of the parent.
//!
//! At Ctrl-C or TERM the parent refuses new clients, serves those that are connected for five
//! seconds at most, and exits. The fork server then stops the children that are left and exits too.
//! A second signal stops the parent at once.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use daemon_forkserver::core::{Signal, Status};
use daemon_forkserver::sys::listen::{has_pending, refuse_new_connections, wait_for_handshakes};
use daemon_forkserver::sys::poll::{Interest, wait};
use daemon_forkserver::sys::signals::SignalQueue;
use daemon_forkserver::{
    ChildProgram, ChildStart, ForkError, ForkServerBuilder, ForkServerError, ForkServerEvent, now,
};
use examples::PATIENCE;

/// How long the clients may take that are connected when the program stops.
const GRACE: Duration = Duration::from_secs(5);

/// How long the parent waits after a shortage of descriptors, processes or memory.
const RETRY: Duration = Duration::from_millis(100);

/// The program of the children, which has no data.
struct Echo;

impl ChildProgram for Echo {
    type Request = TcpStream;

    fn run_child(self, start: ChildStart<TcpStream>) -> i32 {
        // A child has no signal handlers, so TERM may end it at any time.
        start.signals.release();
        // This program does not read the scoreboard, so an error does not matter.
        let _ = start.seat.report(Status::Serving, now());
        match start.request.map_err(io::Error::other).and_then(echo) {
            Ok(()) => 0,
            Err(_client_disconnected) => 1,
        }
    }
}

fn echo(stream: TcpStream) -> io::Result<()> {
    // A silent client must not occupy a child for ever.
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    write!(&stream, "{}: {line}", std::process::id())
}

/// The clients that the parent has accepted.
#[derive(Default)]
struct Clients {
    /// Those that wait for a child.
    waiting: VecDeque<TcpStream>,
    /// The number of those that have a child.
    served: usize,
}

#[expect(clippy::print_stdout, reason = "it prints its events")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut fork_server, Echo) = ForkServerBuilder::new(64).grace(GRACE).spawn(Echo)?;
    // Created after the spawn, so neither the fork server nor a child inherits them.
    let listener = examples::listen()?;
    listener.set_nonblocking(true)?;
    let signals = SignalQueue::new(&[Signal::Term, Signal::Int])?;
    let mut clients = Clients::default();
    let mut deadline = None;
    while !is_stopped(deadline, &clients, &listener)? {
        // Wait for a signal, a client or an event of the fork server.
        let left = deadline.map(|deadline: Instant| deadline.duration_since(Instant::now()));
        let signal = (signals.as_fd(), Interest::Read);
        let event = (fork_server.as_fd(), Interest::Read);
        if clients.waiting.is_empty() {
            wait(&[signal, event, (listener.as_fd(), Interest::Read)], left)?;
        } else {
            wait(&[signal, event], left)?;
        }
        if !signals.drain()?.is_empty() {
            println!("signal received: new clients are refused");
            if deadline.is_some() {
                break;
            }
            deadline = Some(Instant::now() + GRACE);
            refuse_new_connections(listener.as_fd())?;
            wait_for_handshakes(&[listener.as_fd()]);
        }
        handle_events(fork_server.wait(Some(Duration::ZERO))?, &mut clients);
        // While all children are busy, clients wait in the queue of the listener.
        if clients.waiting.is_empty() {
            clients.waiting.extend(accept(&listener));
        }
        while let Some(stream) = clients.waiting.pop_front() {
            match fork_server.fork(stream) {
                Ok(_child) => clients.served += 1,
                Err(ForkError { request: stream, reason: ForkServerError::Full { .. } }) => {
                    clients.waiting.push_front(stream);
                    break;
                }
                Err(ForkError { reason, .. }) => return Err(reason.into()),
            }
        }
    }
    Ok(())
}

/// Returns whether no client is left when the program stops, or their time is over.
fn is_stopped(
    deadline: Option<Instant>,
    clients: &Clients,
    listener: &TcpListener,
) -> Result<bool, Box<dyn std::error::Error>> {
    let Some(deadline) = deadline else { return Ok(false) };
    let is_idle = clients.waiting.is_empty() && clients.served == 0;
    Ok(Instant::now() >= deadline || (is_idle && !has_pending(listener.as_fd())?))
}

#[expect(clippy::print_stdout, reason = "it prints errors")]
fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept() {
        Ok((stream, _peer)) => {
            // On some systems the connection inherits the non-blocking mode of the listener.
            stream.set_nonblocking(false).ok().map(|()| stream)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        // For example, no descriptor is free. The client waits in the queue.
        Err(error) => {
            println!("cannot accept: {error}");
            std::thread::sleep(RETRY);
            None
        }
    }
}

#[expect(clippy::print_stdout, reason = "it prints its events")]
fn handle_events(events: Vec<ForkServerEvent<TcpStream>>, clients: &mut Clients) {
    for event in events {
        match event {
            ForkServerEvent::Forked { child, pid } => println!("{child} (pid {pid}) forked"),
            ForkServerEvent::Exited { child, pid, exit, .. } => {
                println!("{child} (pid {pid}) exited: {exit}");
                clients.served -= 1;
            }
            ForkServerEvent::ForkFailed { request, refusal, .. } => {
                println!("{refusal}; the client waits");
                clients.served -= 1;
                clients.waiting.push_front(request);
                // The system is short of processes or memory, so retry after a short time.
                std::thread::sleep(RETRY);
            }
            ForkServerEvent::DescendantsLeft { child, group } => {
                println!("{child} has left processes behind (group {group})");
            }
            ForkServerEvent::EndingDescendants { processes } => {
                println!("ending {processes} processes that children have started");
            }
            ForkServerEvent::DescendantsSurvive { error } => println!("{error}"),
            // This program does not reopen logs.
            ForkServerEvent::ReopenLogsFailed { error } => println!("{error}"),
        }
    }
}
