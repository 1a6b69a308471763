//! What all measured servers have in common: their start, their output, their listener, and the
//! handlers that echo a line.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;

use daemon_sys::process::{Signal, die_with_parent, parent_pid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The result of a measurement or a server, or the reason why there is none.
pub type Measured<T> = Result<T, Box<dyn std::error::Error>>;

/// The maximum length of a line that is echoed.
const LINE_MAX: usize = 512;

/// Runs `serve` with the arguments of this program, and prints an error to standard error. When the
/// benchmark ends, the kernel sends TERM to this process.
#[expect(clippy::print_stderr, reason = "a server prints why it failed")]
pub fn run_server(program: &str, serve: impl FnOnce(&[&str]) -> Measured<()>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let server: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match die_with_benchmark().and_then(|()| serve(&server)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the kernel send TERM to this process when its parent, the benchmark, ends.
///
/// # Errors
///
/// If the parent has already ended.
pub fn die_with_benchmark() -> Measured<()> {
    if let Some(parent) = parent_pid() {
        die_with_parent(Signal::Term, parent)?;
    }
    Ok(())
}

/// Prints a line `key=value`, which the benchmark reads.
///
/// # Errors
///
/// If standard output is closed.
pub fn print(key: &str, value: impl std::fmt::Display) -> Measured<()> {
    let mut out = io::stdout();
    writeln!(out, "{key}={value}")?;
    Ok(out.flush()?)
}

/// Creates a listener on a free port of 127.0.0.1, and prints the port.
///
/// # Errors
///
/// If there is no free port, or standard output is closed.
pub fn listen() -> Measured<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    print("PORT", listener.local_addr()?.port())?;
    Ok(listener)
}

/// Makes this process large: allocates this many MiB of memory, writes to each page of it, and
/// never frees it.
pub fn touch(megabytes: usize) {
    const PAGE: usize = 4096;
    let mut memory = vec![0_u8; megabytes * 1024 * 1024];
    for page in memory.chunks_mut(PAGE) {
        page[0] = 1;
    }
    std::hint::black_box(memory.leak());
}

/// Reads a line and writes it back, with blocking calls.
///
/// # Errors
///
/// If the connection breaks.
pub fn echo_blocking(mut stream: &TcpStream) -> io::Result<()> {
    let mut line = [0; LINE_MAX];
    let mut read = 0;
    while !line[..read].ends_with(b"\n") {
        match stream.read(&mut line[read..])? {
            0 => break,
            more => read += more,
        }
    }
    stream.write_all(&line[..read])
}

/// Reads a line and writes it back, without blocking the thread.
///
/// # Errors
///
/// If the connection breaks.
pub async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut line = [0; LINE_MAX];
    let mut read = 0;
    while !line[..read].ends_with(b"\n") {
        match stream.read(&mut line[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    stream.write_all(&line[..read]).await
}
