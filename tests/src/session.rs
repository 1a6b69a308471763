//! The session of a child of the test programs, pre-forked or post-forked.

use std::net::{TcpListener, TcpStream};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture,
};
use actix_daemon::{
    Accepted, Broadcast, ChildAcceptor, ChildActor, ChildHandle, DaemonChild, DaemonHup,
    DaemonShutdown, Subscribe, UpdateStatus, logger,
};

use crate::commands::{Next, serve_commands};

/// A session that answers commands with [`serve_commands`], on one connection at a time.
#[derive(Debug)]
pub struct LineSession {
    daemon: Addr<ChildActor>,
    listener: Option<TcpListener>,
}

impl LineSession {
    /// Creates the session of a pre-forked child, which accepts connections from `listener`, or of
    /// a post-forked child, which has no listener.
    #[must_use]
    pub fn new(daemon: Addr<ChildActor>, listener: Option<TcpListener>) -> Self {
        LineSession { daemon, listener }
    }

    fn serve(&self, stream: TcpStream, ctx: &mut Context<Self>) {
        let daemon = self.daemon.clone();
        let serve = async move {
            let mut next = Next::Serve;
            if let Some(child) = ChildHandle::current()
                && let Ok(mut stream) = tokio::net::TcpStream::from_std(stream)
            {
                // The client may have disconnected.
                next = serve_commands(&mut stream, &child).await.unwrap_or(Next::Serve);
            }
            daemon.do_send(UpdateStatus::Done);
            next
        };
        ctx.spawn(serve.into_actor(self).map(|next, _session, ctx| match next {
            Next::Serve => {}
            Next::Stop => ctx.stop(),
        }));
    }

    fn subscribe<M>(&self, ctx: &mut Context<Self>)
    where
        M: Broadcast,
        Self: Handler<M>,
        ChildActor: Handler<Subscribe<M>>,
    {
        self.daemon.do_send(Subscribe::<M>::new("session", ctx.address()));
    }
}

impl Actor for LineSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.subscribe::<DaemonHup>(ctx);
        self.subscribe::<DaemonShutdown>(ctx);
    }
}

impl Handler<DaemonChild<()>> for LineSession {
    type Result = ();

    fn handle(&mut self, _child: DaemonChild<()>, ctx: &mut Context<Self>) {
        if let Some(listener) = self.listener.take() {
            let session = ctx.address().recipient();
            ChildAcceptor::start(listener, self.daemon.clone(), session)
                .expect("the runtime accepts the listener");
        }
        self.daemon.do_send(UpdateStatus::Wait);
    }
}

impl Handler<Accepted<TcpStream>> for LineSession {
    type Result = ();

    fn handle(&mut self, Accepted(stream): Accepted<TcpStream>, ctx: &mut Context<Self>) {
        self.serve(stream, ctx);
    }
}

impl Handler<DaemonChild<TcpStream>> for LineSession {
    type Result = ();

    fn handle(&mut self, child: DaemonChild<TcpStream>, ctx: &mut Context<Self>) {
        self.serve(child.request, ctx);
    }
}

impl Handler<DaemonHup> for LineSession {
    type Result = ();

    fn handle(&mut self, _hup: DaemonHup, _ctx: &mut Context<Self>) {
        slog::info!(logger(), "received: DaemonHup");
    }
}

impl Handler<DaemonShutdown> for LineSession {
    type Result = ();

    fn handle(&mut self, shutdown: DaemonShutdown, _ctx: &mut Context<Self>) {
        slog::info!(logger(), "received: DaemonShutdown {:?}", shutdown.reason);
    }
}
