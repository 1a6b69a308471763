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

/// Sets the title of this process.
///
/// It remains valid in forked children: each sets its own title with its copy. On Linux with the
/// GNU C library the title is written over the original arguments and environment, as
/// setproctitle(3) does, so it can be as long as both together; longer titles are truncated. On
/// other systems no title is shown.
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
    /// Claims the memory of the arguments and the environment, once, after copying both to other
    /// memory: `std::env` still returns them.
    ///
    /// Call it first at launch: a C library may have kept pointers into that memory, for example
    /// from getenv(3), and these point to the title afterwards. A second call, or a call while other threads
    /// are running, returns a title that is not shown.
    #[must_use]
    pub fn claim() -> Title {
        Title { memory: platform::TitleMemory::claim() }
    }

    /// Sets the title, truncated at a zero byte and at [`capacity`](Title::capacity). It copies
    /// bytes and makes no system call.
    #[inline]
    pub fn set(&self, title: &str) {
        let end = title.bytes().position(|byte| byte == 0).unwrap_or(title.len());
        let end = title[..end].floor_char_boundary(self.capacity());
        self.memory.show(&title[..end]);
    }

    /// Returns the maximum length of the title in bytes: 0 if no title is shown.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }
}

/// Sets the name of the calling thread, which is the name of the process in the main thread. `top`
/// and `/proc/PID/comm` show it. At most 15 bytes on Linux; does nothing on other systems.
pub fn set_comm(name: &str) {
    let end = name.find('\0').unwrap_or(name.len());
    let end = name[..end].floor_char_boundary(15);
    if let Ok(name) = CString::new(&name[..end]) {
        platform::set_comm(&name);
    }
}
