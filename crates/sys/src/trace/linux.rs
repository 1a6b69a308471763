//! The walk along the stack on Linux, by the unwinder that Rust's panics use.

use std::ffi::c_void;
use std::io;
use std::ops::ControlFlow;

/// Does what is to be done where a stack can be walked.
pub(super) fn install(install: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    install()
}

/// Visits the addresses of the frames that lie above this one on the stack, innermost first; above
/// null, those of all. The first above a handler's context is where the signal has interrupted, and
/// what is below it, the handler itself and the kernel's way back from it, is left out.
///
/// It neither allocates nor waits, see [`trace`](super).
pub(super) fn walk(above: *const c_void, mut visit: impl FnMut(usize) -> ControlFlow<()>) {
    let each = |frame: &backtrace::Frame| {
        if frame.sp().cast_const() <= above && !frame.sp().is_null() {
            return true;
        }
        // Some stacks end in a frame of nothing.
        !frame.ip().is_null() && visit(frame.ip() as usize).is_continue()
    };
    // SAFETY: what the unsynchronised walk leaves out is a lock that Windows' dbghelp needs; here
    // it is `_Unwind_Backtrace`, which may run in several threads and in a handler.
    unsafe { backtrace::trace_unsynchronized(each) };
}
