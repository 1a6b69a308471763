//! What a child under test may try to do: `try ACTION ARGUMENT`. The answer is `ok`, or the name of
//! the error, such as `EACCES`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// The time after which a connection attempt has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Tries an action. Returns `???` if there is no such action.
#[must_use]
pub fn attempt(action: &str, argument: &str) -> String {
    match act(action, argument) {
        None => "???".to_owned(),
        Some(Ok(())) => "ok".to_owned(),
        Some(Err(error)) => match error.raw_os_error() {
            Some(number) => format!("{:?}", Errno::from_raw(number)),
            None => error.to_string(),
        },
    }
}

fn act(action: &str, argument: &str) -> Option<io::Result<()>> {
    let open = |options: &mut OpenOptions| options.open(argument).map(drop);
    let pid = || argument.parse().map(Pid::from_raw).unwrap_or(Pid::this());
    Some(match action {
        "read" => File::open(argument).map(drop),
        "list" => fs::read_dir(argument).map(drop),
        "write" => open(OpenOptions::new().write(true)),
        "append" => open(OpenOptions::new().append(true).create(true)),
        "create" => open(OpenOptions::new().write(true).create_new(true)),
        "truncate" => open(OpenOptions::new().write(true).truncate(true)),
        "set_length_0" => nix::unistd::truncate(argument, 0).map_err(io::Error::from),
        "remove" => fs::remove_file(argument),
        "lock" => File::open(argument).and_then(|file| match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(Errno::EWOULDBLOCK.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }),
        // The program inherits the standard streams, because opening /dev/null may be forbidden.
        "exec" => Command::new(argument).status().map(drop),
        "connect" => argument
            .parse()
            .map_err(io::Error::other)
            .and_then(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT))
            .map(drop),
        "bind" => TcpListener::bind(argument).map(drop),
        "udp" => UdpSocket::bind(argument).map(drop),
        "connect_unix" => UnixStream::connect(argument).map(drop),
        "pair" => UnixStream::pair().map(drop),
        // Signal 0 only checks the permission.
        "signal" => kill(pid(), None).map_err(io::Error::from),
        // Requires the permission to trace the process.
        "open_memory" => File::open(format!("/proc/{}/mem", pid())).map(drop),
        _ => return None,
    })
}
