//! `bench-fork`: a daemon, run with `DaemonBuilder::serve`, that forks one child with an actix
//! System for each connection.
//!
//! This program does not contain the code of the other servers, because a user's daemon does not
//! contain it either. That code would otherwise be mapped and measured too.

use std::process::ExitCode;

use actix_daemon::{Daemon, PostFork};
use bench_server::{Measured, echo, listen, run_server};

/// The maximum number of children, the same as in `loops/plain.rs`.
const CHILDREN: u32 = 64;

fn main() -> ExitCode {
    run_server("bench-fork", |_no_arguments| serve())
}

fn serve() -> Measured<()> {
    let listener = listen()?;
    Daemon::builder()
        .model(PostFork::new(CHILDREN))
        .alias("bench")
        .serve(listener, |mut stream, _child| async move { echo(&mut stream).await })?;
    Ok(())
}
