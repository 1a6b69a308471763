//! Signals that have no meaning for a daemon, although their default action would end it.

use libc::c_int;

use super::{disposition, set};

/// Signals that a foreign tool or a limit may send to a process of a daemon. Each of them would end
/// the process by default.
const UNUSED: [c_int; 5] =
    [libc::SIGUSR1, libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGXFSZ];

/// Installs a handler that does nothing for `SIGUSR1`, `SIGALRM`, `SIGVTALRM`, `SIGPROF`,
/// `SIGXFSZ`, `SIGIO`, `SIGPWR`, `SIGSTKFLT` and the real-time signals, as far as the system has
/// them. A signal for which this program has installed a handler is left alone.
///
/// Forked processes inherit the handler. Programs that they execute get the default action, which
/// they would not get if the signals were ignored. Interrupted system calls are restarted. A write
/// beyond the limit of the file size then fails with `EFBIG`.
pub fn disregard_unused() {
    for number in UNUSED.into_iter().chain(platform::unused()) {
        if matches!(disposition(number), Ok(libc::SIG_DFL | libc::SIG_IGN)) {
            // The signal exists and can be handled, so this cannot fail.
            let _ = set(number, on_unused as *const () as libc::sighandler_t);
        }
    }
}

/// Does nothing.
pub(super) extern "C" fn on_unused(_number: c_int) {}

/// The unused signals of Linux.
#[cfg(target_os = "linux")]
mod platform {
    use libc::c_int;

    pub(super) fn unused() -> impl Iterator<Item = c_int> {
        [libc::SIGIO, libc::SIGPWR, libc::SIGSTKFLT]
            .into_iter()
            .chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
    }
}

/// The unused signals of other systems. `SIGIO` is ignored there by default.
#[cfg(not(target_os = "linux"))]
mod platform {
    use libc::c_int;

    pub(super) fn unused() -> impl Iterator<Item = c_int> {
        std::iter::empty()
    }
}
