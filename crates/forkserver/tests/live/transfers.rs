//! Scenarios of requests that are sent to children, or returned to the sender.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use daemon_forkserver::core::{Exit, Status};
use daemon_forkserver::sys::limits::{Resource, set_limit};
use daemon_forkserver::sys::process::{Signal, signal};
use daemon_forkserver::{
    ChildStart, DESCRIPTORS_MAX, Decoder, Encoder, ForkError, ForkServerBuilder, ForkServerError,
    ForkServerEvent, Serde, Transfer, TransferError,
};

use super::support::{GRACE, TestServer, closure_program, send_byte, sleep_until_killed};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_connection_reaches_its_child_and_is_closed_in_the_parent", a_connection_reaches_its_child),
    ("descriptors_bytes_and_serde_values_are_sent_in_one_request", a_mixed_request),
    ("a_request_of_ten_megabytes_is_not_copied_by_the_fork_server", ten_megabytes_are_sent),
    ("a_request_over_the_limit_is_returned_unchanged", a_request_over_the_limit_is_returned),
    ("a_request_with_too_many_descriptors_is_returned", too_many_descriptors_are_returned),
    ("a_request_is_returned_if_all_slots_are_taken", a_request_without_a_free_slot_is_returned),
    ("a_child_gets_the_error_of_a_request_that_cannot_be_decoded", a_child_gets_the_decode_error),
    (
        "a_thousand_commands_sent_to_a_stopped_fork_server_arrive_when_it_continues",
        a_thousand_commands_wait,
    ),
];

fn a_connection_reaches_its_child() {
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<TcpStream>| {
            let mut stream = start.request.expect("the request decodes");
            write!(stream, "{}", std::process::id()).map_or(1, |()| 0)
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("the listener is bound");
    let mut client = TcpStream::connect(listener.local_addr().expect("the listener is bound"))
        .expect("the connection is made");
    let (stream, _peer) = listener.accept().expect("the connection is accepted");
    server.fork(stream);
    let (_child, pid) = server.next_forked();
    let mut received = String::new();
    // The read ends only when the parent's and the fork server's copies of the socket are closed
    // too.
    client.read_to_string(&mut received).expect("read until the end");
    assert_eq!(received, pid.to_string());
    assert_eq!(server.next_exited().1, Exit::Code(0));
    server.shut_down();
}

fn a_mixed_request() {
    type MixedRequest = (OwnedFd, Vec<u8>, Serde<(u32, String)>, Option<UnixStream>);
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<MixedRequest>| {
            let (fd, bytes, Serde((number, name)), line) =
                start.request.expect("the request decodes");
            let mut writer = io::PipeWriter::from(fd);
            write!(writer, "{bytes:?} {number} {name}").expect("the text is written");
            send_byte(&line.expect("the socket was sent"));
            0
        }),
    );
    let (mut reader, writer) = io::pipe().expect("a pipe opens");
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let value = Serde((7, "seven".to_owned()));
    server.fork((writer.into(), vec![1, 2, 3], value, Some(near)));
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    let mut received = String::new();
    reader.read_to_string(&mut received).expect("read until the end");
    assert_eq!(received, "[1, 2, 3] 7 seven");
    assert!(super::support::receive_byte(&far));
    server.shut_down();
}

/// Returns bytes in which lost or moved bytes can be detected.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn ten_megabytes_are_sent() {
    const SIZE: usize = 10 << 20;
    let mut server = TestServer::new(
        2,
        closure_program(|start: ChildStart<Vec<u8>>| {
            let bytes = start.request.expect("the request decodes");
            i32::from(bytes != pattern(SIZE))
        }),
    );
    for _twice in 0..2 {
        server.fork(pattern(SIZE));
        assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    }
    let status = format!("/proc/{}/status", server.fork_server.pid());
    let status = std::fs::read_to_string(status).expect("the process exists");
    let peak: usize = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .expect("the peak is listed");
    assert!(peak < SIZE / 1024, "the fork server has read the request into memory: {peak} kB");
    server.shut_down();
}

fn a_request_over_the_limit_is_returned() {
    let builder = ForkServerBuilder::new(1).grace(GRACE).request_limit(1000);
    let mut server =
        TestServer::with_builder(builder, closure_program(|_start: ChildStart<Vec<u8>>| 0));
    let Err(ForkError { request, reason }) = server.fork_server.fork(pattern(1001)) else {
        panic!("the request was accepted");
    };
    assert_eq!(request, pattern(1001));
    assert_eq!(reason.to_string(), "cannot send a request of 1009 bytes: the limit is 1000 bytes");
    assert_eq!(server.fork_server.board().empty_slots(), 1);
    server.fork(pattern(900));
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    server.shut_down();
}

/// A request with any number of descriptors.
struct ManyDescriptors(Vec<OwnedFd>);

impl Transfer for ManyDescriptors {
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        encoder.put_bytes(&[u8::try_from(self.0.len()).expect("the number is small")]);
        self.0.iter().try_for_each(|fd| fd.encode(encoder))
    }

    fn decode(decoder: &mut Decoder) -> Result<Self, TransferError> {
        let count = decoder.take_bytes()?.first().copied().unwrap_or(0);
        (0..count)
            .map(|_each| decoder.take_descriptor())
            .collect::<Result<_, _>>()
            .map(ManyDescriptors)
    }
}

fn too_many_descriptors_are_returned() {
    let (reader, writer) = io::pipe().expect("a pipe opens");
    let copies = |count: usize| {
        let copy = |_each| OwnedFd::from(writer.try_clone().expect("a free descriptor"));
        ManyDescriptors((0..count).map(copy).collect())
    };
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<ManyDescriptors>| {
            let ManyDescriptors(fds) = start.request.expect("the request decodes");
            i32::try_from(fds.len()).expect("the number is small")
        }),
    );
    let Err(ForkError { request, reason }) = server.fork_server.fork(copies(DESCRIPTORS_MAX + 1))
    else {
        panic!("the request was accepted");
    };
    assert_eq!(request.0.len(), DESCRIPTORS_MAX + 1);
    assert!(matches!(
        reason,
        ForkServerError::Transfer(TransferError::TooManyDescriptors { count: 61 })
    ));
    server.fork(copies(DESCRIPTORS_MAX));
    assert_eq!(server.exit_of_next_child(), Exit::Code(60));
    drop(reader);
    server.shut_down();
}

fn a_request_without_a_free_slot_is_returned() {
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<String>| {
            start.signals.release();
            sleep_until_killed()
        }),
    );
    let first = server.fork("first".into());
    let Err(ForkError { request, reason }) = server.fork_server.fork("second".into()) else {
        panic!("the request was accepted");
    };
    assert_eq!(request, "second");
    assert_eq!(reason.to_string(), "cannot fork: all 1 slots of the scoreboard are taken");
    server.next_forked();
    server.fork_server.signal(first, Signal::Term).expect("the command is sent");
    server.next_exited();
    let second = server.fork(request);
    assert_eq!(second.slot, first.slot);
    assert_ne!(second.generation, first.generation);
    server.shut_down();
}

/// A value that decodes fewer bytes than it encodes.
struct ExtraBytes;

impl Transfer for ExtraBytes {
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        encoder.put_bytes(b"and more");
        Ok(())
    }

    fn decode(_decoder: &mut Decoder) -> Result<Self, TransferError> {
        Ok(ExtraBytes)
    }
}

fn a_child_gets_the_decode_error() {
    let mut server = TestServer::new(
        1,
        closure_program(|start: ChildStart<ExtraBytes>| match start.request {
            Err(TransferError::LeftOver { bytes: 16, .. }) => 0,
            Err(_) | Ok(_) => 1,
        }),
    );
    server.fork(ExtraBytes);
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    server.shut_down();
}

fn a_thousand_commands_wait() {
    const CHILDREN: u32 = 1000;
    if set_limit(Resource::OpenFiles, 4096, 4096).is_err() {
        return println!("skipped: the descriptor limit is too low");
    }
    let mut server = TestServer::new(
        CHILDREN,
        closure_program(|start: ChildStart<(OwnedFd, Serde<u32>)>| {
            let (fd, Serde(number)) = start.request.expect("the request decodes");
            let mut writer = io::PipeWriter::from(fd);
            i32::from(writer.write_all(&number.to_ne_bytes()).is_err())
        }),
    );
    let (mut reader, writer) = io::pipe().expect("a pipe opens");
    let fork_server = server.fork_server.pid();
    assert!(signal(fork_server, Signal::Stop).is_ok());
    for number in 0..CHILDREN {
        let fd = writer.try_clone().expect("a free descriptor");
        server.fork((fd.into(), Serde(number)));
    }
    drop(writer);
    assert!(server.fork_server.has_unsent_commands());
    assert_eq!(server.fork_server.board().letters(), "F".repeat(1000));
    assert!(signal(fork_server, Signal::Cont).is_ok());
    let (mut forked, mut gone) = (0, 0);
    while gone < CHILDREN {
        match server.next_event() {
            ForkServerEvent::Forked { .. } => forked += 1,
            ForkServerEvent::Exited { exit, last, .. } => {
                assert_eq!((exit, last.status), (Exit::Code(0), Some(Status::Forked)));
                gone += 1;
            }
            _ => panic!("unexpected ForkFailed"),
        }
    }
    assert_eq!(forked, CHILDREN);
    let mut received = Vec::new();
    reader.read_to_end(&mut received).expect("read until the end");
    let mut numbers: Vec<u32> =
        received.as_chunks::<4>().0.iter().map(|bytes| u32::from_ne_bytes(*bytes)).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..CHILDREN));
    eventually("all slots are free", || server.fork_server.board().empty_slots() == CHILDREN);
    server.shut_down();
}
