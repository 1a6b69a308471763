//! The control socket: a Unix socket through which an operator queries and controls the daemon.
//!
//! The control socket is enabled with [`DaemonBuilder::control`](crate::DaemonBuilder::control).
//! The socket is bound at the launch with mode 0600, and only the parent has it open. The parent
//! serves the socket from the start of the daemon's actor until the daemon has stopped, even while
//! the daemon is stopping and while no children can be forked. See [`protocol`] for the messages.
//!
//! The server refuses users other than root and the daemon's user, and limits the number of
//! clients.

mod clients;

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use daemon_core::{LogThrottle, MonotonicTime, Phase};
use daemon_forkserver::now;
use daemon_protocol::{
    ControlCommand, ControlError, ControlErrorKind, ControlMessage, ControlReply, ControlRequest,
    REQUEST_MAX, ResponseBody, VERSION,
};
use daemon_sys::ownfile::OwnFile;
use daemon_sys::socketfile::SocketFile;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use slog::{Logger, info, warn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, FramedRead};

use crate::events::{DaemonEvent, EventStream};
use crate::panics;
use clients::{ClientId, ClientState, Clients, MAX_CLIENTS};

pub use daemon_protocol as protocol;

/// How long a client may be idle, may take to send a line, or may leave its response unread.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The delay between two reads from a client whose requests are ignored.
const DISCARD_INTERVAL: Duration = Duration::from_millis(100);

/// The delay after a client was disconnected to make room for a new one. So a client has more than
/// a second to send its first request, however fast other clients connect.
const REPLACE_INTERVAL: Duration = Duration::from_millis(10);

/// The delay after a failed accept(2), for example if the daemon has no free descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The daemon as the control socket uses it.
pub(crate) trait ControlTarget: Clone + 'static {
    /// Carries out a command.
    async fn carry_out(&self, command: ControlCommand) -> Result<ControlReply, ControlError>;
    /// Returns the events from now on; `None` if the daemon has stopped.
    async fn events(&self) -> Option<EventStream>;
}

/// The control socket of a running daemon.
#[derive(Debug)]
pub(crate) struct ControlServer {
    file: OwnFile,
    serving: JoinHandle<()>,
    /// Replaces the listener.
    listeners: UnboundedSender<UnixListener>,
    clients: ConnectedClients,
    answers: Rc<Answers>,
    log: Logger,
}

/// A control socket before the daemon's actor has started. The runtime already watches the socket.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    file: OwnFile,
    listener: UnixListener,
}

impl ControlSocket {
    /// Watches the socket. If this fails, removes it.
    pub(crate) fn open(socket: SocketFile) -> io::Result<Self> {
        let (listener, file) = socket.into_parts();
        match UnixListener::from_std(listener.into()) {
            Ok(listener) => Ok(ControlSocket { file, listener }),
            Err(error) => {
                // The next launch replaces a socket that cannot be removed.
                let _ = file.remove();
                Err(error)
            }
        }
    }

    /// Closes and removes the socket, because the daemon does not start.
    pub(crate) fn discard(self) {
        // The next launch replaces a socket that cannot be removed.
        let _ = self.file.remove();
    }

    /// Starts to serve clients, in the System of this thread.
    pub(crate) fn serve(self, daemon: impl ControlTarget, log: Logger) -> ControlServer {
        let ControlSocket { file, listener } = self;
        let (clients, answers) = (ConnectedClients::default(), Rc::<Answers>::default());
        let handler = ControlHandler { daemon, answers: answers.clone(), idle_max: IDLE_MAX };
        let (listeners, replaced) = unbounded();
        let serving =
            actix_rt::spawn(accept(listener, replaced, handler, clients.clone(), log.clone()));
        ControlServer { file, serving, listeners, clients, answers, log }
    }
}

impl ControlServer {
    /// Returns the line about the control socket for the output of the message `Peek`.
    pub(crate) fn peek(&self) -> String {
        let clients = self.clients.len();
        format!("Control socket: {}, {clients} clients", self.file.path().display())
    }

    /// Returns the file of the socket.
    pub(crate) fn file(&self) -> &OwnFile {
        &self.file
    }

    /// Makes sure that the path leads to the socket. If the socket was removed, binds a new one.
    /// Connected clients, and those that wait for the former socket, are still served. Returns
    /// whether this was necessary.
    ///
    /// # Errors
    ///
    /// If something else than an abandoned socket has the path, or if the daemon's user may not
    /// create it.
    pub(crate) fn restore(&mut self) -> Result<bool, daemon_sys::Error> {
        if self.file.is_in_place() {
            return Ok(false);
        }
        let path = self.file.path().to_owned();
        let socket = ControlSocket::open(SocketFile::claim(&path, None)?);
        let ControlSocket { file, listener } = socket.map_err(|error| {
            daemon_sys::Error::os(format!("watch socket {}", path.display()), error)
        })?;
        // The task ends only when this server is closed.
        let _ = self.listeners.unbounded_send(listener);
        self.file = file;
        Ok(true)
    }

    /// Completes when no response is in progress and all subscribers have received the last event.
    pub(crate) fn answered(&self) -> impl Future<Output = ()> + 'static {
        let answers = Rc::clone(&self.answers);
        async move { answers.wait().await }
    }

    /// Removes the socket, and closes all connections.
    pub(crate) fn close(self) {
        if let Err(error) = self.file.remove() {
            // The next launch replaces the socket.
            info!(self.log, "cannot remove the control socket"; "error" => %error);
        }
        self.serving.abort();
    }
}

/// The clients, shared by the tasks that serve them. All of them run in one thread.
#[derive(Debug, Clone, Default)]
struct ConnectedClients(Rc<RefCell<Clients<AbortHandle>>>);

impl ConnectedClients {
    fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Records what a client does. The client is removed when this is dropped.
struct ClientGuard {
    id: ClientId,
    clients: ConnectedClients,
}

impl ClientGuard {
    fn set_state(&self, state: ClientState) {
        self.clients.0.borrow_mut().set_state(self.id, state, now());
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.clients.0.borrow_mut().remove(self.id);
    }
}

/// Limits the log records about clients, because a client can connect as often as it likes.
#[derive(Debug, Default)]
struct AcceptLog {
    refused: LogThrottle,
    replaced: LogThrottle,
    failed: LogThrottle,
}

/// What the task that accepts clients waits for.
enum Arrival {
    Client(io::Result<UnixStream>),
    /// Another listener, which replaces the present one.
    Listener(UnixListener),
}

/// Waits for the next client, or for a new listener if no client is waiting.
async fn next_arrival(
    listener: &UnixListener,
    replaced: &mut UnboundedReceiver<UnixListener>,
) -> Arrival {
    poll_fn(|context| {
        if let Poll::Ready(accepted) = listener.poll_accept(context) {
            return Poll::Ready(Arrival::Client(accepted.map(|(stream, _nameless)| stream)));
        }
        match replaced.poll_next_unpin(context) {
            Poll::Ready(Some(listener)) => Poll::Ready(Arrival::Listener(listener)),
            // The server is being closed.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn accept<T: ControlTarget>(
    mut listener: UnixListener,
    mut replaced: UnboundedReceiver<UnixListener>,
    handler: ControlHandler<T>,
    connected: ConnectedClients,
    log: Logger,
) {
    // Dropping this set ends the tasks of all clients.
    let mut tasks = JoinSet::new();
    let mut throttles = AcceptLog::default();
    loop {
        let stream = match next_arrival(&listener, &mut replaced).await {
            Arrival::Client(Ok(stream)) => stream,
            Arrival::Listener(new) => {
                listener = new;
                continue;
            }
            Arrival::Client(Err(error)) => {
                if throttles.failed.should_log(now()) {
                    warn!(log, "cannot accept on the control socket"; "error" => %error);
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        if let Err(fault) = admit(&stream) {
            if throttles.refused.should_log(now()) {
                warn!(log, "client of the control socket refused"; "reason" => %fault);
            }
            // One line fits into the buffer of a new socket, so this write does not have to wait.
            let _ = stream.try_write(&line(ResponseBody::Error(fault)));
            continue;
        }
        let replaced = connected.0.borrow_mut().make_room();
        let is_full = replaced.is_some();
        if let Some(connection) = replaced {
            connection.abort();
            if throttles.replaced.should_log(now()) {
                warn!(
                    log, "client of the control socket disconnected to make room for a new one";
                    "clients" => MAX_CLIENTS
                );
            }
        }
        start(&mut tasks, stream, &handler, &connected, now());
        if is_full {
            tokio::time::sleep(REPLACE_INTERVAL).await;
        }
    }
}

/// Starts to serve a client.
fn start<T: ControlTarget>(
    tasks: &mut JoinSet<()>,
    stream: UnixStream,
    handler: &ControlHandler<T>,
    connected: &ConnectedClients,
    time: MonotonicTime,
) {
    let id = connected.0.borrow_mut().next_id();
    let (handler, client) = (handler.clone(), ClientGuard { id, clients: connected.clone() });
    // A panic closes this client's connection. The hook logs it.
    let connection = tasks.spawn_local(panics::contain(serve(stream, handler, client)).map(drop));
    connected.0.borrow_mut().add(id, connection, time);
}

/// Carries out the commands of clients.
#[derive(Clone)]
struct ControlHandler<T> {
    daemon: T,
    answers: Rc<Answers>,
    /// [`IDLE_MAX`], except in a test.
    idle_max: Duration,
}

/// Counts the responses in progress.
#[derive(Debug, Default)]
struct Answers {
    count: Cell<usize>,
    finished: Notify,
}

impl Answers {
    /// Waits until no response is in progress.
    async fn wait(&self) {
        while self.count.get() > 0 {
            self.finished.notified().await;
        }
    }
}

/// Counts one response until the guard is dropped.
struct CountGuard(Rc<Answers>);

impl CountGuard {
    fn new(answers: &Rc<Answers>) -> Self {
        answers.count.set(answers.count.get() + 1);
        CountGuard(Rc::clone(answers))
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get().saturating_sub(1));
        self.0.finished.notify_waiters();
    }
}

/// Checks whether this client may connect.
///
/// The mode of the socket file keeps other users out already. This check also works if the mode was
/// changed.
fn admit(stream: &UnixStream) -> Result<(), ControlError> {
    let peer = stream.peer_cred().map_err(|error| {
        fault(ControlErrorKind::Failed, format!("cannot determine the user of the client: {error}"))
    })?;
    let uid = peer.uid();
    if uid != 0 && uid != daemon_sys::privileges::effective_uid() {
        return Err(fault(
            ControlErrorKind::Forbidden,
            format!("user {uid} may not control the daemon"),
        ));
    }
    Ok(())
}

/// The connection is closed, or has to be closed.
struct ConnectionClosed;

/// Serves one client until it disconnects.
async fn serve<T: ControlTarget>(
    stream: UnixStream,
    handler: ControlHandler<T>,
    client: ClientGuard,
) {
    let (read, mut write) = stream.into_split();
    let codec = AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), Vec::new(), REQUEST_MAX);
    let mut lines = FramedRead::new(read, codec);
    loop {
        let command = match timeout(handler.idle_max, lines.next()).await {
            Ok(Some(Ok(line))) => parse_request(&line),
            Ok(Some(Err(AnyDelimiterCodecError::MaxChunkLengthExceeded))) => {
                let text = format!("the line is longer than {REQUEST_MAX} bytes");
                let body = ResponseBody::Error(fault(ControlErrorKind::Malformed, text));
                // The connection is closed even if this write fails.
                let _ = write_response(&mut write, body, handler.idle_max).await;
                return;
            }
            // The client has disconnected, or has sent no complete line in time.
            Ok(Some(Err(AnyDelimiterCodecError::Io(_))) | None) | Err(_) => return,
        };
        let answering = CountGuard::new(&handler.answers);
        let written = match command {
            Ok(ControlCommand::Events) => {
                client.set_state(ClientState::Subscribed);
                return send_events(lines.into_inner(), write, handler, answering).await;
            }
            Ok(command) => {
                client.set_state(ClientState::Busy);
                let response = match handler.daemon.carry_out(command).await {
                    Ok(reply) => ResponseBody::Ok(reply),
                    Err(fault) => ResponseBody::Error(fault),
                };
                // A client that does not read its response is as good as idle.
                client.set_state(ClientState::Idle);
                write_response(&mut write, response, handler.idle_max).await
            }
            Err(fault) => {
                write_response(&mut write, ResponseBody::Error(fault), handler.idle_max).await
            }
        };
        drop(answering);
        if written.is_err() {
            return;
        }
    }
}

/// Sends events until the daemon has stopped or the client disconnects. A client that does not read
/// its events does not delay other clients.
async fn send_events<T: ControlTarget>(
    mut read: OwnedReadHalf,
    mut write: OwnedWriteHalf,
    handler: ControlHandler<T>,
    _answering: CountGuard,
) {
    let listening = ResponseBody::Ok(ControlReply::Listening);
    if write_response(&mut write, listening, handler.idle_max).await.is_err() {
        return;
    }
    let Some(mut events) = handler.daemon.events().await else { return };
    let sending = std::pin::pin!(async {
        while let Some(event) = events.next().await {
            let is_last = matches!(event, DaemonEvent::Phase { phase: Phase::Stopped });
            if write.write_all(&line(ResponseBody::Event(event))).await.is_err() || is_last {
                return;
            }
        }
    });
    let reading = std::pin::pin!(discard(&mut read));
    match select(sending, reading).await {
        Either::Left(_) | Either::Right(_) => {}
    }
}

/// Discards what a client sends, until it disconnects. Reads slowly, so that a client that sends
/// without end does not occupy the daemon.
async fn discard(read: &mut OwnedReadHalf) {
    let mut bytes = [0; REQUEST_MAX];
    while let Ok(1..) = read.read(&mut bytes).await {
        sleep(DISCARD_INTERVAL).await;
    }
}

async fn write_response(
    write: &mut OwnedWriteHalf,
    body: ResponseBody,
    limit: Duration,
) -> Result<(), ConnectionClosed> {
    match timeout(limit, write.write_all(&line(body))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(ConnectionClosed),
    }
}

/// Returns a message as a line of JSON.
fn line(body: ResponseBody) -> Vec<u8> {
    let message = ControlMessage::new(body);
    let mut line = serde_json::to_vec(&message).unwrap_or_else(|error| {
        // Serializing these types never fails. If it did, the client would receive the error.
        let error = fault(ControlErrorKind::Failed, error.to_string());
        serde_json::to_vec(&ControlMessage::new(ResponseBody::Error(error))).unwrap_or_default()
    });
    line.push(b'\n');
    line
}

/// Parses a request line. The version is checked first, because a request of another version of the
/// protocol need not be valid in this version.
pub(crate) fn parse_request(line: &[u8]) -> Result<ControlCommand, ControlError> {
    let malformed = |reason: &dyn Display| {
        fault(ControlErrorKind::Malformed, format!("the line is not a request: {reason}"))
    };
    let value: serde_json::Value =
        serde_json::from_slice(line).map_err(|error| malformed(&error))?;
    let version = value.get("version").ok_or_else(|| malformed(&"it has no version"))?;
    if version.as_u64() != Some(u64::from(VERSION)) {
        let text = format!(
            "the daemon uses version {VERSION} of the protocol, the client version {version}"
        );
        return Err(fault(ControlErrorKind::Version, text));
    }
    let request: ControlRequest =
        serde_json::from_value(value).map_err(|error| malformed(&error))?;
    Ok(request.command)
}

pub(crate) fn fault(kind: ControlErrorKind, text: impl Into<String>) -> ControlError {
    ControlError { kind, text: text.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_of_the_daemons_protocol_version_is_parsed() {
        let parsed = parse_request(br#"{"version":1,"command":"resize","to":8}"#);
        assert_eq!(parsed, Ok(ControlCommand::Resize { to: 8 }));
        assert_eq!(
            parse_request(br#"{"version":1,"command":"stop","added-later":true}"#),
            Ok(ControlCommand::Stop { now: false })
        );
    }

    #[test]
    fn the_error_for_a_request_of_another_protocol_version_contains_both_versions() {
        let fault = parse_request(br#"{"version":7,"command":"levitate"}"#).unwrap_err();
        assert_eq!(fault.kind, ControlErrorKind::Version);
        assert_eq!(fault.text, "the daemon uses version 1 of the protocol, the client version 7");
    }

    #[test]
    fn lines_that_are_not_requests_are_malformed() {
        let lines = [
            "",
            "hello",
            "[]",
            "{}",
            "{\"version\":1}",
            "{\"version\":1,\"command\":\"levitate\"}",
            "{\"version\":1,\"command\":\"resize\",\"to\":-1}",
            "{\"version\":1,\"command\":\"kill\",\"pid\":\"1\"}",
        ];
        for line in lines {
            let fault = parse_request(line.as_bytes()).unwrap_err();
            assert_eq!(fault.kind, ControlErrorKind::Malformed, "{line:?}: {fault}");
        }
    }

    /// Replies with more than a socket can hold.
    #[derive(Clone)]
    struct LongReplies;

    impl ControlTarget for LongReplies {
        async fn carry_out(&self, _: ControlCommand) -> Result<ControlReply, ControlError> {
            Ok(ControlReply::Peek { text: "x".repeat(8 << 20) })
        }

        async fn events(&self) -> Option<EventStream> {
            None
        }
    }

    #[test]
    fn clients_that_send_no_complete_line_or_do_not_read_their_response_are_disconnected() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            for sent in ["", "{\"version\":1,", "{\"version\":1,\"command\":\"status\"}\n"] {
                let (mut client, stream) = UnixStream::pair().expect("connected");
                client.write_all(sent.as_bytes()).await.expect("sent");
                let idle_max = Duration::from_millis(50);
                let handler =
                    ControlHandler { daemon: LongReplies, answers: Rc::default(), idle_max };
                let guard = ClientGuard {
                    id: Clients::<()>::default().next_id(),
                    clients: ConnectedClients::default(),
                };
                let begun = std::time::Instant::now();
                let limit = Duration::from_secs(30);
                timeout(limit, serve(stream, handler, guard)).await.expect(sent);
                assert!(begun.elapsed() >= idle_max, "{sent}");
            }
        });
    }

    proptest! {
        #[test]
        fn parsing_any_bytes_returns_a_command_or_an_error(bytes: Vec<u8>) {
            let _answered = parse_request(&bytes);
        }
    }
}
