//! The limit on the number of processes, for systems on which nix can set it.

use nix::sys::resource::Resource;

pub(crate) const PROCESSES: Option<Resource> = Some(Resource::RLIMIT_NPROC);
