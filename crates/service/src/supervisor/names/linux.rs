//! Linux has names for sockets that are in no directory.

use nix::sys::socket::UnixAddr;

pub(super) fn address(name: &[u8]) -> Result<UnixAddr, String> {
    UnixAddr::new_abstract(name).map_err(|error| error.to_string())
}
