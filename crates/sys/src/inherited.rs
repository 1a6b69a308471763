//! Resets what this process has inherited from the one that launched it and what would change how a
//! daemon works: blocked and ignored signals, timers, closed standard descriptors, and the adoption
//! of orphaned processes.
//!
//! A program that the launcher replaces with another one by exec keeps all of these. What remains
//! as it was inherited is the administrator's choice, for example limits, umask and niceness.

use crate::error::{Error, Result};
use crate::process::Signal;
use crate::reap::disown_descendants;
use crate::signals::{self, SignalBlockGuard};
use crate::stdio;

/// Brings this process into the state in which a daemon starts, whatever the launcher has handed
/// down:
///
/// - No signal is blocked, except `kept`: these are blocked until the returned guard is dropped, so
///   none of them is lost before there are handlers.
/// - No signal is ignored, except `SIGPIPE`, which Rust's runtime ignores.
/// - [Unused signals](signals::disregard_unused) have no effect.
/// - The timers of alarm(2) and setitimer(2) are stopped.
/// - Standard input, output and error are open, on `/dev/null` if they were closed.
/// - The process does not adopt [descendants](disown_descendants) that lost their parent: they would
///   become zombies, unless it reaps them.
///
/// Handlers that this program has installed stay installed. A signal that this program has set to
/// be ignored cannot be told from an inherited one, so ignore signals after this call.
///
/// # Errors
///
/// If `/dev/null` cannot be opened in place of a closed standard descriptor, or a call that
/// documents no error fails.
pub fn reset(kept: &[Signal]) -> Result<SignalBlockGuard> {
    stdio::open_standard_descriptors()?;
    stop_timers()?;
    disown_descendants()?;
    signals::disregard_unused();
    signals::restore_ignored();
    SignalBlockGuard::replace_mask(kept)
}

fn stop_timers() -> Result<()> {
    let none = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let off = libc::itimerval { it_interval: none, it_value: none };
    for timer in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        // SAFETY: setitimer reads one itimerval from a pointer that is valid for it; null means
        // that the previous value is not returned.
        if unsafe { libc::setitimer(timer, &raw const off, std::ptr::null_mut()) } != 0 {
            return Err(Error::last("stop the timers of this process"));
        }
    }
    Ok(())
}
