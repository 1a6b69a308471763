//! `bench-pool CHILDREN [BOARD]`: runs a pool of constant size with `DaemonBuilder::serve`. If
//! BOARD is given, it is the path of the scoreboard file.
//!
//! This program does not contain the code of the other servers, because a user's daemon does not
//! contain it either. That code would otherwise be mapped and measured too.

use std::process::ExitCode;

use actix_daemon::{Daemon, PreFork};
use bench_server::{Measured, echo, listen, run_server};

fn main() -> ExitCode {
    run_server("bench-pool", |arguments| match arguments {
        [children] => serve(children.parse()?, None),
        [children, board] => serve(children.parse()?, Some(board)),
        other => Err(format!(
            "the arguments must be a number of children and, optionally, a file, not {other:?}"
        )
        .into()),
    })
}

fn serve(children: u32, board: Option<&str>) -> Measured<()> {
    let listener = listen()?;
    let model = PreFork::fixed(children);
    let mut builder = Daemon::builder().model(model).alias("bench");
    if let Some(board) = board {
        builder = builder.board_file(board);
    }
    builder.serve(listener, |mut stream, _child| async move { echo(&mut stream).await })?;
    Ok(())
}
