//! A pre-forking server with a line protocol: a port of `eg/preforking` of POE::Component::Daemon.
//!
//! Type
//!
//! ```sh
//! cargo run --release --example preforking -- 7070
//! nc 127.0.0.1 7070     # in another terminal
//! ```
//!
//! and then `PID`, `PING`, `STATUS`, `PEEK`, `PARENT`, `LOGFILE` or `DONE`. The daemon detaches and
//! logs to `preforking.log` beside its program. Stop the daemon with `kill` and the pid that
//! `PARENT` returns. With port 0 the daemon takes a free port and prints `PORT=<n>`.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture};
use actix_daemon::{
    Accepted, ChildAcceptor, ChildActor, Daemon, DaemonChild, Detail, GetStatus, Peek, PreFork,
    Program, Report, UpdateStatus,
};
use examples::protocol::{self, Answers};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = examples::listen()?;
    let logfile = examples::logfile("preforking")?;
    Daemon::builder()
        .model(PreFork::new(1).min_spare(2).max_children(10).requests(1))
        .alias("Daemon")
        .title("preforking")
        .logfile(&logfile)
        .detach()
        .launch(Preforking { listener, logfile })?
        .run()?;
    Ok(())
}

/// The program. Every child inherits the listener, because the listener is bound before the launch.
struct Preforking {
    listener: TcpListener,
    logfile: PathBuf,
}

impl Program for Preforking {
    type Request = ();

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        Session { daemon, logfile: self.logfile, listener: Some(self.listener) }.start().recipient()
    }
}

/// The session of a child, which serves one connection at a time.
struct Session {
    daemon: Addr<ChildActor>,
    logfile: PathBuf,
    listener: Option<TcpListener>,
}

impl Actor for Session {
    type Context = Context<Self>;
}

/// Starts to accept connections, then reports that the child waits for a request.
impl Handler<DaemonChild<()>> for Session {
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

/// Serves a connection, then reports that the request is done.
impl Handler<Accepted<TcpStream>> for Session {
    type Result = ();

    fn handle(&mut self, Accepted(stream): Accepted<TcpStream>, ctx: &mut Context<Self>) {
        let daemon = self.daemon.clone();
        let logfile = self.logfile.clone();
        let talk = async move {
            if let Ok(mut stream) = tokio::net::TcpStream::from_std(stream)
                && let Ok(report) = daemon.send(GetStatus::Board).await
            {
                let answers = Child { daemon: daemon.clone(), report, logfile };
                // An error ends only this client's connection; the request is done either way.
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
        "???".to_owned()
    }

    async fn status(&self) -> String {
        let report = self.daemon.send(GetStatus::Board).await.map(|report| report.to_string());
        line_by_line(&report.unwrap_or_default())
    }

    async fn peek(&self) -> String {
        let peek = self.daemon.send(Peek { detail: Detail::Verbose }).await;
        line_by_line(&peek.unwrap_or_default())
    }
}

/// Returns the lines of a text, followed by `DONE`.
fn line_by_line(text: &str) -> String {
    text.lines().chain(["DONE"]).collect::<Vec<_>>().join("\r\n")
}
