//! On other systems init adopts orphans, so the processes that a test leaves behind cannot be
//! found.

use std::io;

/// Makes this process the parent of its orphaned descendants.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Err(io::Error::other("the live tests read /proc and run on Linux only"))
}
