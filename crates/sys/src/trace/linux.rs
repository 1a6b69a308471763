//! Walks the stack on Linux with the unwinder that Rust's panics use.

use std::ffi::c_void;
use std::io;
use std::ops::ControlFlow;

pub(super) fn install(install: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    install()
}

/// Visits the code addresses of the frames that are above the address `above` on the stack,
/// innermost first. If `above` is null, visits all frames. If `above` is the context of a signal
/// handler, the first frame above it is the interrupted function's. The frames of the handler
/// itself and of the kernel's signal trampoline are below the context and are left out.
///
/// The walk neither allocates nor blocks (see [`trace`](super)).
pub(super) fn walk(above: *const c_void, mut visit: impl FnMut(usize) -> ControlFlow<()>) {
    let each = |frame: &backtrace::Frame| {
        if frame.sp().cast_const() <= above && !frame.sp().is_null() {
            return true;
        }
        // Some stacks end in a null frame.
        !frame.ip().is_null() && visit(frame.ip() as usize).is_continue()
    };
    // SAFETY: the unsynchronised walk only omits a lock that Windows' dbghelp needs. On Linux the
    // walk is `_Unwind_Backtrace`, which may run in several threads and in a signal handler.
    unsafe { backtrace::trace_unsynchronized(each) };
}
