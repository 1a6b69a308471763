//! A daemon without children: one process serves all clients.
//!
//! Type
//!
//! ```sh
//! cargo run --release --example nonforking -- 7073
//! nc 127.0.0.1 7073     # in another terminal
//! ```
//!
//! The server sends back what you type. The daemon logs to its terminal. On USR2 it logs its
//! internal state. TERM or Ctrl-C stops the daemon when the open connections have ended, at the
//! latest after the grace period.

use std::cell::Cell;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, ResponseFuture};
use actix_daemon::{
    ChildActor, Daemon, DaemonActor, DaemonChild, DaemonShutdown, Program, Solo, Subscribe, panics,
};
use examples::echo;
use tokio::sync::watch;

/// How long to wait before the next attempt after a connection could not be accepted.
const RETRY: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = examples::listen()?;
    Daemon::builder().alias("nonforking").model(Solo).launch(Nonforking { listener })?.run()?;
    Ok(())
}

struct Nonforking {
    listener: TcpListener,
}

impl Program for Nonforking {
    type Request = ();

    fn parent(self, daemon: Addr<DaemonActor<()>>) {
        let server = EchoServer {
            listener: Some(self.listener),
            stop: watch::channel(StopRequest::No).0,
            open: Rc::default(),
            accepting: Rc::new(Cell::new(true)),
        };
        let server = server.start();
        daemon.do_send(Subscribe::<DaemonShutdown>::new("server", server));
    }

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        unreachable!("a daemon without a forking model has no children")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopRequest {
    No,
    Yes,
}

/// Echoes on all its connections. When the daemon asks it to stop, it accepts those that wait in
/// the queue, and answers the daemon after the last open connection has ended.
struct EchoServer {
    listener: Option<TcpListener>,
    stop: watch::Sender<StopRequest>,
    /// The number of open connections.
    open: Rc<Cell<usize>>,
    accepting: Rc<Cell<bool>>,
}

impl Actor for EchoServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        listener.set_nonblocking(true).expect("cannot make the listener nonblocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("not inside a runtime");
        let (mut stop, open) = (self.stop.subscribe(), Rc::clone(&self.open));
        let accepting = Rc::clone(&self.accepting);
        ctx.spawn(actix::fut::wrap_future(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _changed = stop.changed() => break,
                };
                match accepted {
                    Ok((stream, _peer)) => serve(stream, Rc::clone(&open)),
                    // For example, no descriptor is free. The client waits in the queue.
                    Err(_shortage) => tokio::time::sleep(RETRY).await,
                }
            }
            // Also serve the clients that are in the queue already.
            while let Ok(Ok((stream, _peer))) =
                tokio::time::timeout(Duration::ZERO, listener.accept()).await
            {
                serve(stream, Rc::clone(&open));
            }
            accepting.set(false);
        }));
    }
}

fn serve(mut stream: tokio::net::TcpStream, open: Rc<Cell<usize>>) {
    open.set(open.get() + 1);
    actix_rt::spawn(async move {
        // Ignore errors of the client. A panic closes this connection only, and is logged.
        let _ = panics::contain(echo(&mut stream)).await;
        open.set(open.get() - 1);
    });
}

impl Handler<DaemonShutdown> for EchoServer {
    type Result = ResponseFuture<()>;

    /// The daemon waits until this handler has answered, but not longer than the grace period.
    fn handle(&mut self, _shutdown: DaemonShutdown, _ctx: &mut Context<Self>) -> Self::Result {
        self.stop.send_replace(StopRequest::Yes);
        let (open, accepting) = (Rc::clone(&self.open), Rc::clone(&self.accepting));
        Box::pin(async move {
            while accepting.get() || open.get() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    }
}
