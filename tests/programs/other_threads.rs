//! A test daemon whose parent has other threads. The parent runs in the program's own actix System,
//! together with two more arbiters and a web server. Each connection is handed over to a child.

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, Recipient};
use actix_daemon::{
    ChildActor, DaemonActor, DaemonChild, GetStatus, Launched, ParentAcceptor, Program,
    WaitUntilStopped,
};
use actix_web::{App, HttpServer, web};
use live_tests::{LineSession, Options, open_command_socket, subscribe};

/// The address of the daemon's actor, whose requests are connections.
type DaemonAddr = Addr<DaemonActor<TcpStream>>;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let listener = options.listen()?;
    let web = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    std::fs::write(
        options.command_socket().with_extension("web"),
        web.local_addr()?.port().to_string(),
    )?;
    let launched = options
        .builder()
        .model(options.post_fork_model())
        .launch(OtherThreadsProgram { listener, options: options.clone() })?;
    in_own_system(launched, web)
}

#[actix::main]
async fn in_own_system(
    launched: Launched<OtherThreadsProgram>,
    web: TcpListener,
) -> Result<(), Box<dyn Error>> {
    let daemon = launched.start()?;
    let arbiters = [Arbiter::new(), Arbiter::new()];
    for arbiter in &arbiters {
        let daemon = daemon.clone();
        // Each arbiter queries the status periodically, from its own thread.
        arbiter.spawn(async move {
            while daemon.send(GetStatus::Board).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    let state = daemon.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(web::Data::new(state.clone())).route("/", web::get().to(status))
    })
    .workers(2)
    .disable_signals()
    .listen(web)?
    .run();
    let handle = server.handle();
    let serving = actix_rt::spawn(server);
    daemon.send(WaitUntilStopped).await??;
    handle.stop(true).await;
    serving.await??;
    for arbiter in arbiters {
        arbiter.stop();
        arbiter.join().map_err(|_panic| "an arbiter panicked")?;
    }
    Ok(())
}

async fn status(daemon: web::Data<DaemonAddr>) -> String {
    match daemon.send(GetStatus::Board).await {
        Ok(report) => report.to_string(),
        Err(gone) => gone.to_string(),
    }
}

struct OtherThreadsProgram {
    listener: TcpListener,
    options: Options,
}

impl Program for OtherThreadsProgram {
    type Request = TcpStream;

    fn parent(self, daemon: DaemonAddr) {
        subscribe(&daemon);
        open_command_socket(&self.options.command_socket(), daemon.clone(), |_daemon, _line| None)
            .expect("the command socket can be opened");
        ParentAcceptor::start(self.listener, daemon, |stream| stream)
            .expect("the runtime accepts the listener");
    }

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<TcpStream>> {
        LineSession::new(daemon, None).start().recipient()
    }
}
