//! Requests backtraces of child processes while they run or block.
//!
//! The requester writes the child's pid to a page of shared memory and sends `SIGURG` to the child.
//! The child's signal handler walks its own stack, writes the addresses to the page and wakes the
//! requester. The requester then resolves the addresses to names. This works because all processes
//! are forked from the same process, so an address refers to the same function in all of them.
//!
//! The handler is installed before the fork and inherited, so it costs nothing in a child that is
//! never traced.
//!
//! The handler makes only async-signal-safe calls (signal-safety(7)): atomics, getpid(2), the stack
//! walk and write(2). The stack walk is the unwinder's `_Unwind_Backtrace`. With the GNU C library
//! 2.35 or later and GCC's unwinder 12 or later, the unwinder finds its tables with
//! `_dl_find_object`, which takes no lock. Other versions use `dl_iterate_phdr`, which takes a
//! lock. With these versions, a child that receives a request while it loads or unloads a library
//! can deadlock in the handler.
//!
//! On systems other than Linux no process responds to a request.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{c_int, siginfo_t};
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::process::{Pid, Signal};
use crate::shared;
use crate::signals::handle_with_context;
use crate::wakeup::{Waker, Wakeup};

mod page;
mod symbols;

use page::BacktracePage;
pub use page::MAX_FRAMES;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use page::check as check_page;
pub use symbols::{StackFrame, return_addresses, symbolise_each};

/// The shared memory and the wakeup of a backtrace requester and its targets.
///
/// Open the channel before the fork. After the fork, call
/// [`install_handler`](Self::install_handler) in the traced process and
/// [`into_requester`](Self::into_requester) in the requesting process.
///
/// # Examples
///
/// A parent requests its child's backtrace:
///
/// ```standalone_crate
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use daemon_sys::fork::{ForkResult, fork};
/// use daemon_sys::poll::{Interest, wait};
/// use daemon_sys::process::{Signal, SignalOutcome, exit_now, signal};
/// use daemon_sys::reap::wait_for;
/// use daemon_sys::trace::{BacktraceChannel, return_addresses, symbolise_each};
///
/// # fn main() -> Result<(), daemon_sys::Error> {
/// let (reader, writer) = std::io::pipe().expect("a pipe");
/// let channel = BacktraceChannel::open()?;
/// let child = match fork()? {
///     ForkResult::Parent(child) => child,
///     ForkResult::Child => {
///         channel.install_handler()?;
///         drop(writer);
///         std::thread::sleep(Duration::from_secs(60));
///         exit_now(0)
///     }
/// };
/// drop(writer);
/// wait(&[(reader.as_fd(), Interest::Read)], None)?;
/// let mut requester = channel.into_requester();
/// let request = requester.request(child);
/// assert_eq!(signal(child, Signal::Urg)?, SignalOutcome::Delivered);
/// wait(&[(requester.as_fd(), Interest::Read)], Some(Duration::from_millis(100)))?;
/// let backtrace = requester.response(&request).unwrap_or_default();
/// let addresses: Vec<usize> = return_addresses(&backtrace).collect();
/// symbolise_each(&addresses, |_index, frame| println!("{frame}"));
/// assert_eq!(signal(child, Signal::Kill)?, SignalOutcome::Delivered);
/// wait_for(child)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BacktraceChannel {
    page: &'static BacktracePage,
    wakeup: Wakeup,
}

impl BacktraceChannel {
    /// Maps the shared page and creates the wakeup.
    ///
    /// # Errors
    ///
    /// If the system is out of memory or descriptors.
    pub fn open() -> Result<BacktraceChannel> {
        let pages = shared::anonymous::<BacktracePage>(1)?;
        let [page] = pages else {
            let (object, reason) = (
                "a page for backtraces".into(),
                "the mapping does not have exactly one page".into(),
            );
            return Err(Error::Layout { object, reason });
        };
        Ok(BacktraceChannel { page, wakeup: Wakeup::new()? })
    }

    /// Installs the handler of `SIGURG` in this process and, by inheritance, in all processes that
    /// it forks from now on. System calls that the handler interrupts are restarted. The handler
    /// does nothing unless the request is for its process.
    ///
    /// This method does not walk the stack to initialise the unwinder in advance. The unwinder's
    /// first use initialises only one table of constants, and a stack walk here would load pages of
    /// the program that are not needed otherwise.
    ///
    /// The descriptor of the wakeup is never closed. A later channel replaces an earlier one. On
    /// systems without a stack walk no handler is installed, and no process responds.
    ///
    /// # Errors
    ///
    /// sigaction(2) documents no error for this signal.
    pub fn install_handler(self) -> Result<()> {
        platform::install(|| {
            // The channel is never freed, because the handler may be reading it.
            let responder = Responder { page: self.page, waker: self.wakeup.into_waker() };
            CHANNEL.store(Box::leak(Box::new(responder)), Ordering::Release);
            handle_with_context(Signal::Urg, on_request)
        })
        .map_err(|error| Error::os(format!("handle {}", Signal::Urg), error))
    }

    /// Turns this process into the requester.
    #[must_use]
    pub fn into_requester(self) -> BacktraceRequester {
        BacktraceRequester { page: self.page, wakeup: self.wakeup, last: 0 }
    }
}

/// The part of a channel that responds.
#[derive(Debug)]
struct Responder {
    page: &'static BacktracePage,
    waker: Waker,
}

/// The channel that the handler uses; null if this process does not respond.
static CHANNEL: AtomicPtr<Responder> = AtomicPtr::new(ptr::null_mut());

/// The signal handler. `context` is the saved context of the interrupted thread, on that thread's
/// stack.
extern "C" fn on_request(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the pointer is null, or points to a channel that `BacktraceChannel::install_handler`
    // has leaked and that no code changes.
    let Some(channel) = (unsafe { CHANNEL.load(Ordering::Acquire).as_ref() }) else {
        return;
    };
    let errno = Errno::last_raw();
    if let Some(mut writer) = channel.page.accept(std::process::id()) {
        platform::walk(context, |address| writer.add(address));
        writer.finish();
        channel.waker.wake();
    }
    Errno::set_raw(errno);
}

/// Requests backtraces of other processes, one at a time.
///
/// The requester's descriptor is readable when a response has arrived. Then call
/// [`clear`](BacktraceRequester::clear) first and [`response`](BacktraceRequester::response)
/// afterwards.
#[derive(Debug)]
pub struct BacktraceRequester {
    page: &'static BacktracePage,
    wakeup: Wakeup,
    last: u32,
}

impl BacktraceRequester {
    /// Writes a request for the process with this pid to the shared page, and discards the previous
    /// request. Sends no signal; the caller must send [`Signal::Urg`] to the process.
    ///
    /// A process that is stopped, blocks the signal, or is in an uninterruptible sleep (state `D`)
    /// responds later or never, so wait with a timeout.
    pub fn request(&mut self, pid: Pid) -> BacktraceRequest {
        // Zero is the number in the page before the first request.
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.page.request(self.last, pid.as_raw().unsigned_abs());
        self.wakeup.clear();
        BacktraceRequest { number: self.last, pid }
    }

    /// Returns the response to this request: the address that the process was executing, then the
    /// return addresses of its callers, at most [`MAX_FRAMES`]. Returns `None` until the response
    /// has arrived, and always if there was a later request.
    ///
    /// Another process wrote the bytes, so an address can be any number.
    #[must_use]
    pub fn response(&self, request: &BacktraceRequest) -> Option<Vec<usize>> {
        self.page.response(request.number)
    }

    /// Makes the descriptor unreadable again. Call it before [`response`](Self::response), not
    /// after.
    pub fn clear(&self) {
        self.wakeup.clear();
    }
}

impl AsFd for BacktraceRequester {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }
}

impl AsRawFd for BacktraceRequester {
    fn as_raw_fd(&self) -> RawFd {
        self.wakeup.as_raw_fd()
    }
}

/// The id of a request, which distinguishes its response from a late response to another request.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the response cannot be read without it"]
pub struct BacktraceRequest {
    number: u32,
    pid: Pid,
}

impl BacktraceRequest {
    /// Returns the pid of the requested process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

/// Installs no signal handler, so no process responds to a request for a backtrace.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::ffi::c_void;
    use std::io;
    use std::ops::ControlFlow;

    pub(super) fn install(_: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn walk(_: *const c_void, _: impl FnMut(usize) -> ControlFlow<()>) {}
}

/// Walks the stack on Linux with the unwinder that Rust's panics use.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::ffi::c_void;
    use std::io;
    use std::ops::ControlFlow;

    pub(super) fn install(install: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        install()
    }

    /// Visits the code addresses of the frames that are above the address `above` on the stack,
    /// innermost first. If `above` is null, visits all frames. If `above` is the context of a
    /// signal handler, the first frame above it is the interrupted function's. The frames of the
    /// handler itself and of the kernel's signal trampoline are below the context and are left out.
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
        // SAFETY: the unsynchronised walk only omits a lock that Windows' dbghelp needs. On Linux
        // the walk is `_Unwind_Backtrace`, which may run in several threads and in a signal
        // handler.
        unsafe { backtrace::trace_unsynchronized(each) };
    }
}
