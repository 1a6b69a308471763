//! A fake server that a test controls. Packets are compared byte by byte, so that the tests do not
//! depend on the worker's own codec.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_sys::poll::{Interest, wait};

/// The timeout of the tests, which is long enough for a busy machine.
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

/// The server's end of a connection.
pub(super) struct FakeServer(pub(super) TcpStream);

impl FakeServer {
    /// Accepts a connection.
    pub(super) fn accept(listener: &TcpListener) -> Self {
        let ready =
            wait(&[(listener.as_fd(), Interest::Read)], Some(DEADLINE)).expect("poll succeeds");
        assert!(ready[0].is_readable(), "the worker did not connect");
        let (stream, _worker) = listener.accept().expect("the worker connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("the timeout is set");
        FakeServer(stream)
    }

    #[track_caller]
    pub(super) fn expect_request(&mut self, kind: u32, body: &[u8]) {
        let mut header = [0; 12];
        self.0.read_exact(&mut header).expect("the worker sends a header");
        let size = u32::from_be_bytes(header[8..].try_into().expect("four bytes"));
        let mut received = vec![0; size as usize];
        self.0.read_exact(&mut received).expect("the worker sends the body");
        assert_eq!(header[..8], [b"\0REQ".as_slice(), &kind.to_be_bytes()].concat());
        assert_eq!(received, body, "{}", String::from_utf8_lossy(&received));
    }

    pub(super) fn send(&mut self, packets: &[(u32, &[u8])]) {
        let bytes: Vec<u8> = packets
            .iter()
            .flat_map(|(kind, body)| {
                let size = u32::try_from(body.len()).expect("the body is short");
                [b"\0RES".as_slice(), &kind.to_be_bytes(), &size.to_be_bytes(), body].concat()
            })
            .collect();
        self.0.write_all(&bytes).expect("the worker is connected");
    }

    #[track_caller]
    pub(super) fn expect_registration(&mut self) {
        self.expect_request(SET_CLIENT_ID, b"worker");
        for function in ["upper", "fail", "huge", "steps"] {
            self.expect_request(CAN_DO, function.as_bytes());
        }
    }

    /// Reads a job request, and assigns a job.
    #[track_caller]
    pub(super) fn assign_job(&mut self, job: &[u8]) {
        self.expect_request(GRAB_JOB, b"");
        self.send(&[(JOB_ASSIGN, job)]);
    }

    #[track_caller]
    pub(super) fn let_sleep(&mut self) {
        self.expect_request(GRAB_JOB, b"");
        self.send(&[(NO_JOB, b"")]);
        self.expect_request(PRE_SLEEP, b"");
    }

    /// Reads the worker's last requests, and asserts that the connection is closed after them.
    #[track_caller]
    pub(super) fn expect_disconnect(mut self) {
        self.expect_request(RESET_ABILITIES, b"");
        self.expect_request(ECHO_REQ, b"good-bye");
        self.send(&[(ECHO_RES, b"good-bye")]);
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the worker closes the connection");
        assert_eq!(rest, b"");
    }
}
