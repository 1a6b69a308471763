//! A client of a Unix socket: `unix_client SOCKET` prints everything that the server sends. Tests
//! run this program as another user.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

fn main() -> io::Result<()> {
    let place = std::env::args_os().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    let mut stream = UnixStream::connect(place)?;
    io::copy(&mut stream, &mut io::stdout())?;
    io::stdout().flush()
}
