//! On Windows: one process, and the commands for the service manager.

mod commands;
mod log;

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use actix::Actor;
use daemon_service::{Callbacks, ServiceActor, Settings};
use tokio::task::JoinHandle;

use crate::callbacks::{Serves, Session, Work};
use commands::{Command, Place};

#[expect(clippy::print_stderr, reason = "who starts it is told what is wrong")]
pub(crate) fn main() -> ExitCode {
    let command = match commands::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(why) => {
            eprintln!("service: {why}\n\n{}", commands::USAGE);
            return ExitCode::from(64);
        }
    };
    let done = match command {
        Command::Run(place) => serve(place, Master::Manager),
        Command::Console(place) => serve(place, Master::Console),
        Command::Manage(deed, name) => commands::manage(deed, &name).map(|()| 0),
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

enum Master {
    Manager,
    Console,
}

fn serve(place: Place, master: Master) -> Result<u32, Box<dyn std::error::Error>> {
    let name = place.name.clone();
    let start = move || -> Result<_, Box<dyn std::error::Error>> {
        let log = log::open(&place)?;
        let work = Echo { port: place.port, listener: None, serving: None };
        let session = Session::new(work, place.step, log.clone()).start();
        let settings = Settings::new(Callbacks::all(session.clone())).alias(&place.name);
        let settings = settings.poll_interval(Duration::from_secs(1)).logger(log);
        let service = ServiceActor::spawn(settings)?;
        session.do_send(Serves(service.clone()));
        Ok(service)
    };
    Ok(match master {
        Master::Manager => daemon_service::run(&name, start)?,
        Master::Console => daemon_service::run_here(start)?,
    })
}

/// An echo server in this process.
struct Echo {
    port: u16,
    /// Kept while the service is paused: connections wait in its queue.
    listener: Option<TcpListener>,
    serving: Option<JoinHandle<()>>,
}

impl Work for Echo {
    fn open(&mut self) -> std::io::Result<()> {
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
                    // A client that is gone needs no answer.
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        }));
        Ok(())
    }

    fn shut(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}
