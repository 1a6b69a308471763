//! An echo server that is a Windows service and a systemd service: one program with one set of
//! callbacks. On Unix it has a pool of children.
//!
//! On Linux run
//!
//! ```sh
//! cargo run --release --example service -- 7075
//! nc 127.0.0.1 7075
//! ```
//!
//! The server sends back what you type. Its log shows the pid of the parent. Send signals to this
//! pid: TSTP pauses the server, so that connections wait; CONT resumes the server; HUP replaces the
//! children; TERM stops the server, as Ctrl-C does. The callbacks log each state. Under systemd
//! ([docs/systemd/](../../docs/systemd)) `systemctl status` shows the server's state and counts.
//!
//! On Windows run as an administrator
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
//! The service logs to `service.log` beside the program and to the event log.
//! `service console --port 7075` runs the server in a console. `service` without arguments prints
//! its usage.

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
