//! Survives the truncation of a shared file.
//!
//! Every process of the file's owner can truncate the file, and an access to a mapped page beyond
//! the end of the file raises `SIGBUS`, which kills the process. The handler of this module extends
//! the file again instead. The pages are then zeroed, as any values that another process writes.
//!
//! If the file cannot be extended, for example because the disk is full, the handler replaces the
//! page by one of a reserve: memory without a file that was created with the file. All processes
//! have the same reserve, so they still share the values. On systems other than Linux the new page
//! belongs to one process and those that it forks.
//!
//! The handler makes only system calls and uses atomics (signal-safety(7)).

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use libc::{c_int, siginfo_t};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{SysconfVar, sysconf};

/// A mapped file. It is never freed, because the handler may be reading it.
struct MappedFile {
    start: usize,
    length: usize,
    page: usize,
    /// The start of the reserve, which has the same length.
    reserve: usize,
    /// The length of the start of the mapping that is read-only.
    read_only: AtomicUsize,
    fd: RawFd,
    /// The device and the inode, which show whether the descriptor still belongs to the file.
    identity: (u64, u64),
    next: *const MappedFile,
}

/// The mapped files, the last one first.
static MAPPED: AtomicPtr<MappedFile> = AtomicPtr::new(ptr::null_mut());

/// The action of `SIGBUS` before the handler was installed. Rust's runtime has one.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Makes this process, and those that it forks, survive a truncation of this file, which is mapped
/// at `start`. The file stays open.
pub(super) fn survive(file: File, start: NonNull<c_void>, length: usize) -> io::Result<()> {
    let metadata = file.metadata()?;
    let reserve = platform::reserve(length)?;
    let mapped = Box::leak(Box::new(MappedFile {
        start: start.as_ptr() as usize,
        length,
        page: sysconf(SysconfVar::PAGE_SIZE)?.and_then(|page| page.try_into().ok()).unwrap_or(4096),
        reserve,
        read_only: AtomicUsize::new(0),
        fd: file.into_raw_fd(),
        identity: (metadata.dev(), metadata.ino()),
        next: ptr::null(),
    }));
    let mut last = MAPPED.load(Ordering::Acquire);
    loop {
        mapped.next = last;
        match MAPPED.compare_exchange(last, mapped, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break,
            Err(newer) => last = newer,
        }
    }
    // A process that blocks the signal is ended by it.
    let mut bus = SigSet::empty();
    bus.add(Signal::SIGBUS);
    bus.thread_unblock()?;
    install()
}

/// Records that the start of a mapping is read-only from now on, in this process and in those that
/// it forks. Pages that replace it are then read-only too.
pub(super) fn set_read_only(start: *const c_void, length: usize) {
    let mut mapped = MAPPED.load(Ordering::Acquire).cast_const();
    // SAFETY: the list consists of leaked values, of which only an atomic changes.
    while let Some(file) = unsafe { mapped.as_ref() } {
        if file.start == start as usize {
            file.read_only.store(length, Ordering::Release);
        }
        mapped = file.next;
    }
}

fn install() -> io::Result<()> {
    if PREVIOUS.get().is_some() {
        return Ok(());
    }
    // SAFETY: sigaction is made of integers and an optional function pointer, for which zero is
    // valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_bus_error as *const () as libc::sighandler_t;
    // As for the handler of Rust's runtime, the thread's alternative stack is used.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut previous = MaybeUninit::uninit();
    // SAFETY: both pointers are to a whole sigaction, and the handler takes three arguments, as
    // SA_SIGINFO requires.
    match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, previous.as_mut_ptr()) } {
        // SAFETY: sigaction has succeeded, so it has written the previous action.
        0 => drop(PREVIOUS.set(unsafe { previous.assume_init() })),
        _ => return Err(io::Error::last_os_error()),
    }
    Ok(())
}

extern "C" fn on_bus_error(number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY: the kernel passes a valid siginfo_t.
    let details = unsafe { &*info };
    // SAFETY: SIGBUS sets the address.
    let address = unsafe { details.si_addr() } as usize;
    let mut mapped = MAPPED.load(Ordering::Acquire).cast_const();
    // SAFETY: the list consists of leaked values, of which only an atomic changes.
    while let Some(file) = unsafe { mapped.as_ref() } {
        if (file.start..file.start + file.length).contains(&address) && file.restore(address) {
            Errno::set_raw(errno);
            return;
        }
        mapped = file.next;
    }
    previous_action(number, info, context);
}

/// Does what would have happened without the handler.
fn previous_action(number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    match PREVIOUS.get() {
        Some(previous)
            if previous.sa_flags & libc::SA_SIGINFO != 0
                && ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous.sa_sigaction) =>
        {
            // SAFETY: with SA_SIGINFO the action is a function of these three arguments.
            let handler: Handler = unsafe { std::mem::transmute(previous.sa_sigaction) };
            handler(number, info, context);
        }
        Some(_) | None => {
            // SAFETY: SIG_DFL runs no code of ours. The access is repeated, and ends the process.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
    }
}

impl MappedFile {
    /// Makes the page at this address accessible again. Returns whether this was possible.
    fn restore(&self, address: usize) -> bool {
        self.extend() || self.replace(address)
    }

    /// Extends the file to its original length. Returns false if this is not possible, or if the
    /// file has this length, so that the error has another cause.
    fn extend(&self) -> bool {
        let mut found = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the pointer is to a whole stat; the descriptor is only queried.
        if unsafe { libc::fstat(self.fd, found.as_mut_ptr()) } != 0 {
            return false;
        }
        // SAFETY: fstat has succeeded, so it has written the value.
        let found = unsafe { found.assume_init() };
        let is_short = usize::try_from(found.st_size).is_ok_and(|size| size < self.length);
        platform::identity(&found) == self.identity
            && is_short
            && platform::extend(self.fd, self.length)
    }

    /// Replaces the page at this address by that of the reserve.
    fn replace(&self, address: usize) -> bool {
        let offset = (address - self.start) / self.page * self.page;
        let page = self.start + offset;
        if !platform::replace(page, self.reserve + offset, self.page) {
            return false;
        }
        if offset >= self.read_only.load(Ordering::Acquire) {
            return true;
        }
        // SAFETY: the page belongs to the mapping of the file, which is only read there.
        unsafe { libc::mprotect(page as *mut c_void, self.page, libc::PROT_READ) == 0 }
    }
}

/// Extends a file and allocates its blocks, so that a full disk does not raise `SIGBUS` again. The
/// pages of the reserve are mapped a second time.
#[cfg(target_os = "linux")]
mod platform {
    use std::ffi::c_void;
    use std::io;
    use std::os::fd::RawFd;

    use crate::shared::map;

    /// Maps the reserve. It takes no memory until a page of it is used.
    pub(super) fn reserve(length: usize) -> io::Result<usize> {
        let start = map(length, libc::MAP_SHARED | libc::MAP_ANON | libc::MAP_NORESERVE, -1)?;
        Ok(start.as_ptr() as usize)
    }

    /// Maps a page of the reserve at another address too.
    pub(super) fn replace(page: usize, reserve: usize, length: usize) -> bool {
        let (from, to) = (reserve as *mut c_void, page as *mut c_void);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: both pages belong to mappings of this module. With a length of 0 a shared page
        // stays where it is and is mapped once more (mremap(2)). The values at the new address may
        // change at any time.
        let mapped = unsafe { libc::mremap(from, 0, length, flags, to) };
        mapped != libc::MAP_FAILED
    }

    pub(super) fn identity(found: &libc::stat) -> (u64, u64) {
        (found.st_dev, found.st_ino)
    }

    pub(super) fn extend(fd: RawFd, length: usize) -> bool {
        let Ok(length) = libc::off_t::try_from(length) else {
            return false;
        };
        // SAFETY: fallocate takes numbers only. It enlarges the file or changes nothing.
        unsafe { libc::fallocate(fd, 0, 0, length) == 0 }
    }
}

/// Extends a file. There is no reserve.
#[cfg(not(target_os = "linux"))]
mod platform {
    use std::ffi::c_void;
    use std::io;
    use std::os::fd::RawFd;

    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
    pub(super) fn reserve(_length: usize) -> io::Result<usize> {
        Ok(0)
    }

    /// Maps a new page at this address.
    pub(super) fn replace(page: usize, _reserve: usize, length: usize) -> bool {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANON | libc::MAP_FIXED;
        // SAFETY: the page belongs to a mapping of this module, which is never unmapped, and whose
        // values may change at any time.
        let mapped = unsafe { libc::mmap(page as *mut c_void, length, access, flags, -1, 0) };
        mapped != libc::MAP_FAILED
    }

    #[expect(
        clippy::useless_conversion,
        clippy::unnecessary_fallible_conversions,
        reason = "the types differ between systems"
    )]
    pub(super) fn identity(found: &libc::stat) -> (u64, u64) {
        (u64::try_from(found.st_dev).unwrap_or(0), u64::try_from(found.st_ino).unwrap_or(0))
    }

    pub(super) fn extend(fd: RawFd, length: usize) -> bool {
        let Ok(length) = libc::off_t::try_from(length) else {
            return false;
        };
        // SAFETY: ftruncate takes numbers only. The caller has checked that the file is shorter.
        unsafe { libc::ftruncate(fd, length) == 0 }
    }
}
