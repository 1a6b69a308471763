//! A test program with the manager of `daemon-prefork`. Its workers answer the lines `pid`,
//! `echo TEXT` and `attack NAME SEED MILLIS`.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_prefork::SignalForward::ToAll;
use daemon_prefork::{Prefork, STATUS_IDLE, Signal, WaitResult, Worker};
use daemon_sys::listen::{ListenAddress, listen_again};
use live_tests::{Options, attack};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let listener = options.listen()?;
    let address = ListenAddress::of(listener.as_fd())?;
    let stop = ToAll(Signal::Term);
    let builder = Prefork::builder();
    let builder = match options.get("board_file") {
        Some(path) => builder.scoreboard_file(path),
        None => builder,
    };
    let mut manager = builder
        .max_workers(options.number("start").unwrap_or(3))
        .trap_signals([(Signal::Term, stop), (Signal::Hup, ToAll(Signal::Hup))])
        .err_respawn_interval(Duration::ZERO)
        .grace(Duration::from_millis(options.number("grace").unwrap_or(10_000)))
        .build()?;
    while manager.signal_received() != Some(Signal::Term) {
        manager.start(|worker| serve(worker, &listener, &address))?;
    }
    drop(listener);
    manager.wait_all_children()?;
    Ok(())
}

fn serve(
    worker: &Worker,
    listener: &TcpListener,
    address: &ListenAddress,
) -> Result<(), Box<dyn Error>> {
    loop {
        match worker.accept(listener) {
            Ok(Some(connection)) => {
                worker.set_status('B')?;
                // The client may have disconnected.
                let _ = answer(worker, connection);
                worker.set_status(STATUS_IDLE)?;
            }
            Ok(None) => return Ok(()),
            // Another worker has shut the listener down.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                listen_again(listener.as_fd(), address)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn answer(worker: &Worker, connection: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut reader = BufReader::new(&connection);
    let mut line = String::new();
    while worker.wait_for(&connection)? == WaitResult::Ready {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let answer = match word {
            "pid" => std::process::id().to_string(),
            "echo" => rest.to_owned(),
            "attack" => attack(rest),
            _ => "???".to_owned(),
        };
        writeln!(&connection, "{answer}")?;
    }
    Ok(())
}
