//! The operator's command for daemons made with `actix-daemon`: what `daemonctl` does.
//!
//! A daemon that was built with a control socket answers on it: its state, the inside of its parent,
//! what happens to its children as it happens; and it does as it is told: stop, reload, resize, retire
//! a child. `daemonctl top` is a live screen of it. A daemon that keeps its scoreboard in a file can
//! be looked at even while its parent hangs.
//!
//! ```sh
//! export DAEMONCTL_SOCKET=/run/echo.sock DAEMONCTL_BOARD=/run/echo.board
//! daemonctl status
//! daemonctl resize 8 && daemonctl events
//! daemonctl top
//! ```
//!
//! # Map
//!
//! | rooms | for |
//! | --- | --- |
//! | `cli`, `manual` | what can be typed; completions and man pages made of it |
//! | `client` | one connection to the control socket, with deadlines |
//! | `board` | the scoreboard's file, read without the daemon's help |
//! | `picture` | what is known of a daemon, whichever of the two has told it |
//! | `commands`, `status`, `events` | the commands that print and are done |
//! | `top` | the live screen: `screen` is its state, `view` paints it, both without I/O or clock |
//! | `failure` | what can go wrong, in a sentence, and the exit code of each |
//!
//! # Limitations
//!
//! - One daemon at a time, on this machine.
//! - The scoreboard's file knows neither the daemon's name and model nor its counters, and nothing of
//!   processor time and memory.

mod board;
mod cli;
mod client;
mod commands;
mod events;
mod failure;
mod manual;
mod picture;
#[cfg(test)]
mod sentences;
mod status;
mod text;
mod top;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::carry_out(&cli) {
        Ok(code) => code,
        Err(failure) => {
            if let Some(text) = failure.to_tell() {
                // There is nobody to tell if standard error is closed.
                let _ = writeln!(std::io::stderr(), "daemonctl: {text}");
            }
            ExitCode::from(failure.code() as u8)
        }
    }
}
