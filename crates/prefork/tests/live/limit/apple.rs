//! The limit on the number of processes, which nix cannot set on Apple systems.

use nix::sys::resource::Resource;

pub(crate) const PROCESSES: Option<Resource> = None;
