//! One client: its lines in, the daemon's lines out.

use std::time::Duration;

use daemon_core::Phase;
use daemon_forkserver::Transfer;
use futures::future::{Either, select};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::commands::{ChildState, fault, parse};
use super::lines::{self, LineRead};
use super::listener::{EventListener, Unsubscribe};
use super::protocol::{
    ControlCommand, ControlErrorKind, ControlEvent, ControlMessage, ControlReply, REQUEST_MAX,
    ResponseBody,
};
use super::queue::EventQueue;
use super::server::CountGuard;

/// So long may a client say nothing, be in the middle of a line, or not read its answer.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The connection is no more, or is to be closed.
struct ConnectionClosed;

/// Serves one client until it closes.
pub(super) async fn serve<R: Transfer + Send>(stream: UnixStream, handler: ChildState<R>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let command = match lines::next_within(&mut read, REQUEST_MAX, IDLE_MAX).await {
            LineRead::End => return,
            LineRead::TooLong => {
                let text = format!("the line is longer than {REQUEST_MAX} bytes");
                let outcome = ResponseBody::Error(fault(ControlErrorKind::Malformed, text));
                // It is closed whether or not that arrives.
                let _ = write_response(&mut write, outcome).await;
                return;
            }
            LineRead::Line(line) => parse(&line),
        };
        let answering = CountGuard::new(&handler.answers);
        let said = match command {
            Ok(ControlCommand::Events) => {
                return send_events(read, write, handler, answering).await;
            }
            Ok(command) => write_response(&mut write, handler.answer(command).await).await,
            Err(fault) => write_response(&mut write, ResponseBody::Error(fault)).await,
        };
        drop(answering);
        if said.is_err() {
            return;
        }
    }
}

/// Tells events until the daemon has stopped or the client closes. One that does not read keeps only
/// itself waiting.
async fn send_events<R: Transfer + Send>(
    mut read: BufReader<OwnedReadHalf>,
    mut write: OwnedWriteHalf,
    handler: ChildState<R>,
    _answering: CountGuard,
) {
    if write_response(&mut write, ResponseBody::Ok(ControlReply::Listening)).await.is_err() {
        return;
    }
    let queue = EventQueue::default();
    let listener = EventListener::start(handler.daemon, queue.clone());
    let telling = std::pin::pin!(async {
        loop {
            let event = queue.next().await;
            let is_last = matches!(event, ControlEvent::Phase { phase: Phase::Stopped });
            if write.write_all(&line(ResponseBody::Event(event))).await.is_err() || is_last {
                return;
            }
        }
    });
    let hearing = std::pin::pin!(async {
        // Nothing more is asked: what comes is not looked at.
        while let LineRead::Line(_) | LineRead::TooLong = lines::next(&mut read, REQUEST_MAX).await
        {
        }
    });
    match select(telling, hearing).await {
        Either::Left(_) | Either::Right(_) => listener.do_send(Unsubscribe),
    }
}

async fn write_response(
    write: &mut OwnedWriteHalf,
    outcome: ResponseBody,
) -> Result<(), ConnectionClosed> {
    match timeout(IDLE_MAX, write.write_all(&line(outcome))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(ConnectionClosed),
    }
}

/// An answer as it is sent.
pub(super) fn line(outcome: ResponseBody) -> Vec<u8> {
    let answer = ControlMessage::new(outcome);
    let mut line = serde_json::to_vec(&answer).unwrap_or_else(|error| {
        // Nothing that is said here can fail to be written, but who asks shall hear of it.
        let why = fault(ControlErrorKind::Failed, error.to_string());
        serde_json::to_vec(&ControlMessage::new(ResponseBody::Error(why))).unwrap_or_default()
    });
    line.push(b'\n');
    line
}
