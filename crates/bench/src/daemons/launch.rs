//! `bench-launch CHILDREN`: a pool that prints how long its launch took, and then stops.

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Instant;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient};
use actix_daemon::{
    Accepted, ChildAcceptor, ChildActor, Daemon, DaemonActor, DaemonChild, DaemonParent, PreFork,
    Program, Shutdown, StopMode, Subscribe, UpdateStatus,
};
use bench_server::{Measured, listen, print, run_server};

fn main() -> ExitCode {
    run_server("bench-launch", |arguments| match arguments {
        [children] => until_up(children.parse()?),
        other => Err(format!("the argument must be a number of children, not {other:?}").into()),
    })
}

/// Launches this many children. Prints the milliseconds until `launch` returned, and until all
/// children were ready.
fn until_up(children: u32) -> Measured<()> {
    let listener = listen()?;
    let model = PreFork::fixed(children);
    let begun = Instant::now();
    let launched =
        Daemon::builder().model(model).alias("bench").launch(Timed { begun, listener })?;
    let returned = begun.elapsed();
    print("LAUNCHED", returned.as_secs_f64() * 1e3)?;
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
        IdleSession { daemon, listener: Some(self.listener) }.start().recipient()
    }
}

/// Waits in the parent until the children are ready, prints the time, and stops the daemon.
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
        print("UP", up).expect("cannot print");
        self.daemon.do_send(Shutdown(StopMode::Immediate));
    }
}

/// The session of a child. It accepts connections, but no client connects.
struct IdleSession {
    daemon: Addr<ChildActor>,
    listener: Option<TcpListener>,
}

impl Actor for IdleSession {
    type Context = Context<Self>;
}

impl Handler<DaemonChild<()>> for IdleSession {
    type Result = ();

    fn handle(&mut self, _child: DaemonChild<()>, ctx: &mut Context<Self>) {
        if let Some(listener) = self.listener.take() {
            let session = ctx.address().recipient();
            ChildAcceptor::start(listener, self.daemon.clone(), session)
                .expect("cannot watch the listener");
        }
        self.daemon.do_send(UpdateStatus::Wait);
    }
}

impl Handler<Accepted<std::net::TcpStream>> for IdleSession {
    type Result = ();

    fn handle(&mut self, _accepted: Accepted<std::net::TcpStream>, _ctx: &mut Context<Self>) {
        self.daemon.do_send(UpdateStatus::Done);
    }
}
