//! A daemon without children: the housework alone, around a server of one process.
//!
//! Type
//!
//! ```sh
//! cargo run --release --example nonforking -- 7073
//! nc 127.0.0.1 7073
//! ```
//!
//! What you type comes back. The daemon logs to its terminal; `kill -USR2` makes it tell what is
//! inside, `kill` or Ctrl-C stop it: it lets the connections end that it has.

use std::cell::Cell;
use std::net::TcpListener;
use std::rc::Rc;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, ResponseFuture};
use actix_daemon::{
    ChildActor, Daemon, DaemonActor, DaemonChild, DaemonShutdown, Program, Solo, Subscribe,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

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
        let server = Server {
            listener: Some(self.listener),
            stop: watch::channel(Stop::No).0,
            open: Rc::default(),
        };
        let server = server.start();
        daemon.do_send(Subscribe::<DaemonShutdown>::new("server", server));
    }

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        unreachable!("a daemon without a forking model has no children")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Yes,
}

/// Echoes on all its connections, until it is told to stop and the last of them has ended.
struct Server {
    listener: Option<TcpListener>,
    stop: watch::Sender<Stop>,
    open: Rc<Cell<usize>>,
}

impl Actor for Server {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        listener.set_nonblocking(true).expect("a listener can be made nonblocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("inside a runtime");
        let (mut stop, open) = (self.stop.subscribe(), Rc::clone(&self.open));
        ctx.spawn(actix::fut::wrap_future(async move {
            loop {
                tokio::select! {
                    Ok((stream, _peer)) = listener.accept() => {
                        let open = Rc::clone(&open);
                        open.set(open.get() + 1);
                        actix_rt::spawn(async move {
                            // A client that is gone needs no answer.
                            let _ = echo(stream).await;
                            open.set(open.get() - 1);
                        });
                    }
                    _told = stop.changed() => return,
                }
            }
        }));
    }
}

impl Handler<DaemonShutdown> for Server {
    type Result = ResponseFuture<()>;

    /// The daemon waits for this answer, for as long as its grace is.
    fn handle(&mut self, _shutdown: DaemonShutdown, _ctx: &mut Context<Self>) -> Self::Result {
        self.stop.send_replace(Stop::Yes);
        let open = Rc::clone(&self.open);
        Box::pin(async move {
            while open.get() > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
    }
}

async fn echo(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes).await? {
            0 => return Ok(()),
            read => stream.write_all(&bytes[..read]).await?,
        }
    }
}
