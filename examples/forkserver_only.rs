//! The fork server without actix: a plain program that forks for each connection.
//!
//! Type
//!
//! ```sh
//! cargo run --release --example forkserver_only -- 7074
//! nc 127.0.0.1 7074
//! ```
//!
//! and a line: it comes back with the pid of the child that read it, which then leaves. The parent
//! only accepts; it could have threads or a gigabyte of memory and its children would be born as
//! fast. Ctrl-C ends the parent; the fork server then lets the children finish and goes too.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_forkserver::core::Status;
use daemon_forkserver::sys::poll::{Interest, wait};
use daemon_forkserver::{
    ChildProgram, ChildStart, ForkError, ForkServerBuilder, ForkServerError, ForkServerEvent, now,
};

/// What every child is made of: here, nothing but its life.
struct Echo;

impl ChildProgram for Echo {
    type Request = TcpStream;

    fn run_child(self, start: ChildStart<TcpStream>) -> i32 {
        // No handlers here: TERM may end this child at any time.
        start.signals.release();
        // The line on the scoreboard is for who looks; nothing depends on it in this program.
        let _ = start.seat.report(Status::Serving, now());
        match start.request.map_err(io::Error::other).and_then(echo) {
            Ok(()) => 0,
            Err(_the_client_is_gone) => 1,
        }
    }
}

fn echo(stream: TcpStream) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    write!(&stream, "{}: {line}", std::process::id())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut fork_server, Echo) =
        ForkServerBuilder::new(64).grace(Duration::from_secs(5)).spawn(Echo)?;
    // Bound after the fork server was founded: neither it nor a child ever holds the listener.
    let listener = examples::listen()?;
    listener.set_nonblocking(true)?;
    let mut waiting = VecDeque::new();
    loop {
        // Either a client comes, or the fork server has something to tell.
        wait(&[(listener.as_fd(), Interest::Read), (fork_server.as_fd(), Interest::Read)], None)?;
        take_in(fork_server.wait(Some(Duration::ZERO))?, &mut waiting);
        while let Some(stream) = accept(&listener)? {
            waiting.push_back(stream);
        }
        while let Some(stream) = waiting.pop_front() {
            match fork_server.fork(stream) {
                Ok(_child) => {}
                Err(ForkError { request: stream, reason: ForkServerError::Full { .. } }) => {
                    waiting.push_front(stream);
                    break;
                }
                Err(ForkError { reason, .. }) => return Err(reason.into()),
            }
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _peer)) => {
            // On some systems it inherits that it does not block.
            stream.set_nonblocking(false)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[expect(clippy::print_stdout, reason = "it talks to the person who starts it")]
fn take_in(events: Vec<ForkServerEvent<TcpStream>>, waiting: &mut VecDeque<TcpStream>) {
    for event in events {
        match event {
            ForkServerEvent::Born { child, pid } => println!("{child} (pid {pid}) born"),
            ForkServerEvent::Exited { child, pid, exit, .. } => {
                println!("{child} (pid {pid}) gone: {exit}")
            }
            ForkServerEvent::ForkFailed { request, refusal, .. } => {
                println!("{refusal}: its client waits");
                waiting.push_front(request);
                // The system is short of something: give it a moment.
                std::thread::sleep(Duration::from_millis(100));
            }
            // It is not sent a hangup.
            ForkServerEvent::ReopenLogsFailed { error } => println!("{error}"),
        }
    }
}
