//! nix's names of the limits that some systems lack, for the systems that have all of them.

use nix::sys::resource::Resource;

pub(super) const PROCESSES: Option<Resource> = Some(Resource::RLIMIT_NPROC);
pub(super) const LOCKED_MEMORY: Option<Resource> = Some(Resource::RLIMIT_MEMLOCK);
pub(super) const ADDRESS_SPACE: Option<Resource> = Some(Resource::RLIMIT_AS);
