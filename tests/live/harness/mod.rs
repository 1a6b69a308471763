//! What a live test stands on: a program started under a warden, clients, and a look at `/proc`.

mod client;
mod control;
mod daemon;
mod gearmand;
mod guard;
#[path = "../../patience.rs"]
mod patience;
mod process;
mod start;
mod steadiness;

pub(crate) use client::{Client, crowd, is_refused};
pub(crate) use control::{Control, fault};
pub(crate) use daemon::Daemon;
pub(crate) use gearmand::Gearmand;
pub(crate) use guard::Guard;
pub(crate) use nix::sys::signal::Signal;
pub(crate) use patience::until;
pub(crate) use process::Process;
pub(crate) use start::Start;
#[cfg(target_os = "linux")]
pub(crate) use start::example;
pub(crate) use steadiness::during;
