use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use daemon_sys::link;
use proptest::prelude::*;

use super::*;

const LIMITS: ChannelLimits =
    ChannelLimits { read_size: 1024, frame_max: 64 * 1024, waiting_max: 2 * FDS_MAX };

fn ends() -> (Channel<OwnedFd>, Channel<OwnedFd>) {
    let (one, other) = link::pair().unwrap();
    (Channel::new(one, LIMITS), Channel::new(other, LIMITS))
}

/// A channel that receives bytes only from [`Channel::feed`].
fn fed(bytes: &[u8]) -> Channel<OwnedFd> {
    let mut channel = ends().0;
    channel.feed(bytes);
    channel
}

fn file() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// The head of a frame in these tests: its number, and how many descriptors it has.
type Head = (u64, usize);

fn push(channel: &mut Channel<OwnedFd>, number: u64, length: usize, attachment: Option<OwnedFd>) {
    let head: Head = (number, usize::from(attachment.is_some()));
    channel.queue(number, &head, &vec![number as u8; length], attachment).unwrap();
}

/// Returns the number, the length and the descriptors of the next frame.
fn read(channel: &mut Channel<OwnedFd>) -> Option<(u64, usize, VecDeque<OwnedFd>)> {
    let ((number, count), rest) = channel.next::<Head>().unwrap()?;
    let mut body = Vec::new();
    let descriptors = rest.take(count, &mut body).unwrap();
    assert!(body.iter().all(|byte| *byte == number as u8));
    Some((number, body.len(), descriptors))
}

/// Receives like a process that has no free descriptor.
fn lose(channel: &mut Channel<OwnedFd>) {
    channel.receive_or_lose().unwrap();
    channel.has_lost = !channel.descriptors.is_empty();
    channel.descriptors.clear();
}

/// Returns the number and the descriptors of the next frame, if it is complete.
fn read_next(channel: &mut Channel<OwnedFd>) -> Option<(u64, io::Result<usize>)> {
    let ((number, count), rest) = channel.next::<Head>().unwrap()?;
    let descriptors = rest.take(count, &mut Vec::new());
    Some((number, descriptors.map(|descriptors| descriptors.len())))
}

#[test]
fn descriptors_that_are_lost_cost_only_their_frame_whatever_its_length() {
    for (before, length, after) in (0..40).flat_map(|before| {
        [10, 1000, 1020, 3000, 20_000].map(|length| (before, length, before % 3))
    }) {
        let (mut near, mut far) = ends();
        // The frames whose descriptors are not lost, in their order.
        let mut kept = Vec::new();
        for _frame in 0..before {
            push(&mut near, kept.len() as u64, 60, None);
            kept.push(0);
        }
        let lost = kept.len() as u64;
        push(&mut near, lost, length, Some(file()));
        kept.push(usize::MAX);
        for _frame in 0..after {
            push(&mut near, kept.len() as u64, 60, None);
            kept.push(0);
        }
        for _frame in 0..3 {
            push(&mut near, kept.len() as u64, length, Some(file()));
            kept.push(1);
        }
        near.flush().unwrap();
        let mut received = Vec::new();
        while received.len() < kept.len() {
            match read_next(&mut far) {
                Some(frame) => received.push(frame),
                None if far.has_lost || far.is_next_lost || received.len() as u64 > lost => {
                    assert_ne!(far.receive_or_lose().unwrap(), Received::Closed);
                }
                None => lose(&mut far),
            }
        }
        let case = format!("{before} {length} {after}");
        for ((number, descriptors), (expected, kept)) in
            received.into_iter().zip(kept.into_iter().enumerate())
        {
            assert_eq!(number, expected as u64, "{case}");
            if number == lost {
                let (error, expected) = (descriptors.expect_err("lost"), no_free_descriptor());
                assert_eq!(error.raw_os_error(), expected.raw_os_error(), "{case}");
            } else {
                assert_eq!(descriptors.unwrap(), kept, "{case}");
            }
        }
    }
}

#[test]
fn frames_arrive_whole_and_in_order_with_their_own_descriptors() {
    let (mut near, mut far) = ends();
    let (kept, sent) = UnixStream::pair().unwrap();
    push(&mut near, 0, 10, None);
    near.send(&(1_u64, 1_usize), b"\x01", &[sent.as_fd()]).unwrap();
    push(&mut near, 2, 20, Some(file()));
    push(&mut near, 3, 30, None);
    near.flush().unwrap();
    drop(sent);
    let mut received = Vec::new();
    while received.len() < 4 {
        assert_ne!(far.receive().unwrap(), Received::Closed);
        while let Some(frame) = read(&mut far) {
            received.push(frame);
        }
    }
    let shape: Vec<_> = received.iter().map(|(n, length, fds)| (*n, *length, fds.len())).collect();
    assert_eq!(shape, [(0, 10, 0), (1, 1, 1), (2, 20, 1), (3, 30, 0)]);
    let mut socket = UnixStream::from(received[1].2.pop_front().unwrap());
    socket.write_all(b"!").unwrap();
    drop((socket, received));
    let mut text = String::new();
    (&kept).read_to_string(&mut text).unwrap();
    assert_eq!(text, "!");
}

#[test]
fn what_the_link_does_not_accept_is_sent_later() {
    let (mut near, mut far) = ends();
    let files = [file(), file(), file()];
    let borrowed = files.each_ref().map(AsFd::as_fd);
    for number in 0..50_u64 {
        near.send(&(number, 3_usize), &vec![number as u8; 40_000], &borrowed).unwrap();
    }
    assert!(near.has_unsent());
    let mut next = 0;
    while next < 50 {
        near.flush().unwrap();
        far.receive().unwrap();
        while let Some((number, length, fds)) = read(&mut far) {
            assert_eq!((number, length, fds.len()), (next, 40_000, 3));
            next += 1;
        }
    }
    assert!(!near.has_unsent() && near.attached.is_empty());
}

#[test]
fn a_link_that_is_never_empty_needs_bounded_memory() {
    let (mut near, mut far) = ends();
    let mut next = 0;
    for number in 0..2000 {
        push(&mut near, number, 10_000, None);
        near.flush().unwrap();
        while near.outgoing.len() - near.sent > 100_000 {
            far.receive().unwrap();
            while let Some((number, ..)) = read(&mut far) {
                assert_eq!(number, next);
                next += 1;
            }
            near.flush().unwrap();
        }
    }
    assert!(near.outgoing.len() < 400_000, "{} bytes", near.outgoing.len());
}

#[test]
fn all_descriptors_of_a_frame_are_sent_together() {
    let (mut near, mut far) = ends();
    let (one, many) = (file(), file());
    // The link is full, so the frames with 40 descriptors each are queued.
    while !near.has_unsent() {
        push(&mut near, 0, 60_000, None);
        near.flush().unwrap();
    }
    for number in 1..10_u64 {
        near.send(&(number, 40_usize), b"", &[many.as_fd(); 40]).unwrap();
        push(&mut near, number, 0, Some(one.try_clone().unwrap()));
    }
    let (mut with_forty, mut with_one) = (0, 0);
    while (with_forty, with_one) != (9, 9) {
        near.flush().unwrap();
        far.receive().unwrap();
        while let Some((_number, _length, fds)) = read(&mut far) {
            with_forty += usize::from(fds.len() == 40);
            with_one += usize::from(fds.len() == 1);
        }
        assert!(far.descriptors.len() <= FDS_MAX);
    }
    let refused = near.send(&0, b"", &[many.as_fd(); FDS_MAX + 1]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    assert!(!near.has_unsent());
}

#[test]
fn sending_fails_and_reading_returns_closed_if_the_other_end_is_closed() {
    let (mut near, far) = ends();
    drop(far);
    push(&mut near, 1, 0, None);
    assert!(near.flush().is_err());
    assert_eq!(near.receive().unwrap(), Received::Closed);
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_is_received() {
    let error = fed(&u32::MAX.to_le_bytes()).next::<String>().unwrap_err().to_string();
    assert_eq!(error, "frame of 4294967295 bytes exceeds the maximum of 65536");
}

#[test]
fn a_head_that_cannot_be_decoded_and_missing_descriptors_are_errors() {
    let error = fed(&[4, 0, 0, 0, 9, 9, 9, 9]).next::<String>().unwrap_err().to_string();
    assert!(error.starts_with("cannot decode the head of a frame: "), "{error}");
    let mut bytes = Vec::new();
    encode(&7_usize, b"", &mut bytes).unwrap();
    let mut channel = fed(&bytes);
    let (count, rest) = channel.next::<usize>().unwrap().unwrap();
    let error = rest.take(count, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "a frame has 7 descriptors, of which some are missing");
}

#[test]
fn too_many_descriptors_without_their_frames_are_an_error_and_can_be_closed() {
    let (near, mut far) = ends();
    // The start of a frame that is never completed.
    near.end.send(&[IoSlice::new(&[0, 1, 0, 0])], &[]).unwrap();
    far.receive().unwrap();
    let many = vec![near.as_fd(); FDS_MAX];
    for waiting in [FDS_MAX, 2 * FDS_MAX] {
        near.end.send(&[IoSlice::new(&[0])], &many).unwrap();
        far.receive().unwrap();
        assert!(far.next::<String>().unwrap().is_none());
        assert_eq!(far.descriptors.len(), waiting);
    }
    near.end.send(&[IoSlice::new(&[0])], &[near.as_fd()]).unwrap();
    let error = far.receive().unwrap_err().to_string();
    assert_eq!(error, "received 129 descriptors without their frames, the maximum is 128");
    assert_eq!(far.take_descriptors().len(), 129);
}

#[test]
fn a_channel_without_waiting_descriptors_refuses_the_first_one() {
    let (near, far) = link::pair().unwrap();
    let mut far: Channel<OwnedFd> = Channel::new(far, ChannelLimits { waiting_max: 0, ..LIMITS });
    near.send(&[IoSlice::new(&[0])], &[near.as_fd()]).unwrap();
    let error = far.receive().unwrap_err().to_string();
    assert_eq!(error, "received 1 descriptors without their frames, the maximum is 0");
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
    let (mut near, mut far) = ends();
    push(&mut near, 0, 5, None);
    near.queue(1, &NotEncodable, b"", Some(file())).unwrap_err();
    push(&mut near, 1, 5, None);
    assert_eq!((near.frame_count(), near.attached.len()), (2, 0));
    near.flush().unwrap();
    far.receive().unwrap();
    assert_eq!([read(&mut far).unwrap().0, read(&mut far).unwrap().0], [0, 1]);
}

#[test]
fn an_incomplete_frame_waits_for_its_remaining_bytes() {
    let (near, mut far) = ends();
    let mut bytes = Vec::new();
    encode(&"half", b"body", &mut bytes).unwrap();
    for byte in bytes.chunks(1) {
        assert!(far.next::<&str>().unwrap().is_none());
        near.end.send(&[IoSlice::new(byte)], &[]).unwrap();
        far.receive().unwrap();
        assert!(far.is_in_frame());
    }
    let (head, rest) = far.next::<&str>().unwrap().unwrap();
    assert_eq!((head, rest.bytes), ("half", b"body".as_slice()));
    assert!(!far.is_in_frame());
}

proptest! {
    #[test]
    fn frames_that_are_not_needed_any_more_are_removed_and_the_others_arrive(
        attached in proptest::collection::vec(any::<bool>(), 1..40),
        removed in proptest::collection::vec(any::<bool>(), 40),
        reads in 0_usize..300,
    ) {
        let (mut near, mut far) = ends();
        for (number, is_attached) in (0..).zip(&attached) {
            push(&mut near, number, 30_000, is_attached.then(file));
        }
        let mut received = Vec::new();
        let mut read_all = |far: &mut Channel<OwnedFd>| {
            while let Some((number, _length, fds)) = read(far) {
                assert_eq!(fds.len() == 1, attached[number as usize]);
                received.push(number);
            }
        };
        near.flush().unwrap();
        for _read in 0..reads {
            far.receive().unwrap();
            read_all(&mut far);
            near.flush().unwrap();
        }
        let is_needed = |number: u64| !removed[number as usize];
        near.retain(is_needed);
        near.retain(is_needed);
        let unsent = near.frame_count();
        loop {
            near.flush().unwrap();
            let progress = far.receive().unwrap();
            read_all(&mut far);
            if progress == Received::Drained && !near.has_unsent() {
                break;
            }
        }
        prop_assert!(!far.is_in_frame() && far.descriptors.is_empty());
        prop_assert!(received.is_sorted());
        // Only frames that were sent already, at least in part, arrive although they are removed.
        let total = attached.len() as u64;
        prop_assert!((0..total).all(|number| received.contains(&number) || !is_needed(number)));
        prop_assert!(unsent <= attached.len());
        let last_sent = received.iter().rev().find(|number| !is_needed(**number));
        let first_missing = (0..total).find(|number| !received.contains(number));
        prop_assert!(last_sent.zip(first_missing).is_none_or(|(last, first)| *last < first));
    }

    #[test]
    fn frames_are_decoded_from_pieces_of_any_size(
        lengths in proptest::collection::vec(0_usize..3000, 1..20), cut in 1_usize..5000,
    ) {
        let mut bytes = Vec::new();
        for (length, number) in lengths.iter().zip(0_u64..) {
            encode(&(number, 0_usize), &vec![number as u8; *length], &mut bytes).unwrap();
        }
        let (mut channel, mut received) = (ends().0, Vec::new());
        for piece in bytes.chunks(cut) {
            channel.feed(piece);
            while let Some((_number, length, _none)) = read(&mut channel) {
                received.push(length);
            }
        }
        prop_assert_eq!(received, lengths);
    }
}
