//! Tests that frames cross a real link unchanged, in pieces of any size, and that invalid frames
//! are errors.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use daemon_sys::link;
use proptest::prelude::*;

use super::*;
use crate::body::Bytes;

fn order(turn: u64, name: &str, body: &Body) -> Vec<u8> {
    let mut outbox = FrameWriter::default();
    push(&mut outbox, turn, name, body);
    outbox.bytes
}

fn push(outbox: &mut FrameWriter, turn: u64, name: &str, body: &Body) {
    let place = BodyLocation::of(body);
    let soft = Some(Duration::from_millis(turn));
    let order =
        TaskOrder { turn, id: turn, attempt: 1, method: 7, name, from: "test", soft, body: place };
    outbox.push(turn, &order, body).expect("the frame can be encoded");
}

fn read(inbox: &mut FrameReader) -> Option<(u64, String, Body)> {
    let (order, frame_body) = inbox.next::<TaskOrder<'_>>().expect("a frame")?;
    let (turn, name, place) = (order.turn, order.name.to_owned(), order.body);
    Some((turn, name, frame_body.read(place).expect("a body")))
}

/// Sends the frames in the outbox, and reads this number of frames in order at the other end.
fn transfer(outbox: &mut FrameWriter, frames: u64, mut on_frame: impl FnMut(u64, &Body)) {
    let (near, far) = link::pair().expect("a link");
    let (mut inbox, mut next) = (FrameReader::from_parent(), 0);
    while next < frames {
        outbox.flush(&near).expect("the other end is open");
        inbox.receive(&far).expect("no more descriptors than the maximum");
        while let Some((turn, name, body)) = read(&mut inbox) {
            assert_eq!((turn, name.as_str()), (next, "some"));
            on_frame(turn, &body);
            next += 1;
        }
        // No more descriptors than one `send` carries wait for their frames.
        assert!(inbox.descriptors.len() <= DESCRIPTORS_AT_ONCE);
    }
    assert!(outbox.is_empty() && outbox.shared_bodies.is_empty());
}

#[test]
fn frames_with_and_without_shared_memory_arrive_in_order() {
    let mut outbox = FrameWriter::default();
    // The bodies are kept until they are read. Otherwise other tests, which run at the same time,
    // could reuse the memory files of these bodies.
    let mut kept = Vec::new();
    for turn in 0..200 {
        let large = turn % 2 == 1;
        let body = Bytes::from(vec![turn as u8; if large { SHARED_FROM } else { 10 }]);
        let body = Body::of(&body).expect("enough space");
        push(&mut outbox, turn, "some", &body);
        kept.push(body);
    }
    transfer(&mut outbox, 200, |turn, body| {
        let bytes: Bytes = body.decode().expect("bytes");
        assert!(bytes.iter().all(|byte| *byte == turn as u8));
    });
}

#[test]
fn large_bodies_without_a_memory_file_get_one_when_they_are_sent() {
    let mut outbox = FrameWriter::default();
    let mut kept = Vec::new();
    for turn in 0..100_u64 {
        // A third of the bodies are small, a third are in memory files, a third are in heap memory.
        let bytes = Bytes::from(vec![turn as u8; if turn % 3 == 0 { 10 } else { 70_000 }]);
        let body = Body::of(&bytes).expect("enough space");
        let plain = Body::Heap(body.bytes().to_vec().into());
        push(&mut outbox, turn, "some", if turn % 3 == 1 { &plain } else { &body });
        kept.push(body);
    }
    transfer(&mut outbox, 100, |turn, body| {
        let bytes: Bytes = body.decode().expect("bytes");
        assert_eq!(bytes.len(), if turn % 3 == 0 { 10 } else { 70_000 });
        assert!(bytes.iter().all(|byte| *byte == turn as u8));
    });
}

#[test]
fn data_that_a_full_link_did_not_accept_is_sent_after_the_receiver_has_read() {
    let (near, far) = link::pair().expect("a link");
    let (mut outbox, mut inbox) = (FrameWriter::default(), FrameReader::from_parent());
    let body = Body::Heap(vec![1; 60_000].into());
    (0..50).for_each(|turn| push(&mut outbox, turn, "large", &body));
    assert_eq!(outbox.flush(&near).expect("enough space"), Flushed::WouldBlock);
    let mut received = 0;
    while received < 50 {
        outbox.flush(&near).expect("the other end is open");
        inbox.receive(&far).expect("the link can be read");
        while read(&mut inbox).is_some() {
            received += 1;
        }
    }
}

#[test]
fn sending_fails_and_reading_returns_closed_if_the_other_end_is_closed() {
    let (near, far) = link::pair().expect("a link");
    drop(far);
    let mut outbox = FrameWriter::default();
    push(&mut outbox, 1, "x", &Body::EMPTY);
    assert!(outbox.flush(&near).is_err());
    assert_eq!(
        FrameReader::from_parent().receive(&near).expect("the end of the link"),
        Received::Closed
    );
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_is_received() {
    let mut inbox = FrameReader::from_parent();
    inbox.feed(&u32::MAX.to_le_bytes());
    let error = inbox.next::<WorkerMessage>().expect_err("refused").to_string();
    assert!(error.starts_with("frame of 4294967295 bytes exceeds the maximum of "), "{error}");
}

#[test]
fn missing_or_too_short_shared_memory_is_an_error() {
    let (near, far) = link::pair().expect("a link");
    let body = Body::of(&Bytes::from(vec![1; SHARED_FROM])).expect("enough space");
    let bytes = order(1, "x", &body);
    let mut inbox = FrameReader::from_parent();
    inbox.feed(&bytes);
    let (head, frame_body) =
        inbox.next::<TaskOrder<'_>>().expect("a frame").expect("a complete frame");
    assert!(matches!(frame_body.read(head.body), Err(FrameError::MissingDescriptor)));
    let other = daemon_sys::memfd::memfd_with("other", b"short").expect("enough space");
    near.send(&[IoSlice::new(&bytes)], &[other.as_fd()]).expect("enough space");
    let mut inbox = FrameReader::from_parent();
    inbox.receive(&far).expect("the frame has arrived");
    let (head, frame_body) =
        inbox.next::<TaskOrder<'_>>().expect("a frame").expect("a complete frame");
    let error = frame_body.read(head.body).expect_err("refused").to_string();
    let expected = "cannot read the shared memory of a frame: cannot use a received file as 6";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn no_more_descriptors_than_one_send_carries_wait_for_their_frames() {
    let mut outbox = FrameWriter::default();
    let (small, large) = (vec![3; 60_000], Bytes::from(vec![7; SHARED_FROM]));
    let small = Body::Heap(small.into());
    let large = Body::of(&large).expect("enough space");
    for turn in 0..400 {
        push(&mut outbox, turn, "some", if turn % 2 == 0 { &large } else { &small });
    }
    transfer(&mut outbox, 400, |_turn, _body| {});
}

#[test]
fn too_many_descriptors_without_their_frames_are_an_error_and_are_closed() {
    let (near, far) = link::pair().expect("a link");
    let mut inbox = FrameReader::from_parent();
    // The start of a frame that is never completed.
    near.send(&[IoSlice::new(&[0, 1, 0, 0])], &[]).expect("enough space");
    inbox.receive(&far).expect("half a frame");
    let many = vec![near.as_fd(); FDS_MAX];
    for waiting in [FDS_MAX, 2 * FDS_MAX] {
        near.send(&[IoSlice::new(&[0])], &many).expect("enough space");
        inbox.receive(&far).expect("no more descriptors than the maximum");
        assert!(inbox.next::<WorkerMessage>().expect("no error").is_none());
        assert_eq!(inbox.descriptors.len(), waiting);
    }
    near.send(&[IoSlice::new(&[0])], &[near.as_fd()]).expect("enough space");
    let error = inbox.receive(&far).expect_err("refused").to_string();
    assert_eq!(error, "received 129 descriptors without their frames, the maximum is 128");
    assert_eq!(inbox.take_descriptors().len(), 129);
}

#[test]
fn a_third_descriptor_from_a_worker_without_its_frame_is_an_error() {
    let (near, far) = link::pair().expect("a link");
    let mut inbox = FrameReader::from_worker();
    near.send(&[IoSlice::new(&[9, 0, 0])], &[near.as_fd(), near.as_fd()]).expect("enough space");
    inbox.receive(&far).expect("no more descriptors than the maximum");
    near.send(&[IoSlice::new(&[0])], &[near.as_fd()]).expect("enough space");
    let error = inbox.receive(&far).expect_err("refused").to_string();
    assert_eq!(error, "received 3 descriptors without their frames, the maximum is 2");
}

#[test]
fn more_descriptors_than_one_send_can_have_are_an_error() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let (near, far) = link::pair().expect("a link");
    let mut inbox = FrameReader::from_worker();
    let raw = std::os::fd::AsRawFd::as_raw_fd(&near.as_fd());
    let many = [ControlMessage::ScmRights(&[raw; 200])];
    let bytes = [IoSlice::new(&[0])];
    sendmsg::<()>(raw, &bytes, &many, MsgFlags::empty(), None).expect("enough space");
    let error = inbox.receive(&far).expect_err("refused").to_string();
    assert!(error.contains("descriptors without their frames, the maximum is 2"), "{error}");
}

/// A head that cannot be encoded completely.
struct NotEncodable;

impl Serialize for NotEncodable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeTuple};
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element("written before the error")?;
        Err(S::Error::custom("refused"))
    }
}

#[test]
fn a_head_that_cannot_be_encoded_changes_nothing() {
    let mut outbox = FrameWriter::default();
    push(&mut outbox, 0, "some", &Body::EMPTY);
    outbox.push(1, &NotEncodable, &Body::EMPTY).expect_err("refused");
    push(&mut outbox, 1, "some", &Body::EMPTY);
    assert_eq!(outbox.frame_count(), 2);
    transfer(&mut outbox, 2, |_turn, _body| {});
}

#[test]
fn a_body_above_the_limit_is_refused_before_its_file_is_opened() {
    let body = Body::of(&Bytes::from(vec![1; SHARED_FROM])).expect("enough space");
    let mut inbox = FrameReader::from_worker();
    inbox.feed(&order(1, "x", &body));
    let (head, frame_body) =
        inbox.next::<TaskOrder<'_>>().expect("a frame").expect("a complete frame");
    let error = frame_body.open(head.body, SHARED_FROM).expect_err("refused").to_string();
    assert_eq!(error, "frame body of 65541 bytes exceeds the maximum of 65536");
}

#[test]
fn an_incomplete_frame_waits_for_its_remaining_bytes() {
    let (one, other) = UnixStream::pair().expect("a link");
    other.set_nonblocking(true).expect("nonblocking");
    let far = LinkEnd::from(OwnedFd::from(other));
    let bytes = order(9, "half", &Body::Heap(b"body".to_vec().into()));
    let mut inbox = FrameReader::from_parent();
    for byte in bytes.chunks(1) {
        assert!(inbox.next::<TaskOrder<'_>>().expect("no error").is_none());
        (&one).write_all(byte).expect("enough space");
        inbox.receive(&far).expect("the link can be read");
    }
    let (turn, name, _body) = read(&mut inbox).expect("a complete frame");
    assert_eq!((turn, name.as_str()), (9, "half"));
}

proptest! {
    #[test]
    fn frames_that_are_not_needed_any_more_are_removed_and_the_others_arrive(
        large in proptest::collection::vec(any::<bool>(), 1..40),
        removed in proptest::collection::vec(any::<bool>(), 40),
        reads in 0_usize..6,
    ) {
        let (near, far) = link::pair().expect("a link");
        let (mut outbox, mut inbox) = (FrameWriter::default(), FrameReader::from_parent());
        let small = Body::Heap(vec![3; 50_000].into());
        let shared = Body::of(&Bytes::from(vec![7; SHARED_FROM])).expect("enough space");
        for (turn, is_large) in (0..).zip(&large) {
            push(&mut outbox, turn, "some", if *is_large { &shared } else { &small });
        }
        let mut received = Vec::new();
        let mut read_all = |inbox: &mut FrameReader| {
            while let Some((turn, _name, body)) = read(inbox) {
                assert_eq!(body.bytes().len() > 50_000, large[turn as usize]);
                received.push(turn);
            }
        };
        let _ = outbox.flush(&near).expect("the other end is open");
        for _read in 0..reads {
            inbox.receive(&far).expect("the link can be read");
            read_all(&mut inbox);
            let _ = outbox.flush(&near).expect("the other end is open");
        }
        let is_needed = |turn: u64| !removed[turn as usize];
        outbox.retain(is_needed);
        let unsent = outbox.frame_count();
        for _time in 0..200 {
            let _ = outbox.flush(&near).expect("the other end is open");
            inbox.receive(&far).expect("the link can be read");
            read_all(&mut inbox);
        }
        prop_assert!(outbox.is_empty() && !inbox.is_in_frame());
        prop_assert!(received.is_sorted());
        // Only frames that were sent already, at least in part, arrive although they are removed.
        let total = large.len() as u64;
        prop_assert!((0..total).all(|turn| received.contains(&turn) || !is_needed(turn)));
        prop_assert!(unsent <= large.len());
        let last_sent = received.iter().rev().find(|turn| !is_needed(**turn));
        let first_missing = (0..total).find(|turn| !received.contains(turn));
        prop_assert!(last_sent.zip(first_missing).is_none_or(|(last, first)| *last < first));
    }

    #[test]
    fn arbitrary_bytes_never_cause_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut inbox = FrameReader::from_parent();
        inbox.feed(&bytes);
        while let Ok(Some((message, frame_body))) = inbox.next::<WorkerMessage>() {
            if let WorkerMessage::Finished(answer) = message {
                let _ = frame_body.read(answer.body);
            }
        }
    }

    #[test]
    fn decoding_a_frame_with_a_changed_byte_never_panics(
        at in 0_usize..200, flip in 1_u8..255, name in ".{0,30}",
    ) {
        let mut bytes = order(3, &name, &Body::Heap(vec![1; 50].into()));
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let mut inbox = FrameReader::from_parent();
        inbox.feed(&bytes);
        while let Ok(Some((order, frame_body))) = inbox.next::<TaskOrder<'_>>() {
            let place = order.body;
            let _ = frame_body.read(place);
        }
    }

    #[test]
    fn frames_are_decoded_from_pieces_of_any_size(
        lengths in proptest::collection::vec(0_usize..3000, 1..20), cut in 1_usize..5000,
    ) {
        let bodies: Vec<Body> =
            lengths.iter().map(|length| Body::Heap(vec![*length as u8; *length].into())).collect();
        let bytes: Vec<u8> =
            bodies.iter().zip(0..).flat_map(|(body, turn)| order(turn, "m", body)).collect();
        let (mut inbox, mut received) = (FrameReader::from_parent(), Vec::new());
        for piece in bytes.chunks(cut) {
            inbox.feed(piece);
            while let Some((_turn, _name, body)) = read(&mut inbox) {
                received.push(body.bytes().len());
            }
        }
        prop_assert_eq!(received, lengths);
    }
}
