//! The stack walk on Linux, with the unwinder that Rust's panics use.

use std::ffi::c_void;
use std::io;
use std::ops::ControlFlow;

pub(super) fn install(install: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    install()
}

/// Visits the addresses of the frames above this address on the stack, innermost first; all frames
/// if the address is null. The first frame above a handler's context is the interrupted one. The
/// frames below it, of the handler itself and of the kernel's signal trampoline, are left out.
///
/// It neither allocates nor blocks, see [`trace`](super).
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
