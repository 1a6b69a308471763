//! The connection handler of all servers without an async runtime. It reads a line and writes it
//! back.

use std::io::{self, Read, Write};
use std::net::TcpStream;

const LINE_MAX: usize = 512;

/// Echoes a line, with blocking calls.
pub(super) fn blocking(mut stream: &TcpStream) -> io::Result<()> {
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
