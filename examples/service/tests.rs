//! Tests the example service under a real service manager, that of Windows or that of wine.
//!
//! `make test-windows` runs the tests under wine and sets the environment variable `WINE`. The
//! tests then allow for the few differences between wine and Windows.

#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

#[path = "tests/commands.rs"]
mod commands;
#[path = "tests/controls.rs"]
mod controls;
#[path = "tests/end.rs"]
mod end;
#[path = "tests/harness.rs"]
mod harness;
#[path = "tests/pipe.rs"]
mod pipe;
#[path = "tests/shutdown.rs"]
mod shutdown;
