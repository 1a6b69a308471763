//! Tests that messages and their bodies cross a real link unchanged, and that invalid ones are
//! errors.

use std::io::IoSlice;
use std::os::fd::AsFd;

use daemon_sys::link;
use nix::errno::Errno;
use proptest::prelude::*;

use super::*;
use crate::body::Bytes;

fn ends() -> (LinkChannel, LinkChannel) {
    let (near, far) = link::pair().expect("a link");
    (Channel::new(near, ANSWER_LIMITS), Channel::new(far, ORDER_LIMITS))
}

/// A channel with these limits that has received these bytes without descriptors.
fn fed(bytes: &[u8], limits: ChannelLimits) -> LinkChannel {
    let mut channel = Channel::new(link::pair().expect("a link").0, limits);
    channel.feed(bytes);
    channel
}

fn push(channel: &mut LinkChannel, turn: u64, name: &str, body: &Body) {
    let place = BodyLocation::of(body);
    let soft = Some(Duration::from_millis(turn));
    let order =
        TaskOrder { turn, id: turn, attempt: 1, method: 7, name, from: "test", soft, body: place };
    queue(channel, turn, &order, body).expect("the message can be encoded");
}

/// Returns the bytes of a message.
fn order(turn: u64, name: &str, body: &Body) -> Vec<u8> {
    let (mut near, far) = ends();
    push(&mut near, turn, name, body);
    near.flush().expect("enough space");
    let mut bytes = vec![0; 100_000];
    let length = far.end().receive(&mut bytes, &mut Default::default()).expect("the message");
    bytes.truncate(length);
    bytes
}

fn read(channel: &mut LinkChannel) -> Option<(u64, String, Body)> {
    let (order, rest) = channel.next::<TaskOrder<'_>>().expect("a frame")?;
    let (turn, name, place) = (order.turn, order.name.to_owned(), order.body);
    Some((turn, name, place.read(rest).expect("a body")))
}

/// Sends the queued messages, and reads this number of messages in order at the other end.
fn transfer(
    (mut near, mut far): (LinkChannel, LinkChannel),
    frames: u64,
    on_frame: impl Fn(u64, &Body),
) {
    let mut next = 0;
    while next < frames {
        near.flush().expect("the other end is open");
        far.receive().expect("no more descriptors than the maximum");
        while let Some((turn, name, body)) = read(&mut far) {
            assert_eq!((turn, name.as_str()), (next, "some"));
            on_frame(turn, &body);
            next += 1;
        }
    }
    assert!(!near.has_unsent() && far.take_descriptors().is_empty());
}

#[test]
fn frames_with_and_without_shared_memory_arrive_in_order() {
    let mut ends = ends();
    // The bodies are kept until they are read. Otherwise other tests, which run at the same time,
    // could reuse the memory files of these bodies.
    let mut kept = Vec::new();
    for turn in 0..200 {
        let large = turn % 2 == 1;
        let body = Bytes::from(vec![turn as u8; if large { SHARED_FROM } else { 10 }]);
        let body = Body::of(&body).expect("enough space");
        push(&mut ends.0, turn, "some", &body);
        kept.push(body);
    }
    transfer(ends, 200, |turn, body| {
        let bytes: Bytes = body.decode().expect("bytes");
        assert!(bytes.iter().all(|byte| *byte == turn as u8));
    });
}

#[test]
fn large_bodies_without_a_memory_file_get_one_when_they_are_sent() {
    let mut ends = ends();
    let mut kept = Vec::new();
    for turn in 0..100_u64 {
        // A third of the bodies are small, a third are in memory files, a third are in heap memory.
        let bytes = Bytes::from(vec![turn as u8; if turn % 3 == 0 { 10 } else { 70_000 }]);
        let body = Body::of(&bytes).expect("enough space");
        let plain = Body::Heap(body.bytes().to_vec().into());
        push(&mut ends.0, turn, "some", if turn % 3 == 1 { &plain } else { &body });
        kept.push(body);
    }
    transfer(ends, 100, |turn, body| {
        let bytes: Bytes = body.decode().expect("bytes");
        assert_eq!(bytes.len(), if turn % 3 == 0 { 10 } else { 70_000 });
        assert!(bytes.iter().all(|byte| *byte == turn as u8));
    });
}

#[test]
fn missing_or_too_short_shared_memory_is_an_error() {
    let body = Body::of(&Bytes::from(vec![1; SHARED_FROM])).expect("enough space");
    let bytes = order(1, "x", &body);
    let mut channel = fed(&bytes, ORDER_LIMITS);
    let (head, rest) = channel.next::<TaskOrder<'_>>().expect("a frame").expect("a complete frame");
    let error = head.body.read(rest).expect_err("refused").to_string();
    assert_eq!(error, "the shared memory of a frame is missing");
    let (near, mut far) = ends();
    let other = daemon_sys::memfd::memfd_with("other", b"short").expect("enough space");
    near.end().send(&[IoSlice::new(&bytes)], &[other.as_fd()]).expect("enough space");
    far.receive().expect("the frame has arrived");
    let (head, rest) = far.next::<TaskOrder<'_>>().expect("a frame").expect("a complete frame");
    let error = head.body.read(rest).expect_err("refused").to_string();
    let expected = "cannot read the shared memory of a frame: cannot use a received file as 6";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(far.take_descriptors().len(), 1);
}

#[test]
fn a_third_descriptor_from_a_worker_without_its_frame_is_an_error() {
    // The worker's end sends here, and the parent's end receives.
    let (mut parent, worker) = ends();
    let fd = worker.as_fd();
    worker.end().send(&[IoSlice::new(&[9, 0, 0])], &[fd, fd]).expect("enough space");
    parent.receive().expect("no more descriptors than the maximum");
    worker.end().send(&[IoSlice::new(&[0])], &[fd]).expect("enough space");
    let error = parent.receive().expect_err("refused").to_string();
    assert_eq!(error, "received 3 descriptors without their frames, the maximum is 2");
}

#[test]
fn more_descriptors_than_one_send_can_have_are_an_error() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let (mut parent, worker) = ends();
    let raw = std::os::fd::AsRawFd::as_raw_fd(&worker.as_fd());
    let many = [ControlMessage::ScmRights(&[raw; 200])];
    let bytes = [IoSlice::new(&[0])];
    sendmsg::<()>(raw, &bytes, &many, MsgFlags::empty(), None).expect("enough space");
    let error = parent.receive().expect_err("refused").to_string();
    assert!(error.contains("descriptors without their frames, the maximum is 2"), "{error}");
}

#[test]
fn a_body_above_the_limit_is_refused_before_its_file_is_opened() {
    let body = Body::of(&Bytes::from(vec![1; SHARED_FROM])).expect("enough space");
    let mut channel = fed(&order(1, "x", &body), ANSWER_LIMITS);
    let (head, rest) = channel.next::<TaskOrder<'_>>().expect("a frame").expect("a complete frame");
    let error = head.body.open(rest, SHARED_FROM).expect_err("refused").to_string();
    assert_eq!(error, "frame body of 65541 bytes exceeds the maximum of 65536");
}

#[test]
fn errors_of_a_closed_link_are_distinguished_from_shortages_of_system_resources() {
    let table = [
        (Errno::EPIPE, SendFailure::PeerClosed),
        (Errno::ECONNRESET, SendFailure::PeerClosed),
        (Errno::ENOTCONN, SendFailure::PeerClosed),
        (Errno::ETOOMANYREFS, SendFailure::Transient),
        (Errno::ENOBUFS, SendFailure::Transient),
        (Errno::ENOMEM, SendFailure::Transient),
        (Errno::EMFILE, SendFailure::Transient),
        (Errno::ENFILE, SendFailure::Transient),
        (Errno::ENOSPC, SendFailure::Transient),
        (Errno::EBADF, SendFailure::Permanent),
        (Errno::ENOTSOCK, SendFailure::Permanent),
        (Errno::EINVAL, SendFailure::Permanent),
        (Errno::EMSGSIZE, SendFailure::Permanent),
    ];
    for (errno, expected) in table {
        assert_eq!(SendFailure::of(&errno.into()), expected, "{errno}");
    }
}

#[test]
fn retry_delays_grow_up_to_a_limit() {
    let millis =
        [0, 1, 2, 6, 7, 31, 32, u32::MAX].map(|failed_sends| retry_delay(failed_sends).as_millis());
    assert_eq!(millis, [2, 4, 8, 128, 250, 250, 250, 250]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_cause_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut channel = fed(&bytes, ANSWER_LIMITS);
        while let Ok(Some((message, rest))) = channel.next::<WorkerMessage>() {
            if let WorkerMessage::Finished(answer) = message {
                let _ = answer.body.read(rest);
            }
        }
    }

    #[test]
    fn decoding_a_message_with_a_changed_byte_never_panics(
        at in 0_usize..200, flip in 1_u8..255, name in ".{0,30}",
    ) {
        let mut bytes = order(3, &name, &Body::Heap(vec![1; 50].into()));
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let mut channel = fed(&bytes, ORDER_LIMITS);
        while let Ok(Some((order, rest))) = channel.next::<TaskOrder<'_>>() {
            let _ = order.body.read(rest);
        }
    }
}
