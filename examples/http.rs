//! HTTP in a pool of processes: axum's router and hyper in each child, behind one listener.
//!
//! Type
//!
//! ```sh
//! cargo run --release --example http -- 8080
//! curl http://127.0.0.1:8080/      # the pid of the answering process
//! curl http://127.0.0.1:8080/crash # ends one process; the server continues
//! ```
//!
//! Connections are kept alive. A child serves one client until either side closes the connection,
//! and shows each request as its label. Ctrl-C closes each connection after its current request.

use std::net::TcpStream;
use std::pin::pin;
use std::time::Duration;

use actix_daemon::{ChildHandle, Connection, Daemon, PreFork};
use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;

/// How long a client may take for the header of a request, and to read the last answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// After how long a connection ends with its current request. Each client occupies a child.
const CONNECTION_MAX: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = examples::listen()?;
    Daemon::builder()
        .alias("http")
        .model(PreFork::new(4).min_spare(2).max_spare(8).max_children(32).requests(1000))
        .serve(listener, serve)?;
    Ok(())
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async || format!("answered by process {}\n", std::process::id())))
        .route("/crash", get(async || -> String { std::process::abort() }))
}

/// Serves one connection. When the child is asked to leave, or the connection is old, it ends after
/// the current request, or the first one if none has come yet, with `connection: close`.
async fn serve(stream: Connection<TcpStream>, child: ChildHandle) -> Result<(), hyper::Error> {
    let router = TowerToHyperService::new(routes());
    let (label, first_request) = (child.clone(), Notify::new());
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        first_request.notify_one();
        label.label(&format!("{} {}", request.method(), request.uri()));
        hyper::service::Service::call(&router, request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), service)
    );
    let leave = async {
        child.wait_for_shutdown().await;
        // A client that waited in the queue has not been heard yet.
        let _ = tokio::time::timeout(PATIENCE, first_request.notified()).await;
    };
    tokio::select! {
        served = connection.as_mut() => return served,
        () = leave => {}
        () = tokio::time::sleep(CONNECTION_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    // A client that never reads is cut off.
    tokio::time::timeout(PATIENCE, connection).await.unwrap_or(Ok(()))
}
