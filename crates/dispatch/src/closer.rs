//! Closes descriptors that a worker has sent, without blocking the event loop.

/// Closes these descriptors in a thread of their own.
///
/// A worker can send any descriptor, and closing it can take long: a socket can linger, a file can
/// be on a file system that does not answer, and the memory of a large file must be freed. If no
/// thread can be created, the descriptors are closed at once.
pub(crate) fn close<T: Send + 'static>(descriptors: T) {
    let thread = std::thread::Builder::new().name("closer".to_owned());
    // If this fails, the closure is dropped, and the descriptors with it.
    let _ = thread.stack_size(64 * 1024).spawn(move || drop(descriptors));
}
