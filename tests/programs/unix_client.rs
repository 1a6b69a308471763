//! A client of a Unix socket: `unix_client SOCKET` prints all that the server sends, for tests that
//! need a client that runs as another user.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

fn main() -> io::Result<()> {
    let place = std::env::args_os().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    let mut stream = UnixStream::connect(place)?;
    io::copy(&mut stream, &mut io::stdout())?;
    io::stdout().flush()
}
