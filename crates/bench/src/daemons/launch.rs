//! `bench-launch CHILDREN`: a pool that tells how long its launch took, and goes again.

#[path = "../announce.rs"]
mod announce;
#[path = "../listening.rs"]
mod listening;
#[path = "../program.rs"]
mod program;

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Instant;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient};
use actix_daemon::{
    Accepted, ChildAcceptor, ChildActor, Daemon, DaemonActor, DaemonChild, DaemonParent, PreFork,
    Program, Shutdown, StopMode, Subscribe, UpdateStatus,
};

use announce::tell;
use listening::listen;
use program::Measured;

fn main() -> ExitCode {
    program::become_one("bench-launch", |arguments| match arguments {
        [children] => until_up(children.parse()?),
        other => Err(format!("a number of children: not {other:?}").into()),
    })
}

/// Launches so many children, and tells how many milliseconds it took until the parent returned
/// from `launch`, and until all were up.
fn until_up(children: u32) -> Measured<()> {
    let listener = listen()?;
    let model =
        PreFork::new(children).min_spare(children).max_spare(children).max_children(children);
    let begun = Instant::now();
    let launched =
        Daemon::builder().model(model).alias("bench").launch(Timed { begun, listener })?;
    let returned = begun.elapsed();
    tell("LAUNCHED", returned.as_secs_f64() * 1e3)?;
    launched.run()?;
    Ok(())
}

struct Timed {
    begun: Instant,
    listener: TcpListener,
}

impl Program for Timed {
    type Request = ();

    fn parent(self, daemon: Addr<DaemonActor<()>>) {
        Watch { begun: self.begun, daemon }.start();
    }

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        Session { daemon, listener: Some(self.listener) }.start().recipient()
    }
}

/// Waits in the parent until the children are up.
struct Watch {
    begun: Instant,
    daemon: Addr<DaemonActor<()>>,
}

impl Actor for Watch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.daemon.do_send(Subscribe::<DaemonParent>::new("watch", ctx.address()));
    }
}

impl Handler<DaemonParent> for Watch {
    type Result = ();

    fn handle(&mut self, _up: DaemonParent, _ctx: &mut Context<Self>) {
        let up = self.begun.elapsed().as_secs_f64() * 1e3;
        tell("UP", up).expect("who measures listens");
        self.daemon.do_send(Shutdown(StopMode::Immediate));
    }
}

/// A child that accepts, and gets nothing.
struct Session {
    daemon: Addr<ChildActor>,
    listener: Option<TcpListener>,
}

impl Actor for Session {
    type Context = Context<Self>;
}

impl Handler<DaemonChild<()>> for Session {
    type Result = ();

    fn handle(&mut self, _child: DaemonChild<()>, ctx: &mut Context<Self>) {
        if let Some(listener) = self.listener.take() {
            let session = ctx.address().recipient();
            ChildAcceptor::start(listener, self.daemon.clone(), session)
                .expect("the runtime can watch a listener");
        }
        self.daemon.do_send(UpdateStatus::Wait);
    }
}

impl Handler<Accepted<std::net::TcpStream>> for Session {
    type Result = ();

    fn handle(&mut self, _accepted: Accepted<std::net::TcpStream>, _ctx: &mut Context<Self>) {
        self.daemon.do_send(UpdateStatus::Done);
    }
}
