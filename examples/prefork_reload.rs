//! A server without actors whose configuration is read anew on HUP, while the connections that are
//! open are finished under the old one.
//!
//! ```sh
//! echo 'workers = 4' > greeting.conf; echo 'greeting = Good morning' >> greeting.conf
//! cargo run --release --example prefork_reload -- 7070 greeting.conf
//! ```
//!
//! and in another terminal:
//!
//! ```sh
//! echo Ann | nc -q1 127.0.0.1 7070             # Good morning, Ann
//! sed -i s/morning/evening/ greeting.conf
//! pkill -HUP -o prefork_reload
//! echo Bob | nc -q1 127.0.0.1 7070             # Good evening, Bob
//! ```
//!
//! Whoever is connected meanwhile goes on being wished a good morning. A configuration that cannot be
//! read changes nothing, and is told. INT and TERM stop it when the open connections are closed by their
//! clients, or after ten seconds.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_prefork::SignalForward::ToAll;
use daemon_prefork::{Prefork, STATUS_IDLE, Signal, WaitResult, Worker};
use socket2::SockRef;

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Config {
    workers: u32,
    greeting: String,
}

impl Config {
    fn read(path: &Path) -> Result<Config, Box<dyn Error>> {
        let told = |why: &dyn std::fmt::Display| format!("cannot read {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|why| told(&why))?;
        Config::parse(&text).map_err(|why| told(&why).into())
    }

    fn parse(text: &str) -> Result<Config, String> {
        let mut config = Config { workers: 4, greeting: "Hello".into() };
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some(("workers", value)) => {
                    config.workers =
                        value.parse().map_err(|why| format!("line {number}: workers: {why}"))?;
                }
                Some(("greeting", value)) => config.greeting = value.into(),
                Some(_) | None => return Err(format!("line {number} means nothing: {line}")),
            }
        }
        Ok(config)
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to who starts it")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().unwrap_or_else(|| "7070".into()).parse()?;
    let path = PathBuf::from(arguments.next().unwrap_or_else(|| "greeting.conf".into()));
    let mut config = Config::read(&path)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    // Several workers wait for the same connection, and one gets it.
    listener.set_nonblocking(true)?;
    let leave = ToAll(Signal::Term);
    let mut pm = Prefork::builder()
        .max_workers(config.workers)
        .trap_signals([Signal::Term, Signal::Int, Signal::Hup].map(|signal| (signal, leave)))
        .grace(Duration::from_secs(10))
        .build()?;
    println!("PORT={}", listener.local_addr()?.port());
    while !matches!(pm.signal_received(), Some(Signal::Term | Signal::Int)) {
        pm.start(|worker| serve(worker, &listener, &config))?;
        if pm.signal_received() == Some(Signal::Hup) {
            // Other numbers and the rest of the configuration are taken together or not at all.
            match Config::read(&path).and_then(|new| Ok((pm.set_max_workers(new.workers)?, new))) {
                Ok(((), new)) => config = new,
                Err(why) => eprintln!("the configuration stays as it was: {why}"),
            }
        }
    }
    // The workers hold it too, and one of them may talk for long: who comes from now on is refused, and
    // does not wait for nobody. Only Linux ends it for all who hold it.
    let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
    drop(listener);
    pm.wait_all_children()?;
    Ok(())
}

fn serve(worker: &Worker, listener: &TcpListener, config: &Config) -> Result<(), Box<dyn Error>> {
    while worker.wait_for(listener)? == WaitResult::Ready {
        match listener.accept() {
            Ok((connection, _peer)) => {
                worker.set_status('G')?;
                // A client that is gone is no fault of the worker's.
                let _ = greet(&connection, &config.greeting);
                worker.set_status(STATUS_IDLE)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Greets whoever is named, a name a line.
fn greet(mut connection: &TcpStream, greeting: &str) -> io::Result<()> {
    connection.set_nonblocking(false)?;
    for name in BufReader::new(connection).lines() {
        writeln!(connection, "{greeting}, {}", name?)?;
    }
    Ok(())
}
