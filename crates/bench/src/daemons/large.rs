//! `bench-large MEGABYTES`: a child with a System for each connection, of a parent that has used so much
//! memory since its launch.

#[path = "../announce.rs"]
mod announce;
mod echo;
#[path = "../listening.rs"]
mod listening;
#[path = "../program.rs"]
mod program;
#[path = "../touching.rs"]
mod touching;

use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture};
use actix_daemon::{
    ChildActor, Daemon, DaemonActor, DaemonChild, ParentAcceptor, PostFork, Program, UpdateStatus,
};

use listening::listen;
use program::Measured;
use touching::touch;

/// How many children there may be at a time, as in the plain one beside it.
const CHILDREN: u32 = 64;

fn main() -> ExitCode {
    program::become_one("bench-large", |arguments| match arguments {
        [megabytes] => serve(megabytes.parse()?),
        other => Err(format!("a number of megabytes: not {other:?}").into()),
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
            .expect("the runtime can watch a listener");
    }

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<TcpStream>> {
        Session { daemon }.start().recipient()
    }
}

struct Session {
    daemon: Addr<ChildActor>,
}

impl Actor for Session {
    type Context = Context<Self>;
}

impl Handler<DaemonChild<TcpStream>> for Session {
    type Result = ();

    fn handle(&mut self, child: DaemonChild<TcpStream>, ctx: &mut Context<Self>) {
        let daemon = self.daemon.clone();
        let talk = async move {
            if let Ok(mut stream) = tokio::net::TcpStream::from_std(child.request) {
                // A client that is gone needs no answer.
                let _ = echo::waiting(&mut stream).await;
            }
            daemon.do_send(UpdateStatus::Done);
        };
        ctx.spawn(talk.into_actor(self));
    }
}
