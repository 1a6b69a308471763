//! A demo daemon for `daemonctl`: an echo server with a control socket and a scoreboard file.
//!
//! Run
//!
//! ```sh
//! cargo run --package daemonctl --example demo -- 7074 /tmp/demo
//! # In a second terminal:
//! export DAEMONCTL_SOCKET=/tmp/demo/control DAEMONCTL_BOARD=/tmp/demo/board
//! cargo run --package daemonctl -- top
//! # In a third terminal:
//! nc 127.0.0.1 7074
//! ```
//!
//! The arguments are a port and a directory. Port 0 selects a free port. The directory is created
//! if necessary, and the number of the port is written to the file `port` in it. Stop the demo with
//! Ctrl-C or `daemonctl stop`.

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use actix_daemon::{ChildHandle, Connection, Daemon, PreFork};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// How long a client may take to send, or to receive. Each client occupies a child.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: demo PORT DIRECTORY".into());
    };
    let directory = PathBuf::from(directory);
    std::fs::create_dir_all(&directory)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    std::fs::write(directory.join("port"), listener.local_addr()?.port().to_string())?;
    let pool = PreFork::new(3).min_spare(2).max_spare(4).max_children(8);
    Daemon::builder()
        .alias("demo")
        .model(pool)
        .control(directory.join("control"))
        .board_file(directory.join("board"))
        .serve(listener, echo)?;
    Ok(())
}

async fn echo(mut stream: Connection<TcpStream>, child: ChildHandle) -> std::io::Result<()> {
    child.label(&format!("echo for {}", stream.peer_addr()?));
    let mut bytes = [0; 4096];
    loop {
        match timeout(PATIENCE, stream.read(&mut bytes)).await?? {
            0 => return Ok(()),
            read => timeout(PATIENCE, stream.write_all(&bytes[..read])).await??,
        }
    }
}
