//! A child's backtrace on request: where is it, while it runs or waits?
//!
//! Who asks writes the child's pid to a page of shared memory, and has `SIGURG` sent to it. The
//! child's handler walks its own stack, writes the addresses to the page and rings a bell. Names are
//! found by who asked: all are forked from one process, so an address means the same in each.
//!
//! The handler is installed before the fork and inherited, so a child that is never asked pays
//! nothing. It does what may be done at any instant (signal-safety(7)): atomics, getpid(2), the walk,
//! write(2). The walk is the unwinder's (`_Unwind_Backtrace`). With GNU's C library from 2.35 on
//! and GCC's unwinder from 12 on it finds its tables by `_dl_find_object`, which takes no lock. With
//! others it is `dl_iterate_phdr`, which takes one: a child that is asked just while it loads or
//! unloads a library may hang in its answer.
//!
//! Elsewhere than on Linux nobody answers.

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
use crate::wakeup::Wakeup;

mod page;
mod symbols;

#[cfg(all(target_os = "linux", not(plain_means)))]
mod linux;
#[cfg(any(not(target_os = "linux"), plain_means))]
mod plain;
#[cfg(all(target_os = "linux", not(plain_means)))]
use linux as platform;
#[cfg(any(not(target_os = "linux"), plain_means))]
use plain as platform;

pub use page::FRAMES;
use page::Page;
pub use symbols::{Frame, symbolise};

/// What who asks and who answers share, before it is settled who is which: to be opened before the
/// fork, and used in one way on either side of it.
///
/// # Examples
///
/// A child is asked where it is:
///
/// ```standalone_crate
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use daemon_sys::fork::{Fork, fork};
/// use daemon_sys::poll::{Interest, wait};
/// use daemon_sys::process::{Signal, Sent, exit_now, signal};
/// use daemon_sys::reap::wait_for;
/// use daemon_sys::trace::{Inquiry, symbolise};
///
/// # fn main() -> Result<(), daemon_sys::Error> {
/// let (up, tell) = std::io::pipe().expect("a pipe");
/// let inquiry = Inquiry::open()?;
/// let child = match fork()? {
///     Fork::Parent(child) => child,
///     Fork::Child => {
///         inquiry.answer()?;
///         drop(tell);
///         std::thread::sleep(Duration::from_secs(60));
///         exit_now(0)
///     }
/// };
/// drop(tell);
/// wait(&[(up.as_fd(), Interest::Read)], None)?;
/// let mut asker = inquiry.asker();
/// let question = asker.ask(child);
/// assert_eq!(signal(child, Signal::Urg)?, Sent::Delivered);
/// wait(&[(asker.as_fd(), Interest::Read)], Some(Duration::from_millis(100)))?;
/// for frame in symbolise(&asker.take(&question).unwrap_or_default()) {
///     println!("{frame}");
/// }
/// assert_eq!(signal(child, Signal::Kill)?, Sent::Delivered);
/// wait_for(child)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Inquiry {
    page: &'static Page,
    bell: Wakeup,
}

impl Inquiry {
    /// Maps the page and hangs up the bell.
    ///
    /// # Errors
    ///
    /// If there is no memory, or no descriptor is left.
    pub fn open() -> Result<Inquiry> {
        let pages = shared::anonymous::<Page>(1)?;
        let [page] = pages else {
            let (object, why) = ("a page for backtraces".into(), "it is not one".into());
            return Err(Error::Layout { object, why });
        };
        Ok(Inquiry { page, bell: Wakeup::new()? })
    }

    /// Has this process, and all that it forks from now on, answer when it is asked: installs the
    /// handler of `SIGURG`, which restarts the system calls that it interrupts and does nothing
    /// unless it is this very process that is asked.
    ///
    /// The unwinder is not tried out first: what it prepares at its first use is one table of constants,
    /// and to walk a stack here would keep pages of the program in memory that nobody needs. The bell's
    /// descriptor stays open for good. A later inquiry takes over from an earlier one. Where
    /// no stack can be walked nothing is installed, and nobody answers.
    ///
    /// # Errors
    ///
    /// None that sigaction(2) names for this signal.
    pub fn answer(self) -> Result<()> {
        platform::install(|| {
            // Never freed: a handler may be reading it.
            WITNESS.store(Box::leak(Box::new(self)), Ordering::Release);
            handle_with_context(Signal::Urg, answer)
        })
        .map_err(|error| Error::os(format!("handle {}", Signal::Urg), error))
    }

    /// Has this process be the one that asks.
    #[must_use]
    pub fn asker(self) -> Asker {
        Asker { page: self.page, bell: self.bell, last: 0 }
    }
}

/// What the handler answers with; null as long as nobody answers here.
static WITNESS: AtomicPtr<Inquiry> = AtomicPtr::new(ptr::null_mut());

/// The handler. `context` is what the kernel keeps of the interrupted thread, on that thread's
/// stack.
extern "C" fn answer(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: it is null, or what `Inquiry::answer` has leaked and nobody changes.
    let Some(witness) = (unsafe { WITNESS.load(Ordering::Acquire).as_ref() }) else {
        return;
    };
    let errno = Errno::last_raw();
    if let Some(mut writer) = witness.page.take_up(std::process::id()) {
        platform::walk(context, |address| writer.add(address));
        writer.finish();
        witness.bell.wake();
    }
    Errno::set_raw(errno);
}

/// The right to ask processes where they are, one at a time.
///
/// Its descriptor is readable when an answer has come: [`hush`](Asker::hush), then
/// [`take`](Asker::take).
#[derive(Debug)]
pub struct Asker {
    page: &'static Page,
    bell: Wakeup,
    last: u32,
}

impl Asker {
    /// Asks a process, and forgets the question before. It is not told: [`Signal::Urg`] has to be
    /// sent to it by whoever may.
    ///
    /// A process that is stopped, has the signal blocked, or waits in the kernel without hearing
    /// signals (state `D`) answers later or never: set a time for it.
    pub fn ask(&mut self, pid: Pid) -> Question {
        // Zero is the page's number before the first question.
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.page.ask(self.last, pid.as_raw().unsigned_abs());
        self.bell.clear();
        Question { number: self.last, pid }
    }

    /// Takes the answer to this question: the address at which the process was, then the return
    /// addresses of its callers, at most [`FRAMES`]. `None` as long as it has not come; for good, if
    /// something else was asked since.
    ///
    /// The bytes are another process's: an address may be any number.
    #[must_use]
    pub fn take(&self, question: &Question) -> Option<Vec<usize>> {
        self.page.answer_to(question.number)
    }

    /// Silences the bell. Take after it, not before.
    pub fn clear(&self) {
        self.bell.clear();
    }
}

impl AsFd for Asker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl AsRawFd for Asker {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }
}

/// A question that was asked: by it the answer is told from a late one to another.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "without it the answer cannot be taken"]
pub struct Question {
    number: u32,
    pid: Pid,
}

impl Question {
    /// Returns who was asked.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }
}
