//! The names of the less common resource limits on FreeBSD, where the limit of the address space
//! has the older name `RLIMIT_VMEM`.

use nix::sys::resource::Resource;

pub(super) const PROCESSES: Option<Resource> = Some(Resource::RLIMIT_NPROC);
pub(super) const LOCKED_MEMORY: Option<Resource> = Some(Resource::RLIMIT_MEMLOCK);
pub(super) const ADDRESS_SPACE: Option<Resource> = Some(Resource::RLIMIT_VMEM);
