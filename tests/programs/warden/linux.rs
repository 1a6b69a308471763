//! On Linux orphans are adopted by the nearest ancestor that is a child subreaper.

use std::io;

/// Makes this process the parent of its orphaned descendants.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}
