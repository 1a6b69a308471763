//! Scenarios of requests that cross to their children, or come back.

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
    ("descriptors_bytes_and_values_cross_together", a_mixed_request_crosses),
    ("ten_megabytes_cross", ten_megabytes_cross),
    ("a_request_over_the_limit_comes_back_untouched", a_request_over_the_limit_comes_back),
    ("too_many_descriptors_come_back_untouched", too_many_descriptors_come_back),
    ("a_request_that_finds_no_seat_comes_back", a_request_that_finds_no_seat_comes_back),
    ("a_request_that_cannot_be_unpacked_is_told_to_its_child", garbage_is_told_to_the_child),
    (
        "a_thousand_orders_wait_for_a_fork_server_that_is_stopped_and_all_arrive",
        a_thousand_orders_wait,
    ),
];

fn a_connection_reaches_its_child() {
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<TcpStream>| {
            let mut stream = start.request.expect("unpacked");
            write!(stream, "{}", std::process::id()).map_or(1, |()| 0)
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (stream, _peer) = listener.accept().expect("accepted");
    server.fork(stream);
    let (_child, pid) = server.born();
    let mut heard = String::new();
    // It ends only when the parent's copy and the fork server's are closed too.
    client.read_to_string(&mut heard).expect("the end");
    assert_eq!(heard, pid.to_string());
    assert_eq!(server.gone().1, Exit::Code(0));
    server.shut_down();
}

fn a_mixed_request_crosses() {
    type Request = (OwnedFd, Vec<u8>, Serde<(u32, String)>, Option<UnixStream>);
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<Request>| {
            let (fd, bytes, Serde((number, name)), line) = start.request.expect("unpacked");
            let mut tell = io::PipeWriter::from(fd);
            write!(tell, "{bytes:?} {number} {name}").expect("told");
            send_byte(&line.expect("it was sent"));
            0
        }),
    );
    let (mut told, tell) = io::pipe().expect("a pipe");
    let (near, far) = UnixStream::pair().expect("a pair");
    let value = Serde((7, "seven".to_owned()));
    server.fork((tell.into(), vec![1, 2, 3], value, Some(near)));
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    let mut heard = String::new();
    told.read_to_string(&mut heard).expect("the end");
    assert_eq!(heard, "[1, 2, 3] 7 seven");
    assert!(super::support::receive_byte(&far));
    server.shut_down();
}

/// Bytes that are wrong if any is lost or moved.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn ten_megabytes_cross() {
    const SIZE: usize = 10 << 20;
    let mut server = TestServer::of(
        2,
        closure_program(|start: ChildStart<Vec<u8>>| {
            let bytes = start.request.expect("unpacked");
            i32::from(bytes != pattern(SIZE))
        }),
    );
    for _twice in 0..2 {
        server.fork(pattern(SIZE));
        assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    }
    let status = format!("/proc/{}/status", server.fork_server.pid());
    let status = std::fs::read_to_string(status).expect("it is there");
    let peak: usize = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .expect("a peak");
    assert!(peak < SIZE / 1024, "the fork server held the request: {peak} kB");
    server.shut_down();
}

fn a_request_over_the_limit_comes_back() {
    let builder = ForkServerBuilder::new(1).grace(GRACE).request_limit(1000);
    let mut server = TestServer::spawn(builder, closure_program(|_birth: ChildStart<Vec<u8>>| 0));
    let Err(ForkError { request, reason }) = server.fork_server.fork(pattern(1001)) else {
        panic!("it was ordered");
    };
    assert_eq!(request, pattern(1001));
    assert_eq!(
        reason.to_string(),
        "cannot hand over a request of 1009 bytes: the limit is 1000 bytes"
    );
    assert_eq!(server.fork_server.board().free(), 1);
    server.fork(pattern(900));
    assert_eq!(server.exit_of_next_child(), Exit::Code(0));
    server.shut_down();
}

/// As many descriptors as one likes.
struct ManyDescriptors(Vec<OwnedFd>);

impl Transfer for ManyDescriptors {
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        encoder.put_bytes(&[u8::try_from(self.0.len()).expect("few")]);
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

fn too_many_descriptors_come_back() {
    let (told, tell) = io::pipe().expect("a pipe");
    let copies = |count: usize| {
        let copy = |_each| OwnedFd::from(tell.try_clone().expect("a spare descriptor"));
        ManyDescriptors((0..count).map(copy).collect())
    };
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<ManyDescriptors>| {
            let ManyDescriptors(fds) = start.request.expect("unpacked");
            i32::try_from(fds.len()).expect("few")
        }),
    );
    let Err(ForkError { request, reason }) = server.fork_server.fork(copies(DESCRIPTORS_MAX + 1))
    else {
        panic!("it was ordered");
    };
    assert_eq!(request.0.len(), DESCRIPTORS_MAX + 1);
    assert!(matches!(
        reason,
        ForkServerError::Transfer(TransferError::TooManyDescriptors { count: 61 })
    ));
    server.fork(copies(DESCRIPTORS_MAX));
    assert_eq!(server.exit_of_next_child(), Exit::Code(60));
    drop(told);
    server.shut_down();
}

fn a_request_that_finds_no_seat_comes_back() {
    let mut server = TestServer::of(
        1,
        closure_program(|start: ChildStart<String>| {
            start.signals.release();
            sleep_until_killed()
        }),
    );
    let first = server.fork("first".into());
    let Err(ForkError { request, reason }) = server.fork_server.fork("second".into()) else {
        panic!("it was ordered");
    };
    assert_eq!(request, "second");
    assert_eq!(reason.to_string(), "cannot fork: all 1 slots of the scoreboard are taken");
    server.born();
    server.fork_server.signal(first, Signal::Term).expect("sent");
    server.gone();
    let second = server.fork(request);
    assert_eq!(second.slot, first.slot);
    assert_ne!(second.generation, first.generation);
    server.shut_down();
}

/// What says more when it is packed than it takes when it is unpacked.
struct ExtraBytes;

impl Transfer for ExtraBytes {
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        encoder.put_bytes(b"and more");
        Ok(())
    }

    fn decode(_delivery: &mut Decoder) -> Result<Self, TransferError> {
        Ok(ExtraBytes)
    }
}

fn garbage_is_told_to_the_child() {
    let mut server = TestServer::of(
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

fn a_thousand_orders_wait() {
    const CHILDREN: u32 = 1000;
    if set_limit(Resource::OpenFiles, 4096, 4096).is_err() {
        return println!("skipped: too few descriptors");
    }
    let mut server = TestServer::of(
        CHILDREN,
        closure_program(|start: ChildStart<(OwnedFd, Serde<u32>)>| {
            let (fd, Serde(number)) = start.request.expect("unpacked");
            let mut tell = io::PipeWriter::from(fd);
            i32::from(tell.write_all(&number.to_ne_bytes()).is_err())
        }),
    );
    let (mut told, tell) = io::pipe().expect("a pipe");
    let fork_server = server.fork_server.pid();
    assert!(signal(fork_server, Signal::Stop).is_ok());
    for number in 0..CHILDREN {
        let fd = tell.try_clone().expect("a spare descriptor");
        server.fork((fd.into(), Serde(number)));
    }
    drop(tell);
    assert!(server.fork_server.has_unsent_commands());
    assert_eq!(server.fork_server.board().letters(), "F".repeat(1000));
    assert!(signal(fork_server, Signal::Cont).is_ok());
    let (mut born, mut gone) = (0, 0);
    while gone < CHILDREN {
        match server.next() {
            ForkServerEvent::Born { .. } => born += 1,
            ForkServerEvent::Exited { exit, last, .. } => {
                assert_eq!((exit, last.status), (Exit::Code(0), Some(Status::Born)));
                gone += 1;
            }
            _ => panic!("a fork failed"),
        }
    }
    assert_eq!(born, CHILDREN);
    let mut heard = Vec::new();
    told.read_to_end(&mut heard).expect("the end");
    let mut numbers: Vec<u32> =
        heard.as_chunks::<4>().0.iter().map(|bytes| u32::from_ne_bytes(*bytes)).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..CHILDREN));
    eventually("all seats are free", || server.fork_server.board().free() == CHILDREN);
    server.shut_down();
}
