//! Entry points of the fuzz targets for the frame decoder, and the frames of a hostile worker.

use std::time::Duration;

use daemon_forkserver::channel::{self, Channel};
use daemon_sys::link;

use crate::body::fits;
use crate::frame::{
    ANSWER_LIMITS, BodyLocation, CompletionKind, FinishedTask, LinkChannel, ORDER_LIMITS,
    TaskOrder, WorkerMessage,
};
use crate::worker_output::{RecordSplitter, skip_lines};

/// A frame from a worker to the dispatcher.
#[derive(Debug, Clone, Copy)]
pub enum WorkerFrame {
    /// The worker is ready.
    Ready,
    /// The worker starts no further task.
    Leaving,
    /// The worker has finished a task, after the longest possible time.
    Finished {
        /// The number of the task among the tasks of the worker's slot.
        turn: u64,
        /// The id of the request.
        id: u64,
        /// The number of the attempt.
        attempt: u32,
        /// The length of the result, if the result is in a memory file.
        shared: Option<u64>,
    },
}

impl WorkerFrame {
    /// Returns the bytes of the frame, without the descriptor of a memory file.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let message = match self {
            WorkerFrame::Ready => WorkerMessage::Ready,
            WorkerFrame::Leaving => WorkerMessage::Leaving,
            WorkerFrame::Finished { turn, id, attempt, shared } => {
                WorkerMessage::Finished(FinishedTask {
                    turn,
                    id,
                    attempt,
                    took: Duration::MAX,
                    kind: CompletionKind::Value,
                    body: shared.map_or(BodyLocation::InFrame, BodyLocation::Shared),
                })
            }
        };
        let mut bytes = Vec::new();
        // Encoding to memory does not fail.
        let _ = channel::encode(&message, &[], &mut bytes);
        bytes
    }
}

/// Decodes bytes as messages of a worker, as messages to a worker, and as parameters.
///
/// Any input must result in frames or an error, never in a panic.
pub fn frames(bytes: &[u8]) {
    let Ok((one, other)) = link::pair() else { return };
    let mut from_worker: LinkChannel = Channel::new(one, ANSWER_LIMITS);
    from_worker.feed(bytes);
    while let Ok(Some((message, rest))) = from_worker.next::<WorkerMessage>() {
        if let WorkerMessage::Finished(answer) = message {
            let _ = answer.body.read(rest).map(|body| body.decode::<(String, Vec<u64>)>());
        }
    }
    let mut from_parent: LinkChannel = Channel::new(other, ORDER_LIMITS);
    for piece in bytes.chunks(7) {
        from_parent.feed(piece);
        while let Ok(Some((order, rest))) = from_parent.next::<TaskOrder<'_>>() {
            let _ = order.body.read(rest);
        }
    }
    let _ = fits::<(Vec<Option<String>>, (u8, i64), f64)>(bytes);
}

/// Splits bytes into records, as the output of workers, and skips lines.
pub fn worker_output(bytes: &[u8]) {
    let mut splitter = RecordSplitter::default();
    let check = |record: &[u8]| assert!(!record.contains(&b'\n'), "one line: {record:?}");
    for mut piece in bytes.chunks(11) {
        while let Some(record) = splitter.next_record(&mut piece) {
            check(record);
        }
    }
    if let Some(record) = splitter.last_record() {
        check(record);
    }
    let mut rest = bytes;
    let (lines, skipped) = skip_lines(&mut rest);
    assert!(!rest.contains(&b'\n') && lines <= skipped, "{lines} lines, {skipped} bytes");
}

#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;

#[cfg(test)]
mod tests {
    use super::fuzzing::decodes_any_bytes;

    #[test]
    fn frames_of_workers_and_of_the_dispatcher_are_decoded_or_refused() {
        decodes_any_bytes("frames", super::frames);
    }

    #[test]
    fn output_of_workers_is_split_into_lines() {
        decodes_any_bytes("worker_output", super::worker_output);
    }
}
