//! What goes beside a frame: the memory in which its body is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use daemon_sys::memfd::memfd_with;

use crate::body::{Body, SharedBuffer};

/// A body that does not go in its frame.
#[derive(Debug)]
pub(super) enum SharedBody {
    /// It is in a memory file.
    Buffer(Arc<SharedBuffer>),
    /// It was kept in plain memory, as no file could be had for as long as it waits: it gets one for
    /// the moment in which it is sent.
    Heap(bytes::Bytes),
}

impl SharedBody {
    /// The memory of this body, if that does not go in the frame.
    pub(super) fn of(body: &Body) -> Option<SharedBody> {
        (!body.fits_in_frame()).then(|| match body {
            Body::Heap(bytes) => SharedBody::Heap(bytes.clone()),
            Body::Shared(letter) => SharedBody::Buffer(Arc::clone(letter)),
        })
    }

    /// The descriptor that is sent.
    pub(super) fn descriptor(&self) -> io::Result<Descriptor<'_>> {
        match self {
            SharedBody::Buffer(letter) => {
                // It is there until the letter is dropped.
                letter.fd().map(Descriptor::Borrowed).ok_or(io::ErrorKind::NotFound.into())
            }
            SharedBody::Heap(bytes) => match memfd_with("task", bytes) {
                Ok(fd) => Ok(Descriptor::Owned(fd)),
                Err(error) => Err(match error.raw_os_error() {
                    Some(number) => io::Error::from_raw_os_error(number),
                    None => io::Error::other(error),
                }),
            },
        }
    }
}

/// A descriptor that is sent.
#[derive(Debug)]
pub(super) enum Descriptor<'a> {
    Borrowed(BorrowedFd<'a>),
    /// It is closed when a copy is on its way.
    Owned(OwnedFd),
}

impl AsFd for Descriptor<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Borrowed(fd) => *fd,
            Descriptor::Owned(fd) => fd.as_fd(),
        }
    }
}

/// So many files are made for one sending, while others are there already: descriptors are short then.
const CREATED_AT_ONCE: usize = 8;

/// The descriptors of the first of these, in their order: as many as there may be in one sending, at
/// least one.
///
/// # Errors
///
/// If not even the first can be had.
pub(super) fn descriptors<'a>(
    shared_bodies: impl Iterator<Item = &'a SharedBody>,
) -> io::Result<Vec<Descriptor<'a>>> {
    let (mut found, mut made) = (Vec::new(), 0);
    for shared in shared_bodies {
        match shared {
            SharedBody::Buffer(_) => {}
            SharedBody::Heap(_) if made == CREATED_AT_ONCE => break,
            SharedBody::Heap(_) => made += 1,
        }
        match shared.descriptor() {
            Ok(descriptor) => found.push(descriptor),
            Err(error) if found.is_empty() => return Err(error),
            // The next sending finds out.
            Err(_later) => break,
        }
    }
    Ok(found)
}
