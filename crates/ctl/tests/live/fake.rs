//! A fake daemon with a real control socket, to which the tested `daemonctl` connects. Each test
//! determines the answers of the fake daemon.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use daemon_protocol::{
    ControlError, ControlErrorKind, ControlMessage, ControlReply, DaemonEvent, Report, ResponseBody,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The fake daemon. Its threads end with the test process. Its socket is removed on drop.
pub(crate) struct FakeDaemon {
    directory: TempDir,
    requests: Receiver<Value>,
}

impl FakeDaemon {
    /// Creates a fake daemon that serves each connection with this function.
    pub(crate) fn serving(serve: impl Fn(ServerConnection) + Send + Sync + 'static) -> FakeDaemon {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(directory.path().join("socket")).expect("bind succeeds");
        let (requests_sender, requests) = mpsc::channel();
        let serve = std::sync::Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (serve, requests_sender) =
                    (std::sync::Arc::clone(&serve), requests_sender.clone());
                thread::spawn(move || serve(ServerConnection { stream, requests_sender }));
            }
        });
        FakeDaemon { directory, requests }
    }

    /// Creates a fake daemon that answers one request of each connection with these bytes, then
    /// closes the connection.
    pub(crate) fn sending(bytes: impl Into<Vec<u8>>) -> FakeDaemon {
        let bytes = bytes.into();
        FakeDaemon::serving(move |mut client| {
            if client.read_request().is_some() {
                client.send(&bytes);
            }
        })
    }

    /// Creates a fake daemon that answers one request of each connection with this body, then
    /// closes the connection.
    pub(crate) fn answering(body: ResponseBody) -> FakeDaemon {
        FakeDaemon::sending(line(body))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits for the next request, and returns it.
    pub(crate) fn request(&self) -> Value {
        self.requests.recv_timeout(super::run::PATIENCE).expect("a request arrives")
    }
}

/// A connection of the fake daemon.
pub(crate) struct ServerConnection {
    stream: UnixStream,
    requests_sender: mpsc::Sender<Value>,
}

impl ServerConnection {
    /// Reads and returns the next request. Returns `None` if the client has closed the connection,
    /// or if the line is not JSON.
    pub(crate) fn read_request(&mut self) -> Option<Value> {
        let mut request = String::new();
        let mut stream = BufReader::new(&self.stream);
        stream.read_line(&mut request).expect("a line");
        let request: Value = serde_json::from_str(&request).ok()?;
        // Sending fails only if the test has dropped the fake daemon.
        let _ = self.requests_sender.send(request.clone());
        Some(request)
    }

    /// Sends bytes; returns whether the client is still connected.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn answer(&mut self, body: ResponseBody) -> bool {
        self.send(&line(body))
    }

    /// Reads a request, but does not answer, and waits until the client closes the connection or
    /// sends another line.
    pub(crate) fn read_and_wait_for_close(&mut self) {
        self.read_request();
        self.wait_for_close();
    }

    /// Waits until the client closes the connection or sends another line.
    pub(crate) fn wait_for_close(&mut self) {
        let mut nothing = String::new();
        let _ = BufReader::new(&self.stream).read_line(&mut nothing);
    }
}

pub(crate) fn line(body: ResponseBody) -> Vec<u8> {
    let mut line = serde_json::to_vec(&ControlMessage::new(body)).expect("JSON");
    line.push(b'\n');
    line
}

pub(crate) fn done(text: &str) -> ResponseBody {
    ResponseBody::Ok(ControlReply::Done { text: text.to_owned() })
}

pub(crate) fn fault(kind: ControlErrorKind, text: &str) -> ResponseBody {
    ResponseBody::Error(ControlError { kind, text: text.to_owned() })
}

pub(crate) fn event(event: DaemonEvent) -> ResponseBody {
    ResponseBody::Event(event)
}

pub(crate) fn status(report: Report) -> ResponseBody {
    ResponseBody::Ok(ControlReply::Status { report: Box::new(report) })
}

/// Returns the report of a pool with two children and a maximum of four.
pub(crate) fn report() -> Report {
    let child = |slot: u32, letter: &str, label: Option<&str>| {
        json!({
            "slot": slot, "pid": 4711 + slot, "letter": letter, "age": 60.0, "since": 2.5,
            "requests": 12, "label": label, "generation": 1, "cpu": 0.25, "rss": 9_437_184,
            "pss": null, "causes": [],
        })
    };
    let report = json!({
        "alias": "web", "model": "pre-forking", "reporter": "parent", "parent": 4700,
        "fork_server": 4701, "phase": "running", "accepting": null, "operator_pause": null, "up": 75.0, "board": "wr  ",
        "slots": 4, "free": 2, "max_children": 4, "waiting": 0,
        "children": [child(0, "w", None), child(1, "r", Some("GET /"))],
        "counters": {
            "forks": 5, "failed_forks": 1, "requests": 124, "operator_pauses": 0, "pool_full": 0,
            "max_children_reached": 2, "clean_exits": 2, "failed_exits": 1, "exits": { "retired": 2, "killed": 1 }, "returned": 0,
        },
    });
    serde_json::from_value(report).expect("a valid report")
}
