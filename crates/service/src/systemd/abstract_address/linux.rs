//! Abstract socket addresses on Linux.

use nix::sys::socket::UnixAddr;

pub(super) fn new(name: &[u8]) -> Result<UnixAddr, String> {
    UnixAddr::new_abstract(name).map_err(|error| error.to_string())
}
