//! `daemonctl`, the command-line client for daemons made with `actix-daemon`.
//!
//! A daemon with a control socket answers queries about its status, its parent process and its events,
//! and carries out commands: stop, reload, resize, retire a child. `daemonctl top` is a live screen. The
//! scoreboard of a daemon that keeps it in a file can be read even while its parent hangs.
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
//! | `cli`, `manual` | the command line; the completions and man pages generated from it |
//! | `client` | one connection to the control socket, with deadlines |
//! | `board` | reads the scoreboard file, without the daemon |
//! | `snapshot` | the state of a daemon, from either source |
//! | `commands`, `status`, `events` | the commands that print and exit |
//! | `top` | the live screen: `screen` is its state, `view` draws it, both without I/O or clock |
//! | `error` | the errors and their exit codes |
//!
//! # Limitations
//!
//! - One daemon at a time, on this machine.
//! - The scoreboard file contains neither the daemon's name, model and counters nor processor times and
//!   memory sizes.

mod board;
mod cli;
mod client;
mod commands;
mod error;
mod events;
mod manual;
#[cfg(test)]
mod sentences;
mod snapshot;
mod status;
mod text;
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
