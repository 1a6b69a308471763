//! Large bodies. Each is sent as a descriptor, together with its frame.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use daemon_sys::memfd::memfd_with;

use crate::body::{Body, SharedBuffer};

/// A body that is not stored in its frame.
#[derive(Debug)]
pub(super) enum SharedBody {
    /// In a memory file.
    Buffer(Arc<SharedBuffer>),
    /// In heap memory, because no memory file was available when the body was encoded. A memory
    /// file is created when the body is sent.
    Heap(bytes::Bytes),
}

impl SharedBody {
    /// Returns the shared body, or `None` if the body is sent in its frame.
    pub(super) fn of(body: &Body) -> Option<SharedBody> {
        (!body.fits_in_frame()).then(|| match body {
            Body::Heap(bytes) => SharedBody::Heap(bytes.clone()),
            Body::Shared(buffer) => SharedBody::Buffer(Arc::clone(buffer)),
        })
    }

    /// Returns the descriptor to send.
    pub(super) fn descriptor(&self) -> io::Result<Descriptor<'_>> {
        match self {
            SharedBody::Buffer(buffer) => {
                // The descriptor stays open until the buffer is dropped.
                buffer.fd().map(Descriptor::Borrowed).ok_or(io::ErrorKind::NotFound.into())
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

/// A descriptor to send.
#[derive(Debug)]
pub(super) enum Descriptor<'a> {
    Borrowed(BorrowedFd<'a>),
    /// Closed after it has been sent.
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

/// The maximum number of memory files that are created for one send. A send creates memory files
/// only for bodies that were encoded while no memory file was available.
const CREATED_AT_ONCE: usize = 8;

/// Returns the descriptors of the bodies, in order, but possibly not of all bodies. If there are
/// bodies, returns at least one descriptor. Stops before a body whose descriptor is not available.
/// Also stops before a body that needs a new memory file if [`CREATED_AT_ONCE`] files have been
/// created.
///
/// # Errors
///
/// Returns an error if the first descriptor is not available.
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
            // If the error persists, the next send returns it.
            Err(_error) => break,
        }
    }
    Ok(found)
}
