//! `bench-fork`: a child with a System for each connection, the short way in. A program of its own, as a
//! user's is: what else lay in its file would be mapped with it, and be counted as its own.

#[path = "../announce.rs"]
mod announce;
mod echo;
#[path = "../listening.rs"]
mod listening;
#[path = "../program.rs"]
mod program;

use std::process::ExitCode;

use actix_daemon::{Daemon, PostFork};

use listening::listen;
use program::Measured;

/// How many children there may be at a time, as in the plain one beside it.
const CHILDREN: u32 = 64;

fn main() -> ExitCode {
    program::become_one("bench-fork", |_no_arguments| serve())
}

fn serve() -> Measured<()> {
    let listener = listen()?;
    Daemon::builder()
        .model(PostFork::new(CHILDREN))
        .alias("bench")
        .serve(listener, |mut stream, _child| async move { echo::waiting(&mut stream).await })?;
    Ok(())
}
