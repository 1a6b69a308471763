//! The clients: threads that each make one connection after the other, the same for every server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A line and its echo.
const LINE: &[u8] = b"the quick brown fox\n";
/// Longer than this no server takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client needs little of its stack.
const STACK: usize = 64 * 1024;

/// What a round of requests came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// How many were answered.
    pub(crate) answered: u64,
    /// How many were not, or wrongly.
    pub(crate) failed: u64,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Round {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }
}

/// Has so many clients ask this server for so long, each a closed loop: the next connection is made
/// when the last one has ended.
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

/// One connection: a line, its echo, the end of the stream.
pub(crate) fn ask(server: SocketAddr) -> io::Result<()> {
    answer(connect(server)?)
}

/// Makes a connection, and says nothing yet.
pub(crate) fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends the line and reads until the server closes.
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
        Err(io::Error::other("another answer than the line"))
    }
}
