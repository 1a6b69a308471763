//! Abstract socket addresses on systems that do not support them: `new` always returns an error.

use nix::sys::socket::UnixAddr;

pub(super) fn new(_name: &[u8]) -> Result<UnixAddr, String> {
    Err("this system does not support abstract socket addresses".to_owned())
}
