//! nix has fewer limits on macOS.

use nix::sys::resource::Resource;

pub(super) const PROCESSES: Option<Resource> = None;
pub(super) const LOCKED_MEMORY: Option<Resource> = None;
pub(super) const ADDRESS_SPACE: Option<Resource> = Some(Resource::RLIMIT_AS);
