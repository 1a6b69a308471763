//! The names of the less common limits on macOS, where nix lacks two of them.

use nix::sys::resource::Resource;

pub(super) const PROCESSES: Option<Resource> = None;
pub(super) const LOCKED_MEMORY: Option<Resource> = None;
pub(super) const ADDRESS_SPACE: Option<Resource> = Some(Resource::RLIMIT_AS);
