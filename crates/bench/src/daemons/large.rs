//! `bench-large MEGABYTES`: forks one child with an actix System for each connection. The parent
//! allocates `MEGABYTES` MiB of memory after the launch, and keeps it.

use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture};
use actix_daemon::{
    ChildActor, Daemon, DaemonActor, DaemonChild, ParentAcceptor, PostFork, Program, UpdateStatus,
};
use bench_server::{Measured, echo, listen, run_server, touch};

/// The maximum number of children, the same as in `loops/plain.rs`.
const CHILDREN: u32 = 64;

fn main() -> ExitCode {
    run_server("bench-large", |arguments| match arguments {
        [megabytes] => serve(megabytes.parse()?),
        other => Err(format!("the argument must be a number of megabytes, not {other:?}").into()),
    })
}

fn serve(megabytes: usize) -> Measured<()> {
    let listener = listen()?;
    Daemon::builder()
        .model(PostFork::new(CHILDREN))
        .alias("bench")
        .launch(Large { megabytes, listener })?
        .run()?;
    Ok(())
}

struct Large {
    megabytes: usize,
    listener: TcpListener,
}

impl Program for Large {
    type Request = TcpStream;

    fn parent(self, daemon: Addr<DaemonActor<TcpStream>>) {
        touch(self.megabytes);
        ParentAcceptor::start(self.listener, daemon, |stream| stream)
            .expect("cannot watch the listener");
    }

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<TcpStream>> {
        IdleSession { daemon }.start().recipient()
    }
}

struct IdleSession {
    daemon: Addr<ChildActor>,
}

impl Actor for IdleSession {
    type Context = Context<Self>;
}

impl Handler<DaemonChild<TcpStream>> for IdleSession {
    type Result = ();

    fn handle(&mut self, child: DaemonChild<TcpStream>, ctx: &mut Context<Self>) {
        let daemon = self.daemon.clone();
        let talk = async move {
            if let Ok(mut stream) = tokio::net::TcpStream::from_std(child.request) {
                // Ignore errors of the client.
                let _ = echo(&mut stream).await;
            }
            daemon.do_send(UpdateStatus::Done);
        };
        ctx.spawn(talk.into_actor(self));
    }
}
