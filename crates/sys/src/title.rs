//! The process title, which `ps` shows.

use std::ffi::CString;

#[cfg(any(not(all(target_os = "linux", target_env = "gnu")), fallback))]
mod fallback;
#[cfg(all(target_os = "linux", target_env = "gnu", not(fallback)))]
mod gnu;
#[cfg(any(not(all(target_os = "linux", target_env = "gnu")), fallback))]
use fallback as platform;
#[cfg(all(target_os = "linux", target_env = "gnu", not(fallback)))]
use gnu as platform;

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
        let end = title.bytes().position(|byte| byte == 0).unwrap_or(title.len());
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

/// Sets the name of the calling thread. The name of the main thread is also the name of the
/// process, which `top` and `/proc/PID/comm` show. Names longer than 15 bytes are truncated. Does
/// nothing except on Linux with the GNU C library.
pub fn set_comm(name: &str) {
    let end = name.find('\0').unwrap_or(name.len());
    let end = name[..end].floor_char_boundary(15);
    if let Ok(name) = CString::new(&name[..end]) {
        platform::set_comm(&name);
    }
}
