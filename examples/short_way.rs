//! The shortest way to write a daemon: a pre-forking echo server, from a listener and an async
//! function.
//!
//! Type
//!
//! ```sh
//! cargo run --release --example short_way -- 7072
//! nc 127.0.0.1 7072     # in another terminal
//! ```
//!
//! A child of the pool sends back what you type. `ps -ef | grep short_way` shows the children with
//! their status. Ctrl-C stops the daemon gracefully, and a second Ctrl-C stops it immediately.
//! Under systemd with `Type=notify-reload` the daemon reports its readiness and its status.

use std::net::TcpStream;

use actix_daemon::{ChildHandle, Connection, Daemon, DaemonError, PreFork};
use examples::patiently;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = examples::listen()?;
    Daemon::builder()
        .alias("short_way")
        .supervised()
        .model(PreFork::new(4).max_children(32).requests(1000))
        .serve(listener, echo)
        .map_err(|error: DaemonError| error.into())
}

async fn echo(mut stream: Connection<TcpStream>, child: ChildHandle) -> std::io::Result<()> {
    child.label(&format!("echo for {}", stream.peer_addr()?));
    let mut bytes = [0; 4096];
    loop {
        match patiently(stream.read(&mut bytes)).await? {
            0 => return Ok(()),
            read => patiently(stream.write_all(&bytes[..read])).await?,
        }
    }
}
