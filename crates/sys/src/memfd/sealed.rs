//! Creates memory files with memfd_create(2): `filled` creates a sealed file, and `empty` creates a
//! file that can be sealed later.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

pub(super) fn filled(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = empty(name)?;
    super::write_all(&fd, bytes)?;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
    Ok(fd)
}

pub(super) fn empty(name: &str) -> io::Result<OwnedFd> {
    Ok(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_sealed_file_cannot_be_changed() {
        let fd = filled("test", b"data").expect("created");
        let refused = super::super::write_all(fd.as_fd(), b"other").expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(nix::unistd::ftruncate(&fd, 0), Err(nix::errno::Errno::EPERM));
    }
}
