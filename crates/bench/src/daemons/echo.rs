//! The connection handler of all measured daemons. It reads a line and writes it back.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LINE_MAX: usize = 512;

/// Echoes a line, without blocking the thread.
pub(super) async fn waiting(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
) -> io::Result<()> {
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
