//! The process limit, which nix does not support on macOS.

use nix::sys::resource::Resource;

pub(crate) const PROCESSES: Option<Resource> = None;
