//! One program for two masters: an echo server that is a Windows service, and a service of systemd
//! with a pool of children.
//!
//! On Linux type
//!
//! ```sh
//! cargo run --release --example service -- 7075
//! nc 127.0.0.1 7075
//! ```
//!
//! What you type comes back. `kill -TSTP` to the pid that its log tells pauses it: connections wait;
//! `kill -CONT` lets it go on, HUP replaces its children, TERM or Ctrl-C stop it. Each state is
//! logged by the callbacks. Under systemd ([docs/systemd/](../../docs/systemd)) `systemctl status`
//! tells its states and counts.
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
//! runs it in a console. `service` alone lists what there is.

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
