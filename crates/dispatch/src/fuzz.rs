//! The decoder of frames, opened to the fuzz target: any bytes are frames or an error.

use crate::body::fits;
use crate::frame::{FrameReader, TaskOrder, WorkerMessage};

/// Reads bytes as what a worker says, as what it is told, and as parameters.
pub fn frames(bytes: &[u8]) {
    let mut inbox = FrameReader::default();
    inbox.feed(bytes);
    while let Ok(Some((message, frame_body))) = inbox.next::<WorkerMessage>() {
        if let WorkerMessage::Finished(answer) = message {
            let _ = frame_body.read(answer.body).map(|body| body.decode::<(String, Vec<u64>)>());
        }
    }
    let mut inbox = FrameReader::default();
    for piece in bytes.chunks(7) {
        inbox.feed(piece);
        while let Ok(Some((order, frame_body))) = inbox.next::<TaskOrder<'_>>() {
            let place = order.body;
            let _ = frame_body.read(place);
        }
    }
    let _ = fits::<(Vec<Option<String>>, (u8, i64), f64)>(bytes);
}
