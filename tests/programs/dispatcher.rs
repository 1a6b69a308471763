//! A test dispatcher. Its arguments are options, see `src/options.rs`. The parent listens on a
//! port. It runs the method that a line names, with the rest of the line as the parameter, in a
//! worker, and answers with the result or with the reason of the failure.

use std::error::Error;
use std::time::Duration;

use actix_dispatch::{Dispatcher, IdleOrder, NewRequest, RunningDispatcher};
use live_tests::{Options, attack, stuck_call};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How long to wait before the next attempt after a connection could not be accepted.
const RETRY: Duration = Duration::from_millis(50);

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let limit = options.number("hard_limit").unwrap_or(2000);
    Dispatcher::builder()
        .daemon(options.builder())
        .max_forks(options.number("max").unwrap_or(4))
        .pre_fork(options.number("start").unwrap_or(3))
        .hard_limit(Duration::from_millis(limit))
        // The tests reach each worker by sending requests one at a time.
        .idle_order(IdleOrder::LongestIdle)
        .method("pid", |_call, _rest: String| Ok::<_, String>(std::process::id().to_string()))
        .method("echo", |_call, rest: String| Ok::<_, String>(rest))
        .method("repeat", |_call, length: String| {
            length.parse().map(|length| "x".repeat(length)).map_err(|error| error.to_string())
        })
        .method("attack", |_call, rest: String| Ok::<_, String>(attack(&rest)))
        .run(move |running| {
            if options.has("stuck_call") {
                stuck_call();
            }
            // The workers do not have the listener: they were forked before it was opened, or by
            // the fork server, which has no copy of it.
            let listener = options.listen().expect("the port can be opened");
            listener.set_nonblocking(true).expect("a listener can be nonblocking");
            let listener = TcpListener::from_std(listener).expect("the runtime takes the listener");
            actix_rt::spawn(accept(listener, running));
        })?;
    Ok(())
}

async fn accept(listener: TcpListener, running: RunningDispatcher) {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => {
                actix_rt::spawn(serve(stream, running.clone()));
            }
            // No descriptor is free.
            Err(_shortage) => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn serve(mut stream: TcpStream, running: RunningDispatcher) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (method, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let request = NewRequest::to(method.to_owned()).params(rest);
        let answer = match running.dispatcher.send(request).await {
            Ok(Ok(reply)) => reply.value::<String>().unwrap_or_else(|error| error.to_string()),
            Ok(Err(failure)) => format!("failed: {failure}").replace('\n', " "),
            Err(gone) => gone.to_string(),
        };
        if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}
