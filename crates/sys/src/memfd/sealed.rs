//! A file without a name by memfd_create(2), sealed.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

pub(super) fn filled(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = empty(name)?;
    super::write_all(&fd, bytes)?;
    seal(&fd)?;
    Ok(fd)
}

pub(super) fn empty(name: &str) -> io::Result<OwnedFd> {
    Ok(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?)
}

pub(super) fn seal(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
    Ok(())
}

/// Whether nobody can shorten or change it any more: then it is safe to map.
pub(super) fn is_sealed(fd: BorrowedFd<'_>) -> bool {
    let wanted = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_WRITE;
    fcntl(fd, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(wanted))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn nobody_can_change_it_any_more() {
        let fd = filled("test", b"said").expect("room");
        let refused = super::super::write_all(fd.as_fd(), b"unsaid").expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(nix::unistd::ftruncate(&fd, 0), Err(nix::errno::Errno::EPERM));
    }
}
