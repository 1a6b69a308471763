//! Restores the length of a shared file that another process has truncated.
//!
//! An access to a mapping beyond the end of its file raises `SIGBUS`, which kills the process. Any
//! process of the same user can truncate the file. The handler makes the file as long as before, and
//! the access is repeated. What was truncated is zero then.

use std::ffi::c_void;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use libc::{c_int, siginfo_t};

use crate::signals::{install_bus_handler, restore_bus_action};

/// A file, the address of its mapping, and its length.
struct MappedFile {
    file: AtomicI32,
    start: AtomicUsize,
    length: AtomicUsize,
}

/// The last files that were mapped. A daemon has one.
static FILES: [MappedFile; FILES_MAX] = [const {
    MappedFile { file: AtomicI32::new(-1), start: AtomicUsize::new(0), length: AtomicUsize::new(0) }
}; FILES_MAX];
/// The number of files that were mapped.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// The number of files whose length is restored.
pub(super) const FILES_MAX: usize = 16;

/// The action of `SIGBUS` before the handler was installed.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler in this process and, by inheritance, in all processes that it forks. The
/// file stays open in them.
pub(super) fn restore_length_of(
    file: OwnedFd,
    start: NonNull<c_void>,
    length: usize,
) -> io::Result<()> {
    let entry = &FILES[MAPPED.fetch_add(1, Ordering::SeqCst) % FILES_MAX];
    entry.file.store(file.into_raw_fd(), Ordering::SeqCst);
    entry.start.store(start.as_ptr().addr(), Ordering::SeqCst);
    entry.length.store(length, Ordering::SeqCst);
    if PREVIOUS.get().is_none() {
        // If this fails, another thread has installed the handler at the same time.
        let _ = PREVIOUS.set(install_bus_handler(on_bus_error)?);
    }
    Ok(())
}

/// The signal handler. It makes only async-signal-safe calls (signal-safety(7)).
extern "C" fn on_bus_error(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo_t to a handler with SA_SIGINFO.
    let info = unsafe { info.as_ref() };
    // SAFETY: a SIGBUS that the kernel has raised for an access has the address of this access.
    let address = info.map(|info| unsafe { info.si_addr() }.addr());
    for MappedFile { file, start, length } in &FILES {
        let (file, length) = (file.load(Ordering::SeqCst), length.load(Ordering::SeqCst));
        let start = start.load(Ordering::SeqCst);
        let is_here = address.is_some_and(|at| at >= start && at - start < length);
        if is_here && is_truncated(file, length) && extend(file, length) {
            return;
        }
    }
    // The access is repeated, and raises the signal again, with the previous action.
    if let Some(previous) = PREVIOUS.get() {
        restore_bus_action(previous);
    }
}

/// Returns whether the file is shorter than its mapping. If it is not, the error has another cause,
/// for example a full disk.
fn is_truncated(file: RawFd, length: usize) -> bool {
    // SAFETY: stat is made of integers, for which zero is valid.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: fstat is async-signal-safe, and the pointer is to a whole stat.
    let result = unsafe { libc::fstat(file, &raw mut status) };
    result == 0 && usize::try_from(status.st_size).is_ok_and(|size| size < length)
}

fn extend(file: RawFd, length: usize) -> bool {
    let Ok(length) = libc::off_t::try_from(length) else { return false };
    // SAFETY: ftruncate is async-signal-safe and touches no memory of ours.
    unsafe { libc::ftruncate(file, length) == 0 }
}
