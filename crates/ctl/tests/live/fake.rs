//! A daemon that says what a test wants, on a real socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use actix_daemon::Report;
use actix_daemon::control::protocol::{
    ControlError, ControlErrorKind, ControlEvent, ControlMessage, ControlReply, ResponseBody,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The daemon. Its threads end with the test's process; its socket goes with it.
pub(crate) struct Fake {
    directory: TempDir,
    asked: Receiver<Value>,
}

impl Fake {
    /// Serves each connection by this.
    pub(crate) fn serving(serve: impl Fn(Client) + Send + Sync + 'static) -> Fake {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("socket")).expect("it binds");
        let (tell, asked) = mpsc::channel();
        let serve = std::sync::Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (serve, tell) = (std::sync::Arc::clone(&serve), tell.clone());
                thread::spawn(move || serve(Client { stream, tell }));
            }
        });
        Fake { directory, asked }
    }

    /// Answers everything by these bytes, then closes.
    pub(crate) fn saying(bytes: impl Into<Vec<u8>>) -> Fake {
        let bytes = bytes.into();
        Fake::serving(move |mut client| {
            if client.asked().is_some() {
                client.say(&bytes);
            }
        })
    }

    /// Answers everything so.
    pub(crate) fn answering(outcome: ResponseBody) -> Fake {
        Fake::saying(line(outcome))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The next thing that was asked.
    pub(crate) fn asked(&self) -> Value {
        self.asked.recv_timeout(super::run::PATIENCE).expect("something was asked")
    }
}

/// A connection.
pub(crate) struct Client {
    stream: UnixStream,
    tell: mpsc::Sender<Value>,
}

impl Client {
    /// Waits for what is asked; nothing at the end.
    pub(crate) fn asked(&mut self) -> Option<Value> {
        let mut asked = String::new();
        let mut stream = BufReader::new(&self.stream);
        stream.read_line(&mut asked).expect("it can be read");
        let asked: Value = serde_json::from_str(&asked).ok()?;
        // The test may not look.
        let _ = self.tell.send(asked.clone());
        Some(asked)
    }

    /// Says something; says whether somebody may have heard it.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn answer(&mut self, outcome: ResponseBody) -> bool {
        self.say(&line(outcome))
    }

    /// Hears what is asked, and says nothing until the other end is gone.
    pub(crate) fn be_silent_after_asked(&mut self) {
        self.asked();
        self.be_silent();
    }

    /// Says nothing until the other end is gone.
    pub(crate) fn be_silent(&mut self) {
        let mut nothing = String::new();
        let _ = BufReader::new(&self.stream).read_line(&mut nothing);
    }
}

pub(crate) fn line(outcome: ResponseBody) -> Vec<u8> {
    let mut line = serde_json::to_vec(&ControlMessage::new(outcome)).expect("JSON");
    line.push(b'\n');
    line
}

pub(crate) fn done(text: &str) -> ResponseBody {
    ResponseBody::Ok(ControlReply::Done { text: text.to_owned() })
}

pub(crate) fn fault(kind: ControlErrorKind, text: &str) -> ResponseBody {
    ResponseBody::Error(ControlError { kind, text: text.to_owned() })
}

pub(crate) fn event(event: ControlEvent) -> ResponseBody {
    ResponseBody::Event(event)
}

pub(crate) fn status(report: Report) -> ResponseBody {
    ResponseBody::Ok(ControlReply::Status { report: Box::new(report) })
}

/// A pool of four with two children.
pub(crate) fn report() -> Report {
    let child = |slot: u32, letter: &str, label: Option<&str>| {
        json!({
            "slot": slot, "pid": 4711 + slot, "letter": letter, "age": 60.0, "since": 2.5,
            "requests": 12, "label": label, "generation": 1, "cpu": 0.25, "rss": 9_437_184,
            "pss": null, "causes": [],
        })
    };
    let report = json!({
        "alias": "web", "model": "pre-fork", "reporter": "parent", "parent": 4700,
        "fork_server": 4701, "phase": "running", "accepting": null, "operator_pause": null, "up": 75.0, "board": "wr  ",
        "slots": 4, "free": 2, "max_children": 4, "waiting": 0,
        "children": [child(0, "w", None), child(1, "r", Some("GET /"))],
        "counters": {
            "forks": 5, "failed_forks": 1, "requests": 124, "operator_pauses": 0, "pool_full": 0, "at_the_cap": 2,
            "clean_exits": 2, "failed_exits": 1, "exits": { "retired": 2, "killed": 1 }, "returned": 0,
        },
    });
    serde_json::from_value(report).expect("a report")
}
