//! A server that says what a test has it say, and hears every byte. The bytes are written out, so that
//! the codec does not vouch for itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_sys::poll::{Interest, wait};

/// How long anything may take on a busy machine before it counts as never.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) const CAN_DO: u32 = 1;
pub(super) const RESET_ABILITIES: u32 = 3;
pub(super) const PRE_SLEEP: u32 = 4;
pub(super) const NOOP: u32 = 6;
pub(super) const GRAB_JOB: u32 = 9;
pub(super) const NO_JOB: u32 = 10;
pub(super) const JOB_ASSIGN: u32 = 11;
pub(super) const WORK_STATUS: u32 = 12;
pub(super) const WORK_COMPLETE: u32 = 13;
pub(super) const WORK_FAIL: u32 = 14;
pub(super) const ECHO_REQ: u32 = 16;
pub(super) const ECHO_RES: u32 = 17;
pub(super) const ERROR: u32 = 19;
pub(super) const SET_CLIENT_ID: u32 = 22;
pub(super) const WORK_WARNING: u32 = 29;

/// A server's end of a connection.
pub(super) struct Server(pub(super) TcpStream);

impl Server {
    /// Takes a connection.
    pub(super) fn of(listener: &TcpListener) -> Self {
        let ready = wait(&[(listener.as_fd(), Interest::Read)], Some(DEADLINE)).expect("it waits");
        assert!(ready[0].is_readable(), "the worker does not connect");
        let (stream, _worker) = listener.accept().expect("the worker connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
        Server(stream)
    }

    #[track_caller]
    pub(super) fn hears(&mut self, kind: u32, body: &[u8]) {
        let mut header = [0; 12];
        self.0.read_exact(&mut header).expect("the worker says something");
        let size = u32::from_be_bytes(header[8..].try_into().expect("four bytes"));
        let mut heard = vec![0; size as usize];
        self.0.read_exact(&mut heard).expect("the worker says it all");
        assert_eq!(header[..8], [b"\0REQ".as_slice(), &kind.to_be_bytes()].concat());
        assert_eq!(heard, body, "{}", String::from_utf8_lossy(&heard));
    }

    pub(super) fn says(&mut self, packets: &[(u32, &[u8])]) {
        let bytes: Vec<u8> = packets
            .iter()
            .flat_map(|(kind, body)| {
                let size = u32::try_from(body.len()).expect("it is short");
                [b"\0RES".as_slice(), &kind.to_be_bytes(), &size.to_be_bytes(), body].concat()
            })
            .collect();
        self.0.write_all(&bytes).expect("the worker is there");
    }

    #[track_caller]
    pub(super) fn hears_who_it_is(&mut self) {
        self.hears(SET_CLIENT_ID, b"tried");
        for function in ["upper", "fail", "huge", "steps"] {
            self.hears(CAN_DO, function.as_bytes());
        }
    }

    /// Hears the question, and assigns a job.
    #[track_caller]
    pub(super) fn assigns(&mut self, job: &[u8]) {
        self.hears(GRAB_JOB, b"");
        self.says(&[(JOB_ASSIGN, job)]);
    }

    #[track_caller]
    pub(super) fn puts_to_sleep(&mut self) {
        self.hears(GRAB_JOB, b"");
        self.says(&[(NO_JOB, b"")]);
        self.hears(PRE_SLEEP, b"");
    }

    /// Hears the worker take its leave, and nothing after it.
    #[track_caller]
    pub(super) fn takes_leave(mut self) {
        self.hears(RESET_ABILITIES, b"");
        self.hears(ECHO_REQ, b"good-bye");
        self.says(&[(ECHO_RES, b"good-bye")]);
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the worker closes the connection");
        assert_eq!(rest, b"");
    }
}
