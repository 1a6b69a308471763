//! The names of the less common limits on FreeBSD, which has an older name for the address space.

use nix::sys::resource::Resource;

pub(super) const PROCESSES: Option<Resource> = Some(Resource::RLIMIT_NPROC);
pub(super) const LOCKED_MEMORY: Option<Resource> = Some(Resource::RLIMIT_MEMLOCK);
pub(super) const ADDRESS_SPACE: Option<Resource> = Some(Resource::RLIMIT_VMEM);
