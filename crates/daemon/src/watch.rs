//! A stream of readiness events of a file descriptor, for an actor that reads the descriptor
//! itself.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use daemon_sys::watch;
use futures::Stream;
use tokio::io::unix::AsyncFd;

/// Yields `item` each time the descriptor becomes readable.
///
/// The readiness is cleared before the item is yielded, so data that arrives while the actor reads
/// wakes the actor again. The actor must read until the descriptor is empty. A descriptor whose
/// other end is closed stays readable, so the stream yields the item once more and then ends.
#[derive(Debug)]
pub(crate) struct Watch<T> {
    /// `None` after the other end has been closed.
    fd: Option<AsyncFd<OwnedFd>>,
    item: T,
}

impl<T: Copy> Watch<T> {
    /// Watches a duplicate of the descriptor. The original descriptor stays with its owner.
    pub(crate) fn readable(fd: BorrowedFd<'_>, item: T) -> io::Result<Self> {
        let fd = watch::readable(fd.try_clone_to_owned()?).map_err(io::Error::other)?;
        Ok(Watch { fd: Some(fd), item })
    }
}

impl<T: Copy + Unpin> Stream for Watch<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(fd) = &self.fd else { return Poll::Ready(None) };
        match fd.poll_read_ready(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(mut ready)) => {
                let is_closed = ready.ready().is_read_closed();
                ready.clear_ready();
                drop(ready);
                if is_closed {
                    self.fd = None;
                }
                Poll::Ready(Some(self.item))
            }
            // The runtime is shutting down.
            Poll::Ready(Err(_)) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use futures::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn closing_the_other_end_yields_one_more_item_and_ends_the_stream() {
        actix::System::new().block_on(async {
            let (mut theirs, ours) = UnixStream::pair().unwrap();
            let mut watch = Watch::readable(ours.as_fd(), "woken").unwrap();
            assert_eq!(watch.next().now_or_never(), None, "nothing was written");
            theirs.write_all(b"word").unwrap();
            assert_eq!(watch.next().await, Some("woken"));
            assert_eq!(watch.next().now_or_never(), None, "the readiness is cleared");
            drop(theirs);
            assert_eq!(watch.next().await, Some("woken"));
            assert_eq!(watch.next().await, None);
        });
    }
}
