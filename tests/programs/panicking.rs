//! An echo daemon that forks for each connection. Code of its parent panics in the place that the
//! option `at` names.

use std::error::Error;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, ResponseFuture, WrapFuture};
use actix_daemon::{
    ChildActor, ChildForked, ChildHandle, DaemonActor, DaemonChild, DaemonParent, DaemonShutdown,
    Decoder, Encoder, ParentAcceptor, Program, Subscribe, Transfer, TransferError, UpdateStatus,
    panics,
};
use live_tests::Options;
use slog::{Drain, Logger, OwnedKVList, o};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let at = options.get("at").expect("the option `at` names a place").to_owned();
    let listener = options.listen()?;
    let mut builder = options.builder();
    if at == "logger" {
        builder = builder.logger(Logger::root(PanickingDrain, o!()));
    }
    let model = options.post_fork_model();
    builder.model(model).launch(PanickingProgram { listener, at })?.run()?;
    Ok(())
}

/// A drain that panics for one record and prints the message of the others.
struct PanickingDrain;

impl Drain for PanickingDrain {
    type Ok = ();
    type Err = slog::Never;

    #[expect(clippy::print_stderr, reason = "standard error is the log")]
    fn log(&self, record: &slog::Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
        if record.msg().to_string() == "daemon ready" {
            panic!("on purpose")
        }
        eprintln!("{}", record.msg());
        Ok(())
    }
}

/// Panics when it is called for the third time.
fn panic_at_the_third_call() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    if CALLS.fetch_add(1, Ordering::Relaxed) == 2 {
        panic!("on purpose")
    }
}

/// A connection whose encoding or destruction may panic.
struct Request {
    stream: std::net::TcpStream,
    panics: bool,
    #[expect(dead_code, reason = "only its destructor acts")]
    bomb: Bomb,
}

/// Panics when it is dropped for the third time, if it is armed.
struct Bomb {
    is_armed: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.is_armed {
            panic_at_the_third_call();
        }
    }
}

impl Request {
    fn new(stream: std::net::TcpStream) -> Request {
        Request { stream, panics: false, bomb: Bomb { is_armed: false } }
    }
}

impl Transfer for Request {
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        if self.panics {
            panic_at_the_third_call();
        }
        self.stream.encode(encoder)
    }

    fn decode(decoder: &mut Decoder) -> Result<Self, TransferError> {
        Ok(Request::new(std::net::TcpStream::decode(decoder)?))
    }
}

struct PanickingProgram {
    listener: TcpListener,
    at: String,
}

impl Program for PanickingProgram {
    type Request = Request;

    fn parent(self, daemon: Addr<DaemonActor<Request>>) {
        let convert = match self.at.as_str() {
            "request" => |stream| {
                panic_at_the_third_call();
                Request::new(stream)
            },
            "encode" => |stream| Request { panics: true, ..Request::new(stream) },
            "drop" => |stream| Request { bomb: Bomb { is_armed: true }, ..Request::new(stream) },
            _other => Request::new,
        };
        ParentAcceptor::start(self.listener, daemon.clone(), convert).expect("watch the listener");
        match self.at.as_str() {
            "parent" => panic!("on purpose"),
            "task" => drop(actix_rt::spawn(async { panic!("on purpose") })),
            "contained" => {
                actix_rt::spawn(async {
                    panics::contain(async { panic!("on purpose") }).await.ok()
                });
            }
            "thread" => drop(std::thread::spawn(|| panic!("on purpose"))),
            "request" | "encode" | "drop" | "logger" => {}
            place => {
                let session = Session { at: place.to_owned() }.start();
                daemon.do_send(Subscribe::<DaemonParent>::new("session", session.clone()));
                daemon.do_send(Subscribe::<ChildForked>::new("session", session.clone()));
                daemon.do_send(Subscribe::<DaemonShutdown>::new("session", session));
            }
        }
    }

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<Request>> {
        EchoSession.start().recipient()
    }
}

/// A session of the parent, which panics in the place that `at` names.
struct Session {
    at: String,
}

impl Session {
    fn panic_at(&self, place: &str) {
        assert!(self.at != place, "on purpose");
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.panic_at("started");
        ctx.run_later(Duration::from_millis(1), |session, ctx| {
            session.panic_at("timer");
            let at = session.at.clone();
            ctx.spawn(async move { assert!(at != "future", "on purpose") }.into_actor(session));
        });
    }
}

impl Handler<DaemonParent> for Session {
    type Result = ();

    fn handle(&mut self, _ready: DaemonParent, _ctx: &mut Context<Self>) {
        self.panic_at("ready");
    }
}

impl Handler<ChildForked> for Session {
    type Result = ();

    fn handle(&mut self, _forked: ChildForked, _ctx: &mut Context<Self>) {
        self.panic_at("forked");
    }
}

impl Handler<DaemonShutdown> for Session {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _shutdown: DaemonShutdown, _ctx: &mut Context<Self>) -> Self::Result {
        let at = self.at.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            assert!(at != "shutdown", "on purpose");
        })
    }
}

/// The session of a child.
struct EchoSession;

impl Actor for EchoSession {
    type Context = Context<Self>;
}

impl Handler<DaemonChild<Request>> for EchoSession {
    type Result = ();

    fn handle(&mut self, child: DaemonChild<Request>, _ctx: &mut Context<Self>) {
        let handle = ChildHandle::current().expect("this is a child");
        handle.clone().work(async move {
            // The client may have disconnected.
            let _ = echo(child.request.stream).await;
            let _ = handle.update_status(UpdateStatus::Done);
        });
    }
}

async fn echo(stream: std::net::TcpStream) -> std::io::Result<()> {
    let mut stream = tokio::net::TcpStream::from_std(stream)?;
    let mut bytes = [0; 512];
    loop {
        match stream.read(&mut bytes).await? {
            0 => return Ok(()),
            read => stream.write_all(&bytes[..read]).await?,
        }
    }
}
