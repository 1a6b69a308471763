//! A client of the control socket. Every operation has a timeout.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// The longest time to wait for an answer on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to a control socket.
#[derive(Debug)]
pub(crate) struct ControlClient(BufReader<UnixStream>);

impl ControlClient {
    pub(crate) fn try_at(place: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(place)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(ControlClient(BufReader::new(stream)))
    }

    #[track_caller]
    pub(crate) fn at(place: &Path) -> Self {
        ControlClient::try_at(place).expect("the daemon answers on its control socket")
    }

    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())
    }

    /// Sends nothing more.
    pub(crate) fn finish_sending(&mut self) {
        self.0.get_ref().shutdown(std::net::Shutdown::Write).expect("the connection is open");
    }

    /// Reads the daemon's next line.
    pub(crate) fn read(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let answer: Value = serde_json::from_str(&line).map_err(io::Error::other)?;
        assert_eq!(answer["version"], 1, "{answer}");
        Ok(answer)
    }

    /// Reads the daemon's next line, which must arrive within this time.
    #[cfg(target_os = "linux")]
    pub(crate) fn read_within(&mut self, window: Duration) -> io::Result<Value> {
        self.0.get_ref().set_read_timeout(Some(window))?;
        self.read()
    }

    /// Sends a command in version 1 of the protocol, and returns the answer. `fields` are the
    /// command's fields, as JSON without the braces.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str, fields: &str) -> Value {
        let comma = if fields.is_empty() { "" } else { "," };
        let line = format!("{{\"version\":1,\"command\":\"{command}\"{comma}{fields}}}\n");
        let sent = match self.send(&line) {
            // The daemon may have refused the client and sent its answer before the command was
            // sent.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            sent => sent,
        };
        match sent.and_then(|()| self.read()) {
            Ok(answer) => answer,
            Err(error) => panic!("no answer to {command}: {error}"),
        }
    }

    /// Sends a command that must succeed and returns the answer's text.
    #[track_caller]
    pub(crate) fn expect_done(&mut self, command: &str, fields: &str) -> String {
        let answer = self.ask(command, fields);
        assert_eq!(answer["ok"]["reply"], "done", "{answer}");
        answer["ok"]["text"].as_str().expect("the reply has a text").to_owned()
    }

    /// Sends a command that must be refused and returns the error's kind and text.
    #[track_caller]
    pub(crate) fn expect_error(&mut self, command: &str, fields: &str) -> (String, String) {
        error_of(&self.ask(command, fields))
    }

    #[track_caller]
    pub(crate) fn report(&mut self) -> Value {
        let mut answer = self.ask("status", "");
        answer["ok"]["report"].take()
    }

    /// Reads events until one matches, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_event(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.read() {
                Ok(mut answer) if wanted(&answer["event"]) => return answer["event"].take(),
                Ok(_another) => {}
                Err(error) => panic!("no event while waiting until {what}: {error}"),
            }
        }
    }

    /// Waits until the daemon closes the connection, and checks that it sends nothing more.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_bytes) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection is not closed: {error}"),
        }
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

/// Returns the kind and the text of an error.
#[track_caller]
pub(crate) fn error_of(answer: &Value) -> (String, String) {
    let word = |field: &str| match answer["error"][field].as_str() {
        Some(word) => word.to_owned(),
        None => panic!("not an error: {answer}"),
    };
    (word("kind"), word("text"))
}
