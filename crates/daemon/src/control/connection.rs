//! One client: its lines in, the daemon's lines out.

use std::time::Duration;

use daemon_core::Phase;
use daemon_forkserver::Transfer;
use futures::future::{Either, select};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::commands::{Desk, fault, parse};
use super::feed::Feed;
use super::lines::{self, Read};
use super::listener::{Enough, Listener};
use super::protocol::{ASK_MAX, Answer, Command, Event, FaultKind, Outcome, Reply};
use super::server::Present;

/// So long may a client say nothing, be in the middle of a line, or not read its answer.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The connection is no more, or is to be closed.
struct Closed;

/// Serves one client until it closes.
pub(super) async fn serve<R: Transfer + Send>(stream: UnixStream, desk: Desk<R>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let command = match lines::next_within(&mut read, ASK_MAX, IDLE_MAX).await {
            Read::End => return,
            Read::TooLong => {
                let text = format!("the line is longer than {ASK_MAX} bytes");
                let outcome = Outcome::Error(fault(FaultKind::Malformed, text));
                // It is closed whether or not that arrives.
                let _ = say(&mut write, outcome).await;
                return;
            }
            Read::Line(line) => parse(&line),
        };
        let answering = Present::come(&desk.answers);
        let said = match command {
            Ok(Command::Events) => return tell_events(read, write, desk, answering).await,
            Ok(command) => say(&mut write, desk.answer(command).await).await,
            Err(fault) => say(&mut write, Outcome::Error(fault)).await,
        };
        drop(answering);
        if said.is_err() {
            return;
        }
    }
}

/// Tells events until the daemon has stopped or the client closes. One that does not read keeps only
/// itself waiting.
async fn tell_events<R: Transfer + Send>(
    mut read: BufReader<OwnedReadHalf>,
    mut write: OwnedWriteHalf,
    desk: Desk<R>,
    _answering: Present,
) {
    if say(&mut write, Outcome::Ok(Reply::Listening)).await.is_err() {
        return;
    }
    let feed = Feed::default();
    let listener = Listener::start(desk.daemon, feed.clone());
    let telling = std::pin::pin!(async {
        loop {
            let event = feed.next().await;
            let is_last = matches!(event, Event::Phase { phase: Phase::Stopped });
            if write.write_all(&line(Outcome::Event(event))).await.is_err() || is_last {
                return;
            }
        }
    });
    let hearing = std::pin::pin!(async {
        // Nothing more is asked: what comes is not looked at.
        while let Read::Line(_) | Read::TooLong = lines::next(&mut read, ASK_MAX).await {}
    });
    match select(telling, hearing).await {
        Either::Left(_) | Either::Right(_) => listener.do_send(Enough),
    }
}

async fn say(write: &mut OwnedWriteHalf, outcome: Outcome) -> Result<(), Closed> {
    match timeout(IDLE_MAX, write.write_all(&line(outcome))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Closed),
    }
}

/// An answer as it is sent.
pub(super) fn line(outcome: Outcome) -> Vec<u8> {
    let answer = Answer::new(outcome);
    let mut line = serde_json::to_vec(&answer).unwrap_or_else(|error| {
        // Nothing that is said here can fail to be written, but who asks shall hear of it.
        let why = fault(FaultKind::Failed, error.to_string());
        serde_json::to_vec(&Answer::new(Outcome::Error(why))).unwrap_or_default()
    });
    line.push(b'\n');
    line
}
