//! A descriptor as a stream of wake-ups, for an actor that reads it itself.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use daemon_sys::watch;
use futures::Stream;
use tokio::io::unix::AsyncFd;

/// Yields `T` each time the descriptor becomes readable.
///
/// The readiness is cleared before the item is yielded, so what comes while the actor reads wakes
/// it again: it must read until the descriptor is empty.
#[derive(Debug)]
pub(crate) struct Watch<T> {
    fd: AsyncFd<OwnedFd>,
    item: T,
}

impl<T: Copy> Watch<T> {
    /// Watches a duplicate of the descriptor, so that its owner stays its owner.
    pub(crate) fn readable(fd: BorrowedFd<'_>, item: T) -> io::Result<Self> {
        let fd = watch::readable(fd.try_clone_to_owned()?).map_err(io::Error::other)?;
        Ok(Watch { fd, item })
    }
}

impl<T: Copy + Unpin> Stream for Watch<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match self.fd.poll_read_ready(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(mut ready)) => {
                ready.clear_ready();
                Poll::Ready(Some(self.item))
            }
            // The runtime is shutting down.
            Poll::Ready(Err(_)) => Poll::Ready(None),
        }
    }
}
