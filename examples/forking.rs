//! A server that forks for each connection, a port of `eg/forking` of POE::Component::Daemon.
//!
//! Type
//!
//! ```sh
//! cargo run --release --example forking -- 7071
//! nc 127.0.0.1 7071     # in another terminal
//! ```
//!
//! and then `PID`, `PING`, `KERNEL`, `STATUS`, `PARENT`, `LOGFILE` or `DONE`. At most three
//! connections are served at a time, and further connections wait. The daemon detaches and logs to
//! `forking.log` in the directory of its program. Stop the daemon with `kill` and the pid that
//! `PARENT` returns. With port 0 the daemon takes a free port and prints `PORT=<n>`.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture};
use actix_daemon::{
    ChildActor, Daemon, DaemonActor, DaemonChild, GetStatus, ParentAcceptor, PostFork, Program,
    Report, UpdateStatus,
};
use examples::protocol::{self, Answers};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = examples::listen()?;
    let logfile = examples::logfile("forking")?;
    Daemon::builder()
        .model(PostFork::new(3))
        .alias("Daemon")
        .title("forking")
        .logfile(&logfile)
        .verbose()
        .detach()
        .launch(Forking { listener, logfile })?
        .run()?;
    Ok(())
}

/// The program. Its parent accepts connections and transfers each of them to a child.
struct Forking {
    listener: TcpListener,
    logfile: PathBuf,
}

impl Program for Forking {
    type Request = TcpStream;

    fn parent(self, daemon: Addr<DaemonActor<TcpStream>>) {
        ParentAcceptor::start(self.listener, daemon, |stream| stream)
            .expect("cannot watch the listener");
    }

    /// Drops the listener, which only the parent uses, with the rest of the program.
    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<TcpStream>> {
        Session { daemon, logfile: self.logfile }.start().recipient()
    }
}

/// The session of a child, which serves the child's only connection.
struct Session {
    daemon: Addr<ChildActor>,
    logfile: PathBuf,
}

impl Actor for Session {
    type Context = Context<Self>;
}

impl Handler<DaemonChild<TcpStream>> for Session {
    type Result = ();

    fn handle(&mut self, child: DaemonChild<TcpStream>, ctx: &mut Context<Self>) {
        let daemon = self.daemon.clone();
        let logfile = self.logfile.clone();
        let talk = async move {
            if let Ok(mut stream) = tokio::net::TcpStream::from_std(child.request)
                && let Ok(report) = daemon.send(GetStatus::Board).await
            {
                let answers = Child { daemon: daemon.clone(), report, logfile };
                // Ignore errors of the client.
                let _ = protocol::talk(&mut stream, &answers).await;
            }
            daemon.do_send(UpdateStatus::Done);
        };
        ctx.spawn(talk.into_actor(self));
    }
}

/// The answers of a child.
struct Child {
    daemon: Addr<ChildActor>,
    report: Report,
    logfile: PathBuf,
}

impl Answers for Child {
    fn parent(&self) -> u32 {
        self.report.parent
    }

    fn logfile(&self) -> PathBuf {
        self.logfile.clone()
    }

    fn kernel(&self) -> String {
        format!("{}-{}", std::process::id(), actix::System::current().id())
    }

    async fn status(&self) -> String {
        let report = self.daemon.send(GetStatus::Board).await.map(|report| report.to_string());
        report.unwrap_or_default().trim_end().to_owned()
    }

    async fn peek(&self) -> String {
        "???".to_owned()
    }
}
