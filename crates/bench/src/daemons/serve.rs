//! Ours as its users have it: the short way in, and a program whose parent is large.

use std::net::{TcpListener, TcpStream};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture};
use actix_daemon::{
    ChildActor, ChildHandle, Daemon, DaemonActor, DaemonChild, ParentAcceptor, PostFork, PreFork,
    Program, UpdateStatus,
};

use crate::listening::{listen, touch};
use crate::{Measured, echo};

/// How many children there may be at a time, as in the plain one beside it.
const CHILDREN: u32 = 64;

/// A child with a System for each connection.
pub(super) fn fork_for_each() -> Measured<()> {
    let listener = listen()?;
    Daemon::builder()
        .model(PostFork::max_children(CHILDREN))
        .alias("bench")
        .serve(listener, echo)?;
    Ok(())
}

/// A pool that stays as it is.
pub(super) fn pool(children: u32, board: Option<&str>) -> Measured<()> {
    let listener = listen()?;
    let model = PreFork::start_children(children)
        .min_spare(children)
        .max_spare(children)
        .max_children(children);
    let mut builder = Daemon::builder().model(model).alias("bench");
    if let Some(board) = board {
        builder = builder.board_file(board);
    }
    builder.serve(listener, echo)?;
    Ok(())
}

async fn echo(
    mut stream: actix_daemon::Connection<TcpStream>,
    _child: ChildHandle,
) -> std::io::Result<()> {
    echo::waiting(&mut stream).await
}

/// A child with a System for each connection, of a parent that has used so much memory since its
/// launch.
pub(super) fn fork_from_a_large_parent(megabytes: usize) -> Measured<()> {
    let listener = listen()?;
    Daemon::builder()
        .model(PostFork::max_children(CHILDREN))
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
