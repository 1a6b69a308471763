//! `daemonctl`, the command-line client for daemons made with `actix-daemon`.
//!
//! A daemon with a control socket answers queries about its status and its parent process, sends
//! its events, and carries out commands, for example to stop, to reload, to resize its pool or to
//! retire a child. `daemonctl top` is a live screen. If a daemon keeps its scoreboard in a file,
//! daemonctl can read the scoreboard even while the parent hangs.
//!
//! ```sh
//! export DAEMONCTL_SOCKET=/run/echo.sock DAEMONCTL_BOARD=/run/echo.board
//! daemonctl status
//! daemonctl resize 8 && daemonctl events
//! daemonctl top
//! ```
//!
//! # Modules
//!
//! | modules | contents |
//! | --- | --- |
//! | `cli` | the command line, and the completions and man pages generated from it |
//! | `client` | one connection to the control socket, with deadlines |
//! | `snapshot` | the state of a daemon, from its socket or its scoreboard file, and as text |
//! | `commands` | runs the commands, and prints their results |
//! | `events` | the events as text |
//! | `top` | the live screen; modules `screen` (state) and `view` (drawing) use no I/O or clock |
//! | `error` | the errors and their exit codes |
//!
//! # Limitations
//!
//! - A call of daemonctl controls one daemon. Both must run on the same machine.
//! - The scoreboard file does not contain the name, model and counters of the daemon, or the
//!   processor times and memory sizes of its children.

mod cli;
mod client;
mod commands;
mod error;
mod events;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod sentences;
mod snapshot;
mod top;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            if let Some(text) = error.message() {
                // The message is lost if standard error is closed.
                let _ = writeln!(std::io::stderr(), "daemonctl: {text}");
            }
            ExitCode::from(error.exit_status() as u8)
        }
    }
}
