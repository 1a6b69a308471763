//! Serves the connection of one client of the control socket.

use std::time::Duration;

use daemon_core::Phase;
use daemon_forkserver::Transfer;
use futures::future::{Either, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

use super::clients::ClientState;
use super::commands::{ControlHandler, fault, parse};
use super::lines::{self, LineRead};
use super::listener::{EventListener, Unsubscribe};
use super::protocol::{
    ControlCommand, ControlErrorKind, ControlMessage, ControlReply, DaemonEvent, REQUEST_MAX,
    ResponseBody,
};
use super::queue::EventQueue;
use super::server::{ClientGuard, CountGuard};

/// How long a client may be idle, may take to send a line, or may leave its response unread.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The delay between two reads from a client whose requests are ignored.
const DISCARD_INTERVAL: Duration = Duration::from_millis(100);

/// The connection is closed, or has to be closed.
struct ConnectionClosed;

/// Serves one client until it disconnects.
pub(super) async fn serve<R: Transfer + Send>(
    stream: UnixStream,
    handler: ControlHandler<R>,
    client: ClientGuard,
) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let command = match lines::next_within(&mut read, REQUEST_MAX, IDLE_MAX).await {
            LineRead::End => return,
            LineRead::TooLong => {
                let text = format!("the line is longer than {REQUEST_MAX} bytes");
                let body = ResponseBody::Error(fault(ControlErrorKind::Malformed, text));
                // The connection is closed even if this write fails.
                let _ = write_response(&mut write, body).await;
                return;
            }
            LineRead::Line(line) => parse(&line),
        };
        let answering = CountGuard::new(&handler.answers);
        let written = match command {
            Ok(ControlCommand::Events) => {
                client.set_state(ClientState::Subscribed);
                return send_events(read, write, handler, answering).await;
            }
            Ok(command) => {
                client.set_state(ClientState::Busy);
                let response = handler.answer(command).await;
                // A client that does not read its response is as good as idle.
                client.set_state(ClientState::Idle);
                write_response(&mut write, response).await
            }
            Err(fault) => write_response(&mut write, ResponseBody::Error(fault)).await,
        };
        drop(answering);
        if written.is_err() {
            return;
        }
    }
}

/// Sends events until the daemon has stopped or the client disconnects. A client that does not read
/// its events does not delay other clients.
async fn send_events<R: Transfer + Send>(
    mut read: BufReader<OwnedReadHalf>,
    mut write: OwnedWriteHalf,
    handler: ControlHandler<R>,
    _answering: CountGuard,
) {
    if write_response(&mut write, ResponseBody::Ok(ControlReply::Listening)).await.is_err() {
        return;
    }
    let queue = EventQueue::default();
    let listener = EventListener::start(handler.daemon, queue.clone());
    let sending = std::pin::pin!(async {
        loop {
            let event = queue.next().await;
            let is_last = matches!(event, DaemonEvent::Phase { phase: Phase::Stopped });
            if write.write_all(&line(ResponseBody::Event(event))).await.is_err() || is_last {
                return;
            }
        }
    });
    let reading = std::pin::pin!(discard(&mut read));
    match select(sending, reading).await {
        Either::Left(_) | Either::Right(_) => listener.do_send(Unsubscribe),
    }
}

/// Discards what a client sends, until it disconnects. Reads slowly, so that a client that sends
/// without end does not occupy the daemon.
async fn discard(read: &mut BufReader<OwnedReadHalf>) {
    let mut bytes = [0; REQUEST_MAX];
    while let Ok(1..) = read.read(&mut bytes).await {
        sleep(DISCARD_INTERVAL).await;
    }
}

async fn write_response(
    write: &mut OwnedWriteHalf,
    body: ResponseBody,
) -> Result<(), ConnectionClosed> {
    match timeout(IDLE_MAX, write.write_all(&line(body))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(ConnectionClosed),
    }
}

/// Returns a message as a line of JSON.
pub(super) fn line(body: ResponseBody) -> Vec<u8> {
    let message = ControlMessage::new(body);
    let mut line = serde_json::to_vec(&message).unwrap_or_else(|error| {
        // Serializing these types never fails. If it did, the client would receive the error.
        let error = fault(ControlErrorKind::Failed, error.to_string());
        serde_json::to_vec(&ControlMessage::new(ResponseBody::Error(error))).unwrap_or_default()
    });
    line.push(b'\n');
    line
}
