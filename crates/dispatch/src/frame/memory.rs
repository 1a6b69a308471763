//! What goes beside a frame: the memory in which its body is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use daemon_sys::memfd::memfd_with;

use crate::body::{Body, Letter};

/// A body that does not go in its frame.
#[derive(Debug)]
pub(super) enum Memory {
    /// It is in a memory file.
    Letter(Arc<Letter>),
    /// It was kept in plain memory, as no file could be had for as long as it waits: it gets one for
    /// the moment in which it is sent.
    Plain(bytes::Bytes),
}

impl Memory {
    /// The memory of this body, if that does not go in the frame.
    pub(super) fn of(body: &Body) -> Option<Memory> {
        (!body.goes_in_its_frame()).then(|| match body {
            Body::Here(bytes) => Memory::Plain(bytes.clone()),
            Body::Shared(letter) => Memory::Letter(Arc::clone(letter)),
        })
    }

    /// The descriptor that is sent.
    pub(super) fn descriptor(&self) -> io::Result<Descriptor<'_>> {
        match self {
            Memory::Letter(letter) => {
                // It is there until the letter is dropped.
                letter.fd().map(Descriptor::Lent).ok_or(io::ErrorKind::NotFound.into())
            }
            Memory::Plain(bytes) => match memfd_with("task", bytes) {
                Ok(fd) => Ok(Descriptor::Made(fd)),
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
    Lent(BorrowedFd<'a>),
    /// It is closed when a copy is on its way.
    Made(OwnedFd),
}

impl AsFd for Descriptor<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Lent(fd) => *fd,
            Descriptor::Made(fd) => fd.as_fd(),
        }
    }
}

/// So many files are made for one sending, while others are there already: descriptors are short then.
const MADE_AT_ONCE: usize = 8;

/// The descriptors of the first of these, in their order: as many as there may be in one sending, at
/// least one.
///
/// # Errors
///
/// If not even the first can be had.
pub(super) fn descriptors<'a>(
    memories: impl Iterator<Item = &'a Memory>,
) -> io::Result<Vec<Descriptor<'a>>> {
    let (mut found, mut made) = (Vec::new(), 0);
    for memory in memories {
        match memory {
            Memory::Letter(_) => {}
            Memory::Plain(_) if made == MADE_AT_ONCE => break,
            Memory::Plain(_) => made += 1,
        }
        match memory.descriptor() {
            Ok(descriptor) => found.push(descriptor),
            Err(error) if found.is_empty() => return Err(error),
            // The next sending finds out.
            Err(_later) => break,
        }
    }
    Ok(found)
}
