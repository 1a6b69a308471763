//! Elsewhere orphans are init's, and what a test leaves behind could not be found.

use std::io;

/// From now on descendants whose parents end are this process's.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Err(io::Error::other("the live tests look at /proc, and run on Linux"))
}
