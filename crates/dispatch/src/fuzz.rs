//! Entry point of the fuzz target for the frame decoder.

use crate::body::fits;
use crate::frame::{FrameReader, TaskOrder, WorkerMessage};

/// Decodes bytes as messages of a worker, as messages to a worker, and as parameters.
///
/// Any input must result in frames or an error, never in a panic.
pub fn frames(bytes: &[u8]) {
    let mut inbox = FrameReader::from_worker();
    inbox.feed(bytes);
    while let Ok(Some((message, frame_body))) = inbox.next::<WorkerMessage>() {
        if let WorkerMessage::Finished(answer) = message {
            let _ = frame_body.read(answer.body).map(|body| body.decode::<(String, Vec<u64>)>());
        }
    }
    let mut inbox = FrameReader::from_parent();
    for piece in bytes.chunks(7) {
        inbox.feed(piece);
        while let Ok(Some((order, frame_body))) = inbox.next::<TaskOrder<'_>>() {
            let location = order.body;
            let _ = frame_body.read(location);
        }
    }
    let _ = fits::<(Vec<Option<String>>, (u8, i64), f64)>(bytes);
}
