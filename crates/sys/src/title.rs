//! The process title, which `ps` shows.

/// A handle to the title of this process. A forked child can use its copy of the handle to set its
/// own title.
///
/// On Linux with the GNU C library the title is written over the original arguments and
/// environment, as setproctitle(3) does. The title can be as long as the arguments and the
/// environment together, but at most 4095 bytes. Longer titles are truncated. On other systems no
/// title is shown.
///
/// # Examples
///
/// ```standalone_crate
/// use daemon_sys::title::Title;
///
/// let title = Title::claim();
/// title.set("echo: child 3, waiting");
/// ```
#[derive(Debug)]
pub struct Title {
    memory: platform::TitleMemory,
}

impl Title {
    /// Takes over the memory of the arguments and the environment. Both are copied first, so
    /// `std::env` still returns them.
    ///
    /// Call this function before anything else at launch. A library may otherwise have kept
    /// pointers into that memory, for example from getenv(3), and these pointers would then point
    /// to the title. At most one call succeeds, and only while no other threads are running. Other
    /// calls return a title that is not shown.
    #[must_use]
    pub fn claim() -> Title {
        Title { memory: platform::TitleMemory::claim() }
    }

    /// Sets the title, truncated at a zero byte and at [`capacity`](Title::capacity). Only copies
    /// bytes and makes no system call.
    #[inline]
    pub fn set(&self, title: &str) {
        let end = title.find('\0').unwrap_or(title.len());
        let end = title[..end].floor_char_boundary(self.capacity());
        self.memory.show(&title[..end]);
    }

    /// Returns the maximum length of the title in bytes, which is at most 4095. It is 0 if no title
    /// is shown.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }
}

/// Returns whether a title has replaced all strings of the environment by copies of its own.
pub(crate) fn owns_environment() -> bool {
    platform::owns_environment()
}

/// Process titles on systems that do not support them: setting a title has no effect.
#[cfg(any(not(all(target_os = "linux", target_env = "gnu")), fallback))]
mod platform {
    #[derive(Debug)]
    pub(super) struct TitleMemory;

    impl TitleMemory {
        pub(super) fn claim() -> TitleMemory {
            TitleMemory
        }

        #[expect(clippy::unused_self, reason = "the same signature as on Linux")]
        pub(super) fn show(&self, _: &str) {}

        #[expect(clippy::unused_self, reason = "the same signature as on Linux")]
        pub(super) fn capacity(&self) -> usize {
            0
        }
    }

    pub(super) fn owns_environment() -> bool {
        false
    }
}

/// The process title on Linux, which is written over the strings of the arguments and the
/// environment.
///
/// The strings are contiguous. `/proc/PID/cmdline` normally shows the arguments. If the last byte
/// of the arguments' memory is not zero, the file instead shows the bytes up to the first zero
/// byte, even if that byte is in the environment's memory, but at most a page (`get_mm_proctitle`
/// in the kernel's `fs/proc/base.c`).
#[cfg(all(target_os = "linux", target_env = "gnu", not(fallback)))]
mod platform {
    use std::cell::RefCell;
    use std::ffi::{CStr, c_char, c_int};
    use std::ptr;
    use std::slice;
    use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

    use crate::fork::other_threads;

    /// The maximum number of bytes that the kernel shows, including the final zero byte.
    const PAGE: usize = 4096;

    static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(ptr::null_mut());
    static CLAIMED: AtomicBool = AtomicBool::new(false);
    static OWNS_ENVIRONMENT: AtomicBool = AtomicBool::new(false);

    /// Runs before `main`. The GNU C library passes `main`'s arguments to every function in
    /// `.init_array`. Other C libraries do not, so this module requires `target_env = "gnu"`.
    // SAFETY: the section is a list of pointers to functions of this signature, and this static is
    // such a pointer.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static SAVE_ARGUMENTS: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) =
        save_arguments;

    extern "C" fn save_arguments(_: c_int, arguments: *mut *mut c_char, _: *mut *mut c_char) {
        ARGUMENTS.store(arguments, Ordering::Relaxed);
    }

    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }

    #[derive(Debug)]
    pub(super) struct TitleMemory(RefCell<Claimed>);

    #[derive(Debug)]
    struct Claimed {
        memory: &'static mut [u8],
        /// The length of the arguments' memory, in bytes.
        arguments_end: usize,
        /// The length of the current title, in bytes.
        length: usize,
    }

    impl TitleMemory {
        pub(super) fn claim() -> TitleMemory {
            TitleMemory(RefCell::new(claim().unwrap_or(Claimed {
                memory: &mut [],
                arguments_end: 0,
                length: 0,
            })))
        }

        #[inline]
        pub(super) fn capacity(&self) -> usize {
            self.0.borrow().memory.len().min(PAGE).saturating_sub(1)
        }

        #[inline]
        pub(super) fn show(&self, title: &str) {
            let Claimed { memory, arguments_end, length } = &mut *self.0.borrow_mut();
            if memory.is_empty() {
                return;
            }
            let end = (*length).max(title.len());
            memory[title.len()..=end].fill(0);
            memory[..title.len()].copy_from_slice(title.as_bytes());
            // If the last byte of the arguments' memory is zero, the kernel shows this whole
            // memory, with the zero bytes after a short title. Setting the last byte to '.' makes
            // the kernel stop at the first zero byte, which is directly after the title, so the '.'
            // itself is not shown.
            if title.len() + 1 < *arguments_end {
                memory[*arguments_end - 1] = b'.';
            }
            *length = title.len();
        }
    }

    fn claim() -> Option<Claimed> {
        let arguments = ARGUMENTS.load(Ordering::Relaxed);
        let is_single_threaded = matches!(other_threads(), Ok(None));
        if arguments.is_null() || !is_single_threaded || CLAIMED.swap(true, Ordering::Relaxed) {
            return None;
        }
        // SAFETY: a read of a pointer; no other thread runs that could write it.
        let environment = unsafe { environ };
        // SAFETY: the first argument's pointer, or the null that ends the list.
        let start = unsafe { *arguments }.cast::<u8>();
        // SAFETY: `arguments` is the list that the C library passed, terminated by a null.
        let arguments_end = unsafe { length_from(start, arguments) };
        // SAFETY: `environ` is null or such a list.
        let length =
            arguments_end + unsafe { length_from(start.wrapping_add(arguments_end), environment) };
        if arguments_end < 2 {
            return None;
        }
        // SAFETY: as above; no other thread runs that could read the list.
        unsafe { move_out(arguments) };
        // SAFETY: as above.
        unsafe { move_out(environment) };
        OWNS_ENVIRONMENT.store(true, Ordering::Relaxed);
        // SAFETY: the `length` bytes from `start` are contiguous strings in one mapping, the
        // stack's, which is writable and never unmapped. Neither list points there any more.
        let memory = unsafe { slice::from_raw_parts_mut(start, length) };
        memory[arguments_end - 1..].fill(0);
        Some(Claimed { length: arguments_end - 1, memory, arguments_end })
    }

    /// Returns the total length of the strings that are contiguous from `start`, in the order of
    /// the list.
    ///
    /// # Safety
    ///
    /// `list` is null, or a list of pointers to strings, terminated by a null.
    unsafe fn length_from(start: *mut u8, list: *mut *mut c_char) -> usize {
        let mut length = 0;
        // SAFETY: guaranteed by the caller.
        for entry in unsafe { entries(list) } {
            if entry.cast::<u8>() != start.wrapping_add(length) {
                break;
            }
            // SAFETY: an entry of the list is a string.
            let string = unsafe { CStr::from_ptr(*entry) };
            length += string.to_bytes_with_nul().len();
        }
        length
    }

    /// Replaces the strings of the list with copies that are never freed.
    ///
    /// # Safety
    ///
    /// As [`length_from`], and no other thread reads the list.
    unsafe fn move_out(list: *mut *mut c_char) {
        // SAFETY: guaranteed by the caller.
        for entry in unsafe { entries(list) } {
            // SAFETY: an entry of the list is a string.
            let string = unsafe { CStr::from_ptr(*entry) };
            *entry = string.to_owned().into_raw();
        }
    }

    /// Returns the entries of the list, without the null that terminates the list.
    ///
    /// # Safety
    ///
    /// As [`length_from`], and no other code uses the list while the result exists.
    unsafe fn entries<'a>(list: *mut *mut c_char) -> &'a mut [*mut c_char] {
        if list.is_null() {
            return &mut [];
        }
        let mut count = 0;
        loop {
            // SAFETY: the list extends to its null, which has not been reached yet.
            let entry = unsafe { list.add(count) };
            // SAFETY: as above.
            if unsafe { *entry }.is_null() {
                // SAFETY: the list has `count` entries, and no other code uses them.
                return unsafe { slice::from_raw_parts_mut(list, count) };
            }
            count += 1;
        }
    }

    pub(super) fn owns_environment() -> bool {
        OWNS_ENVIRONMENT.load(Ordering::Relaxed)
    }
}
