//! The example `service` on Windows: the service, which has no child processes, and the commands,
//! which send requests to the service control manager (SCM).

mod commands;
mod log;

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use actix::Actor;
use daemon_service::{Callbacks, ServiceActor, ServiceSettings};
use tokio::task::JoinHandle;

use crate::callbacks::{ServiceSession, SetService, Workload};
use commands::{CommandLine, ServeOptions};

#[expect(clippy::print_stderr, reason = "errors go to standard error")]
pub(crate) fn main() -> ExitCode {
    let command = match commands::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("service: {error}\n\n{}", commands::USAGE);
            return ExitCode::from(64);
        }
    };
    let done = match command {
        CommandLine::Run(options) => serve(options, RunMode::Service),
        CommandLine::Console(options) => serve(options, RunMode::Console),
        CommandLine::Manage(request, name) => commands::manage(request, &name).map(|()| 0),
    };
    match done {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            eprint!("service: {error}");
            let mut causes = error.source();
            while let Some(cause) = causes {
                eprint!(": {cause}");
                causes = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

enum RunMode {
    Service,
    Console,
}

fn serve(options: ServeOptions, mode: RunMode) -> Result<u32, Box<dyn std::error::Error>> {
    let name = options.name.clone();
    let start = move || -> Result<_, Box<dyn std::error::Error>> {
        let log = log::open(&options)?;
        let workload = Echo { port: options.port, listener: None, serving: None };
        let session = ServiceSession::new(workload, options.step, log.clone()).start();
        let settings = ServiceSettings::new(Callbacks::all(session.clone()));
        let settings = settings.alias(&options.name);
        let settings = settings.poll_interval(Duration::from_secs(1)).logger(log);
        let service = ServiceActor::spawn(settings)?;
        session.do_send(SetService(service.clone()));
        Ok(service)
    };
    Ok(match mode {
        RunMode::Service => daemon_service::run(&name, start)?,
        RunMode::Console => daemon_service::run_here(start)?,
    })
}

/// An echo server in this process.
struct Echo {
    port: u16,
    /// The listener stays open while the service is paused, so connections wait in its backlog.
    listener: Option<TcpListener>,
    serving: Option<JoinHandle<()>>,
}

impl Workload for Echo {
    fn start_accepting(&mut self) -> std::io::Result<()> {
        if self.serving.is_some() {
            return Ok(());
        }
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?,
        };
        self.listener = Some(listener.try_clone()?);
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.serving = Some(actix_rt::spawn(async move {
            while let Ok((mut stream, _peer)) = listener.accept().await {
                actix_rt::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    // An error means that the client has disconnected.
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        }));
        Ok(())
    }

    fn stop_accepting(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}
