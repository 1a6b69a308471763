//! On Linux, the nearest ancestor that is a child subreaper adopts orphans.

use std::io;

/// Makes this process the parent of its orphaned descendants.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}
