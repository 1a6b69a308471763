//! Accepts clients on the control socket. Refuses users other than root and the daemon's user, and
//! limits the number of clients.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::Addr;
use daemon_core::{LogThrottle, MonotonicTime};
use daemon_forkserver::{Transfer, now};
use daemon_sys::socketfile::{SocketFile, SocketPath};
use slog::{Logger, info, warn};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::clients::{ClientId, ClientState, Clients, MAX_CLIENTS};
use super::commands::{ControlHandler, fault};
use super::connection::{line, serve};
use super::protocol::{ControlError, ControlErrorKind, ResponseBody};
use crate::parent::DaemonActor;

/// The delay after a client was disconnected to make room for a new one. So a client has more than
/// a second to send its first request, however fast other clients connect.
const REPLACE_INTERVAL: Duration = Duration::from_millis(10);

/// The delay after a failed accept(2), for example if the daemon has no free descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The control socket of a running daemon.
#[derive(Debug)]
pub(crate) struct ControlServer {
    path: SocketPath,
    serving: JoinHandle<()>,
    clients: ConnectedClients,
    answers: Rc<Cell<usize>>,
    log: Logger,
}

/// A control socket before the daemon's actor has started. The runtime already watches the socket.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: SocketPath,
    listener: UnixListener,
}

impl ControlSocket {
    pub(crate) fn open(socket: SocketFile) -> io::Result<Self> {
        let (listener, path) = socket.into_parts();
        Ok(ControlSocket { path, listener: UnixListener::from_std(listener.into())? })
    }

    /// Starts to serve clients, in the System of this thread.
    pub(crate) fn serve<R: Transfer + Send>(
        self,
        daemon: Addr<DaemonActor<R>>,
        log: Logger,
    ) -> ControlServer {
        let ControlSocket { path, listener } = self;
        let (clients, answers) = (ConnectedClients::default(), Rc::new(Cell::new(0)));
        let handler = ControlHandler { daemon, answers: Rc::clone(&answers) };
        let serving = actix_rt::spawn(accept(listener, handler, clients.clone(), log.clone()));
        ControlServer { path, serving, clients, answers, log }
    }
}

impl ControlServer {
    /// Returns the line about the control socket for the output of the message `Peek`.
    pub(crate) fn peek(&self) -> String {
        let clients = self.clients.len();
        format!("Control socket: {}, {clients} clients", self.path.path().display())
    }

    /// Returns whether a response is in progress, or a subscriber has not received the last event.
    pub(crate) fn is_answering(&self) -> bool {
        self.answers.get() > 0
    }

    /// Closes all connections, and removes the socket.
    pub(crate) fn close(self) {
        self.serving.abort();
        if let Err(error) = self.path.release() {
            // The next launch replaces the socket.
            info!(self.log, "cannot remove the control socket"; "error" => %error);
        }
    }
}

/// The clients, shared by the tasks that serve them. All of them run in one thread.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectedClients(Rc<RefCell<Clients<AbortHandle>>>);

impl ConnectedClients {
    fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Records what a client does. The client is removed when this is dropped.
pub(super) struct ClientGuard {
    id: ClientId,
    clients: ConnectedClients,
}

impl ClientGuard {
    pub(super) fn set_state(&self, state: ClientState) {
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

async fn accept<R: Transfer + Send>(
    listener: UnixListener,
    handler: ControlHandler<R>,
    connected: ConnectedClients,
    log: Logger,
) {
    // Dropping this set ends the tasks of all clients.
    let mut tasks = JoinSet::new();
    let mut throttles = AcceptLog::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _nameless)) => stream,
            Err(error) => {
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
fn start<R: Transfer + Send>(
    tasks: &mut JoinSet<()>,
    stream: UnixStream,
    handler: &ControlHandler<R>,
    connected: &ConnectedClients,
    time: MonotonicTime,
) {
    let id = connected.0.borrow_mut().next_id();
    let (handler, client) = (handler.clone(), ClientGuard { id, clients: connected.clone() });
    let connection = tasks.spawn_local(serve(stream, handler, client));
    connected.0.borrow_mut().add(id, connection, time);
}

/// Counts one response until the guard is dropped.
pub(super) struct CountGuard(Rc<Cell<usize>>);

impl CountGuard {
    pub(super) fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        CountGuard(Rc::clone(count))
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
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
