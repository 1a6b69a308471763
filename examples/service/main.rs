//! An echo server that is a Windows service and a systemd service: one program with one set of
//! callbacks. Under systemd it has a pool of children.
//!
//! On Linux run
//!
//! ```sh
//! cargo run --release --example service -- 7075
//! nc 127.0.0.1 7075
//! ```
//!
//! The server sends back what you type. Its log shows its pid: `kill -TSTP` pauses it, and connections
//! wait; `kill -CONT` continues it, HUP replaces its children, TERM or Ctrl-C stop it. The callbacks
//! log each state. Under systemd ([docs/systemd/](../../docs/systemd)) `systemctl status` shows its
//! state and counts.
//!
//! On Windows, as an administrator,
//!
//! ```text
//! service install --port 7075
//! service start
//! service query
//! service pause
//! service continue
//! service stop
//! service uninstall
//! ```
//!
//! It logs to `service.log` beside the program and to the event log. `service console --port 7075`
//! runs it in a console. `service` without arguments prints its usage.

mod callbacks;
#[cfg(unix)]
#[path = "unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod platform;

use std::process::ExitCode;

fn main() -> ExitCode {
    platform::main()
}
