//! What the examples share: their command line, and the line protocol of the originals' example
//! servers.

#![expect(clippy::print_stdout, reason = "the examples talk to the person who starts them")]

pub mod protocol;

/// The programs of the README, that they compile.
#[cfg(all(doctest, unix))]
#[doc = include_str!("../../README.md")]
struct Readme;

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

/// Binds 127.0.0.1 on the port that is the first argument; with 0, or none, on any port, which is
/// printed as `PORT=<n>` before anything else happens.
///
/// # Errors
///
/// When the argument is no port, or the port is not free.
pub fn listen() -> io::Result<TcpListener> {
    let port: u16 = match std::env::args().nth(1) {
        None => 0,
        Some(argument) => argument.parse().map_err(|_not_a_number| {
            let why = format!("the argument is a port, 0 to 65535, not {argument:?}");
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })?,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot bind port {port}: {error}"))
    })?;
    if port == 0 {
        println!("PORT={}", listener.local_addr()?.port());
        io::stdout().flush()?;
    }
    Ok(listener)
}

/// Where an example logs: `NAME.log` in the directory that `EXAMPLE_LOG_DIR` names, otherwise
/// beside its program, as the originals' do.
///
/// # Errors
///
/// When the program's own path cannot be told.
pub fn logfile(name: &str) -> io::Result<PathBuf> {
    let directory = match std::env::var_os("EXAMPLE_LOG_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let program = std::env::current_exe()?;
            program.parent().map(PathBuf::from).unwrap_or_default()
        }
    };
    Ok(directory.join(format!("{name}.log")))
}
