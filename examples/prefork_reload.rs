//! A server without actors that reads its configuration again on HUP. Open connections continue
//! with the old configuration.
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
//! Clients that were connected before HUP still get "Good morning". If the new configuration cannot
//! be read, the server prints the error and keeps the old configuration. INT and TERM stop the
//! server when all clients that have connected before are served and have closed their connections,
//! at the latest after ten seconds.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_prefork::SignalForward::ToAll;
use daemon_prefork::{Prefork, STATUS_IDLE, Signal, Worker};
use examples::PATIENCE;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Config {
    workers: u32,
    greeting: String,
}

impl Config {
    fn read(path: &Path) -> Result<Config, Box<dyn Error>> {
        let message =
            |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| message(&error))?;
        Config::parse(&text).map_err(|error| message(&error).into())
    }

    fn parse(text: &str) -> Result<Config, String> {
        let mut config = Config { workers: 4, greeting: "Hello".into() };
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some(("workers", value)) => {
                    config.workers = value
                        .parse()
                        .map_err(|error| format!("line {number}: workers: {error}"))?;
                }
                Some(("greeting", value)) => config.greeting = value.into(),
                Some(_) | None => return Err(format!("line {number}: unknown setting: {line}")),
            }
        }
        Ok(config)
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "prints the port and errors")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().unwrap_or_else(|| "7070".into()).parse()?;
    let path = PathBuf::from(arguments.next().unwrap_or_else(|| "greeting.conf".into()));
    let mut config = Config::read(&path)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let stop = ToAll(Signal::Term);
    let mut pm = Prefork::builder()
        .max_workers(config.workers)
        .trap_signals([Signal::Term, Signal::Int, Signal::Hup].map(|signal| (signal, stop)))
        .grace(Duration::from_secs(10))
        .build()?;
    println!("PORT={}", listener.local_addr()?.port());
    while !matches!(pm.signal_received(), Some(Signal::Term | Signal::Int)) {
        pm.start(|worker| serve(worker, &listener, &config))?;
        if pm.signal_received() == Some(Signal::Hup) {
            // The number of workers and the rest of the configuration change together or not at
            // all.
            match Config::read(&path).and_then(|new| Ok((pm.set_max_workers(new.workers)?, new))) {
                Ok(((), new)) => config = new,
                Err(error) => eprintln!("keeping the old configuration: {error}"),
            }
        }
    }
    // Serves the clients that wait in the listener's queue, and refuses new ones.
    pm.close_and_wait(listener)?;
    Ok(())
}

fn serve(worker: &Worker, listener: &TcpListener, config: &Config) -> Result<(), Box<dyn Error>> {
    while let Some(connection) = worker.accept(listener)? {
        worker.set_status('G')?;
        // An error means that the client has closed the connection, or is silent.
        let _ = greet(&connection, &config.greeting);
        worker.set_status(STATUS_IDLE)?;
    }
    Ok(())
}

/// Reads a name from each line, and writes a greeting for it.
fn greet(mut connection: &TcpStream, greeting: &str) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    for name in BufReader::new(connection).lines() {
        writeln!(connection, "{greeting}, {}", name?)?;
    }
    Ok(())
}
