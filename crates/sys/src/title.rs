//! The title under which `ps` shows a process: a child says what it is doing there.

use std::ffi::CString;

#[cfg(all(target_os = "linux", target_env = "gnu", not(plain_means)))]
mod gnu;
#[cfg(any(not(all(target_os = "linux", target_env = "gnu")), plain_means))]
mod plain;
#[cfg(all(target_os = "linux", target_env = "gnu", not(plain_means)))]
use gnu as platform;
#[cfg(any(not(all(target_os = "linux", target_env = "gnu")), plain_means))]
use plain as platform;

/// The right to set the title of this process.
///
/// It goes on in forked children: each sets its own by its copy. On Linux with the GNU C library
/// the title stands where the arguments and the environment were at launch, as setproctitle(3) has
/// it, so it can be as long as both were; longer ones are cut. Elsewhere it is not shown.
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
    area: platform::MemorySegment,
}

impl Title {
    /// Claims the memory of the arguments and the environment, once, after moving both elsewhere:
    /// `std::env` goes on reading them.
    ///
    /// To be called first thing at launch: what a C library remembers of that memory, a pointer of
    /// getenv(3) for one, shows the title afterwards. A second claim, or one while other threads
    /// run, gets a title that is not shown.
    #[must_use]
    pub fn claim() -> Title {
        Title { area: platform::MemorySegment::claim() }
    }

    /// Shows this title, cut at a zero byte and at [`capacity`](Title::capacity). It copies bytes
    /// and makes no system call.
    #[inline]
    pub fn set(&self, title: &str) {
        let end = title.bytes().position(|byte| byte == 0).unwrap_or(title.len());
        let end = title[..end].floor_char_boundary(self.capacity());
        self.area.show(&title[..end]);
    }

    /// Returns how many bytes of a title are shown: 0 if none is.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.area.capacity()
    }
}

/// Names the calling thread, and so the process if it is its first: what `top` shows, and
/// `/proc/PID/comm`. 15 bytes on Linux; elsewhere nothing is done.
pub fn set_comm(name: &str) {
    let end = name.find('\0').unwrap_or(name.len());
    let end = name[..end].floor_char_boundary(15);
    if let Ok(name) = CString::new(&name[..end]) {
        platform::set_comm(&name);
    }
}
