//! The limit of processes, which nix does not know on macOS.

use nix::sys::resource::Resource;

pub(crate) const PROCESSES: Option<Resource> = None;
