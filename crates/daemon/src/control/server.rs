//! Accepts clients on the control socket. Refuses users other than root and the daemon's user, and
//! limits the number of clients.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::Addr;
use daemon_forkserver::Transfer;
use daemon_sys::socketfile::{SocketFile, SocketPath};
use slog::{Logger, info, warn};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::commands::{ControlHandler, fault};
use super::connection::{line, serve};
use super::protocol::{ControlError, ControlErrorKind, ResponseBody};
use crate::parent::DaemonActor;

/// The maximum number of clients at a time.
const MAX_CLIENTS: usize = 128;

/// The delay after a failed accept(2), for example if the daemon has no free descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The control socket of a running daemon.
#[derive(Debug)]
pub(crate) struct ControlServer {
    path: SocketPath,
    serving: JoinHandle<()>,
    clients: Rc<Cell<usize>>,
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
        let (clients, answers) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let handler = ControlHandler { daemon, answers: Rc::clone(&answers) };
        let serving = actix_rt::spawn(accept(listener, handler, Rc::clone(&clients), log.clone()));
        ControlServer { path, serving, clients, answers, log }
    }
}

impl ControlServer {
    /// Returns the line about the control socket for the output of the message `Peek`.
    pub(crate) fn peek(&self) -> String {
        let clients = self.clients.get();
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

async fn accept<R: Transfer + Send>(
    listener: UnixListener,
    handler: ControlHandler<R>,
    count: Rc<Cell<usize>>,
    log: Logger,
) {
    // Dropping this set ends the tasks of all clients.
    let mut clients = JoinSet::new();
    let mut is_error_logged = false;
    loop {
        match listener.accept().await {
            Ok((stream, _nameless)) => {
                is_error_logged = false;
                while clients.try_join_next().is_some() {}
                match admit(&stream, count.get()) {
                    Ok(()) => {
                        let (handler, guard) = (handler.clone(), CountGuard::new(&count));
                        clients.spawn_local(async move {
                            serve(stream, handler).await;
                            drop(guard);
                        });
                    }
                    Err(fault) => {
                        warn!(log, "client of the control socket refused"; "reason" => %fault);
                        // One line fits into the buffer of a new socket, so this write does not
                        // have to wait.
                        let _ = stream.try_write(&line(ResponseBody::Error(fault)));
                    }
                }
            }
            Err(error) => {
                if !is_error_logged {
                    warn!(log, "cannot accept on the control socket"; "error" => %error);
                    is_error_logged = true;
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Counts one client or one response until the guard is dropped.
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
fn admit(stream: &UnixStream, clients: usize) -> Result<(), ControlError> {
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
    if clients >= MAX_CLIENTS {
        let text = format!("{MAX_CLIENTS} clients are connected already");
        return Err(fault(ControlErrorKind::Refused, text));
    }
    Ok(())
}
