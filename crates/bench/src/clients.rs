//! The clients of the measured echo servers. They are the same for every server. Each client is a
//! thread that makes one connection after another.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The line that a client sends, and the echo that it expects.
const LINE: &[u8] = b"the quick brown fox\n";
/// How long a client waits for more bytes of the echo.
const PATIENCE: Duration = Duration::from_secs(10);
/// The stack size of a client's thread.
const STACK: usize = 64 * 1024;

/// The result of a round of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// The number of correct answers.
    pub(crate) answered: u64,
    /// The number of missing or wrong answers.
    pub(crate) failed: u64,
    /// The duration of the round.
    pub(crate) took: Duration,
}

impl Round {
    /// Returns the answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }
}

/// Runs this many clients against the server for this time. Each client makes its next connection
/// when its last connection has ended.
pub(crate) fn round(server: SocketAddr, clients: usize, time: Duration) -> io::Result<Round> {
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let (mut answered, mut failed) = (0, 0);
    thread::scope(|scope| {
        let threads: io::Result<Vec<_>> = (0..clients)
            .map(|_client| {
                thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, || client(server, &stop))
            })
            .collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        for thread in threads? {
            let (ok, not) = thread.join().unwrap_or((0, 1));
            answered += ok;
            failed += not;
        }
        Ok::<(), io::Error>(())
    })?;
    Ok(Round { answered, failed, took: begun.elapsed() })
}

fn client(server: SocketAddr, stop: &AtomicBool) -> (u64, u64) {
    let (mut answered, mut failed) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        match ask(server) {
            Ok(()) => answered += 1,
            Err(_counted) => failed += 1,
        }
    }
    (answered, failed)
}

/// Makes one connection, sends the line, and reads the echo until the server closes the connection.
pub(crate) fn ask(server: SocketAddr) -> io::Result<()> {
    answer(connect(server)?)
}

/// Makes a connection, and sends nothing yet.
pub(crate) fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends the line and reads the echo until the server closes the connection.
pub(crate) fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(LINE)?;
    let mut bytes = [0; 64];
    let mut read = 0;
    loop {
        match stream.read(&mut bytes[read..])? {
            0 => break,
            more => read += more,
        }
    }
    if &bytes[..read] == LINE {
        Ok(())
    } else {
        Err(io::Error::other("the answer differs from the line that was sent"))
    }
}
