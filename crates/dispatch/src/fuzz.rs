//! The decoder of frames, opened to the fuzz target: any bytes are frames or an error.

use crate::body::fits;
use crate::frame::{FrameReader, TaskOrder, WorkerMessage};

/// Reads bytes as what a worker says, as what it is told, and as parameters.
pub fn frames(bytes: &[u8]) {
    let mut inbox = FrameReader::default();
    inbox.feed(bytes);
    while let Ok(Some((word, rest))) = inbox.next::<WorkerMessage>() {
        if let WorkerMessage::Finished(answer) = word {
            let _ = rest.body(answer.body).map(|body| body.decode::<(String, Vec<u64>)>());
        }
    }
    let mut inbox = FrameReader::default();
    for piece in bytes.chunks(7) {
        inbox.feed(piece);
        while let Ok(Some((order, rest))) = inbox.next::<TaskOrder<'_>>() {
            let place = order.body;
            let _ = rest.body(place);
        }
    }
    let _ = fits::<(Vec<Option<String>>, (u8, i64), f64)>(bytes);
}
