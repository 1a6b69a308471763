//! The limit of processes, where nix knows it.

use nix::sys::resource::Resource;

pub(crate) const PROCESSES: Option<Resource> = Some(Resource::RLIMIT_NPROC);
