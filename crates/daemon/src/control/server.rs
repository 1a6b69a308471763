//! Who may come in, and how many at a time.

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

use super::commands::{ChildState, fault};
use super::connection::{line, serve};
use super::protocol::{ControlError, ControlErrorKind, ResponseBody};
use crate::parent::DaemonActor;

/// So many clients at a time.
const MAX_CLIENTS: usize = 128;

/// How long a daemon that is short of descriptors waits before it accepts again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The control socket of a daemon that runs.
#[derive(Debug)]
pub(crate) struct ControlServer {
    path: SocketPath,
    serving: JoinHandle<()>,
    clients: Rc<Cell<usize>>,
    answers: Rc<Cell<usize>>,
    log: Logger,
}

/// A socket that the runtime watches already, before there is anybody to answer.
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

    /// Begins to answer, in the System of this thread.
    pub(crate) fn answer<R: Transfer + Send>(
        self,
        daemon: Addr<DaemonActor<R>>,
        log: Logger,
    ) -> ControlServer {
        let ControlSocket { path, listener } = self;
        let (clients, answers) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let handler = ChildState { daemon, answers: Rc::clone(&answers) };
        let serving = actix_rt::spawn(accept(listener, handler, Rc::clone(&clients), log.clone()));
        ControlServer { path, serving, clients, answers, log }
    }
}

impl ControlServer {
    /// A line of a peek.
    pub(crate) fn peek(&self) -> String {
        let clients = self.clients.get();
        format!("Control socket: {}, {clients} clients", self.path.path().display())
    }

    /// Whether a client's answer is under way, or one that listens has not heard the last event.
    pub(crate) fn is_answering(&self) -> bool {
        self.answers.get() > 0
    }

    /// Answers no more: all connections are closed, and the socket is removed from its path.
    pub(crate) fn close(self) {
        self.serving.abort();
        if let Err(error) = self.path.release() {
            // The next start replaces it.
            info!(self.log, "the control socket stays: {}", error);
        }
    }
}

async fn accept<R: Transfer + Send>(
    listener: UnixListener,
    handler: ChildState<R>,
    present: Rc<Cell<usize>>,
    log: Logger,
) {
    // Dropped, it ends them all.
    let mut clients = JoinSet::new();
    let mut is_error_logged = false;
    loop {
        match listener.accept().await {
            Ok((stream, _nameless)) => {
                is_error_logged = false;
                while clients.try_join_next().is_some() {}
                match admit(&stream, present.get()) {
                    Ok(()) => {
                        let (handler, present) = (handler.clone(), CountGuard::new(&present));
                        clients.spawn_local(async move {
                            serve(stream, handler).await;
                            drop(present);
                        });
                    }
                    Err(fault) => {
                        warn!(log, "on the control socket: {}", fault);
                        // One line fits into a new socket; whether it is read is not waited for.
                        let _ = stream.try_write(&line(ResponseBody::Error(fault)));
                    }
                }
            }
            Err(error) => {
                if !is_error_logged {
                    warn!(log, "cannot accept on the control socket: {}", error);
                    is_error_logged = true;
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// A client, or its answer, that is counted until it leaves, however that happens.
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

/// Whether this client may come in. The mode of the socket keeps others out already; this counts
/// also where somebody has changed it.
fn admit(stream: &UnixStream, clients: usize) -> Result<(), ControlError> {
    let peer = stream.peer_cred().map_err(|error| {
        fault(ControlErrorKind::Failed, format!("cannot find out whose process it is: {error}"))
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
