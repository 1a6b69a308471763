//! The process limit, where nix supports it.

use nix::sys::resource::Resource;

pub(crate) const PROCESSES: Option<Resource> = Some(Resource::RLIMIT_NPROC);
