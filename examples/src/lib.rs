//! Code shared by the examples: their command line, and the line protocol of the example servers of
//! POE::Component::Daemon.

#![expect(clippy::print_stdout, reason = "the examples print to their terminal")]

pub mod protocol;

/// Compiles the programs of the README.
#[cfg(all(doctest, unix))]
#[doc = include_str!("../../README.md")]
struct Readme;

use std::future::Future;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a client may take to send, or to receive. Each client occupies a child.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Reads from a client or writes to it, for [`PATIENCE`] at most.
///
/// # Errors
///
/// The errors of the operation, and `TimedOut`.
pub async fn patiently<T>(operation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, operation).await?
}

/// Sends back what a client sends, until it closes the connection or is silent for [`PATIENCE`].
///
/// # Errors
///
/// If the connection breaks, or the client is silent.
pub async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        match patiently(stream.read(&mut bytes)).await? {
            0 => return Ok(()),
            read => patiently(stream.write_all(&bytes[..read])).await?,
        }
    }
}

/// Listens on 127.0.0.1, on the port that the first argument of the program names. If the argument
/// is 0 or missing, listens on a free port and prints `PORT=<n>`.
///
/// # Errors
///
/// If the argument is not a port number, or the port is not free.
pub fn listen() -> io::Result<TcpListener> {
    let port: u16 = match std::env::args().nth(1) {
        None => 0,
        Some(argument) => argument.parse().map_err(|_not_a_number| {
            let reason = format!("the port must be a number from 0 to 65535, not {argument:?}");
            io::Error::new(io::ErrorKind::InvalidInput, reason)
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

/// Returns the path of an example's log, `NAME.log`. Its directory is the value of the environment
/// variable `EXAMPLE_LOG_DIR`. If the variable is not set, it is the program's directory, as in the
/// examples of POE::Component::Daemon.
///
/// # Errors
///
/// If the path of the program is unknown.
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
