//! A client of a line protocol. Every operation has a timeout.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::process::Process;

/// The longest time to wait for an answer on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to a daemon.
#[derive(Debug)]
pub(crate) struct LineClient(BufReader<TcpStream>);

fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)
}

/// Returns whether the port refuses connections immediately, as a port without a listener does.
pub(crate) fn is_refused(port: u16) -> bool {
    connect(port).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

impl LineClient {
    #[track_caller]
    pub(crate) fn connect(port: u16) -> Self {
        LineClient::try_connect(port).expect("the daemon listens")
    }

    pub(crate) fn try_connect(port: u16) -> io::Result<Self> {
        let stream = connect(port)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(LineClient(BufReader::new(stream)))
    }

    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())
    }

    /// Reads a line and returns it without its line end.
    pub(crate) fn read(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }

    /// Reads exactly this many bytes of text.
    pub(crate) fn read_exactly(&mut self, bytes: usize) -> io::Result<String> {
        let mut text = vec![0; bytes];
        self.0.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub(crate) fn try_ask(&mut self, word: &str) -> io::Result<String> {
        self.send(&format!("{word}\n"))?;
        self.read()
    }

    /// Sends a line and returns the line that answers it.
    #[track_caller]
    pub(crate) fn ask(&mut self, word: &str) -> String {
        match self.try_ask(word) {
            Ok(answer) => answer,
            Err(error) => panic!("no answer to {word:?}: {error}"),
        }
    }

    /// Sends a line and returns the lines of the answer that come before the line `last`.
    #[track_caller]
    pub(crate) fn ask_up_to(&mut self, word: &str, last: &str) -> Vec<String> {
        let mut lines = vec![self.ask(word)];
        while lines.last().is_some_and(|line| line != last) {
            lines.push(self.read().expect("the answer is complete"));
        }
        lines.pop();
        lines
    }

    /// Returns the process that answers.
    #[track_caller]
    pub(crate) fn pid(&mut self) -> Process {
        let pid = self.ask("pid");
        Process(pid.parse().unwrap_or_else(|_none| panic!("not a pid: {pid:?}")))
    }

    /// Returns whether an answer arrives within this time. The answer is not consumed.
    pub(crate) fn is_answered_within(&mut self, window: Duration) -> bool {
        self.wait(window);
        let answered = match self.0.fill_buf() {
            Ok(bytes) => !bytes.is_empty(),
            Err(_not_yet) => false,
        };
        self.wait(TIMEOUT);
        answered
    }

    fn wait(&self, window: Duration) {
        self.0.get_ref().set_read_timeout(Some(window)).expect("a socket takes a timeout");
    }

    /// Waits until the daemon closes the connection and returns the remaining text.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        match self.0.read_to_string(&mut rest) {
            Ok(_bytes) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection is not closed: {error}"),
        }
        rest
    }
}

/// Runs this many clients concurrently and returns their results, in order.
pub(crate) fn run_clients<T: Send>(clients: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let act = &act;
    thread::scope(|scope| {
        let running: Vec<_> = (0..clients).map(|client| scope.spawn(move || act(client))).collect();
        running
            .into_iter()
            .map(|client| client.join().expect("the client does not panic"))
            .collect()
    })
}
