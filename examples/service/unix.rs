//! The service on Unix: a pool of children, under systemd or in a terminal.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture};
use actix_daemon::{
    Accepted, ChildAcceptor, ChildActor, Daemon, DaemonChild, DeclaredListener, ListenerOwnership,
    OnHup, PreFork, Program, RegisterWith, UpdateStatus, logger,
};
use daemon_service::systemd::{StoreFd, inherited_fds};
use daemon_service::{Callbacks, ServiceActor, ServiceSettings};
use examples::echo;

use crate::callbacks::{ServiceSession, SetService, Workload};

/// The name of the listener in systemd's descriptor store.
const NAME: &str = "echo";

#[expect(
    clippy::print_stderr,
    reason = "errors that end the program are printed to standard error"
)]
pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            eprintln!("service: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The options of `service [PORT [--step MILLISECONDS] [--control PATH]]`.
struct Options {
    step: Duration,
    control: Option<PathBuf>,
}

fn options() -> Result<Options, Box<dyn std::error::Error>> {
    let mut options = Options { step: Duration::ZERO, control: None };
    let mut arguments = std::env::args().skip(2);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("option {option} needs a value"))?;
        match option.as_str() {
            "--step" => options.step = Duration::from_millis(value.parse()?),
            "--control" => options.control = Some(PathBuf::from(value)),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(options)
}

/// Returns the listener that systemd has passed, or a new listener.
fn listener() -> Result<TcpListener, Box<dyn std::error::Error>> {
    match inherited_fds()?.into_iter().next() {
        Some(inherited) => Ok(TcpListener::from(inherited.fd)),
        None => Ok(examples::listen()?),
    }
}

fn run() -> Result<u32, Box<dyn std::error::Error>> {
    let options = options()?;
    let listener = listener()?;
    let stored = OwnedFd::from(listener.try_clone()?);
    // systemd keeps the queue of a stored listener for the next start.
    let ownership = match std::env::var_os("NOTIFY_SOCKET") {
        Some(_) => ListenerOwnership::Shared,
        None => ListenerOwnership::detect(listener.as_fd()),
    };
    let listener = ownership.declare(listener);
    let mut builder = Daemon::builder()
        .model(PreFork::new(2).min_spare(1).max_spare(4).max_children(8))
        .alias("service")
        .on_hup(OnHup::Reload)
        .grace(Duration::from_secs(10));
    if let Some(control) = &options.control {
        builder = builder.control(control);
    }
    // The fork server must be launched before any runtime starts.
    let launched = builder.launch(Echo { listener })?;
    let exit_code = daemon_service::run_here(move || {
        let log = logger();
        let daemon = launched.start()?;
        let session = ServiceSession::new(ChildPool, options.step, log.clone()).start();
        let settings = ServiceSettings::new(Callbacks::all(session.clone()));
        let settings = settings.alias("service").logger(log).await_registration();
        let service = ServiceActor::spawn(settings)?;
        session.do_send(SetService(service.clone()));
        service.do_send(StoreFd { name: NAME.to_owned(), fd: stored });
        daemon.do_send(RegisterWith(service.clone()));
        Ok(service)
    })?;
    Ok(exit_code)
}

/// The pool of children. The daemon is registered with the service, so the daemon pauses
/// and resumes the pool itself.
struct ChildPool;

impl Workload for ChildPool {
    fn start_accepting(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn stop_accepting(&mut self) {}
}

struct Echo {
    listener: DeclaredListener<TcpListener>,
}

impl Program for Echo {
    type Request = ();

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        Child { daemon, listener: Some(self.listener) }.start().recipient()
    }
}

/// A child, which serves one connection at a time.
struct Child {
    daemon: Addr<ChildActor>,
    listener: Option<DeclaredListener<TcpListener>>,
}

impl Actor for Child {
    type Context = Context<Self>;
}

impl Handler<DaemonChild<()>> for Child {
    type Result = ();

    fn handle(&mut self, _child: DaemonChild<()>, ctx: &mut Context<Self>) {
        if let Some(listener) = self.listener.take() {
            ChildAcceptor::start(listener, self.daemon.clone(), ctx.address().recipient())
                .expect("cannot watch the listener");
        }
        self.daemon.do_send(UpdateStatus::Wait);
    }
}

impl Handler<Accepted<TcpStream>> for Child {
    type Result = ();

    fn handle(&mut self, Accepted(stream): Accepted<TcpStream>, ctx: &mut Context<Self>) {
        let daemon = self.daemon.clone();
        let serve = async move {
            if let Ok(mut stream) = tokio::net::TcpStream::from_std(stream) {
                // An error means that the client has disconnected, or is silent.
                let _ = echo(&mut stream).await;
            }
            daemon.do_send(UpdateStatus::Done);
        };
        ctx.spawn(serve.into_actor(self));
    }
}
