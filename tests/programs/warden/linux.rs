//! Linux hands orphans to the nearest ancestor that asks for them.

use std::io;

/// From now on descendants whose parents end are this process's.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}
