//! Process 1 of a container, which must reap every process that loses its parent.
//!
//! A daemon must not do this itself: it would reap the children of a library too, whose exit
//! statuses the library then does not get. So process 1 forks, the daemon goes on in the child, and
//! process 1 does nothing but these duties of an init process.

use std::time::Duration;

use crate::error::Result;

/// If this process is process 1, forks: returns `true` in the child, which goes on with the
/// program, while process 1 stays as init. Otherwise returns `false` and does nothing. There is a
/// process 1 in each pid namespace of Linux; on other systems the result is always `false`.
///
/// As init, process 1 reaps all processes, forwards signals to the child, and exits with the exit
/// code of the child, or with 128 plus the number of the signal that killed it. It does not forward
/// the signals of a terminal, because the child receives these too. If processes are left when the
/// child has exited, they receive TERM first, and have `grace` to exit. When process 1 exits, the
/// kernel kills all processes of the namespace. Signals to process 1 that have no handler are
/// ignored (pid_namespaces(7)), so a signal before this call has no effect.
///
/// Process 1 keeps none of its descriptors except standard input, output and error. Children that
/// this process has forked before are children of process 1 afterwards.
///
/// # Errors
///
/// - [`Error::OtherThreads`](crate::Error::OtherThreads) if process 1 has other threads.
/// - If the fork fails.
pub fn leave_process_1(title: &str, grace: Duration) -> Result<bool> {
    platform::leave_process_1(title, grace)
}

/// Systems without a process 1 other than the init process of the system.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::time::Duration;

    use crate::error::Result;

    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
    pub(super) fn leave_process_1(_: &str, _: Duration) -> Result<bool> {
        Ok(false)
    }
}

/// Process 1 of a pid namespace. Reads signals with sigtimedwait(2), which returns the sender.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::time::{Duration, Instant};

    use libc::c_int;
    use nix::sys::signal::SigSet;

    use crate::error::Result;
    use crate::fds::close_others;
    use crate::fork::{ForkResult, flush_streams, fork};
    use crate::process::{Pid, Signal, exit_now, number_of, this_pid};
    use crate::reap::{Exit, has_children, reap_any};
    use crate::signals::{block_all, keep_exits};
    use crate::title::Title;

    /// What is added to the number of a signal in an exit code, as shells do.
    const SIGNALLED: c_int = 128;

    pub(super) fn leave_process_1(title: &str, grace: Duration) -> Result<bool> {
        if this_pid().as_raw() != 1 {
            return Ok(false);
        }
        // If CHLD were ignored, the exit status of the child would be lost.
        keep_exits();
        // Blocked signals are kept, even those without a handler.
        let blocked = block_all()?;
        flush_streams();
        match fork()? {
            ForkResult::Child => {
                drop(blocked);
                Ok(true)
            }
            ForkResult::Parent(daemon) => {
                // A copy of a listener would keep its port open after the daemon has closed it.
                let _ = close_others(None);
                Title::claim().set(title);
                exit_now(run(daemon, grace))
            }
        }
    }

    /// Runs until the daemon has exited, and returns the exit code.
    fn run(daemon: Pid, grace: Duration) -> c_int {
        let code = loop {
            if let Some(exit) = reap_until(daemon) {
                break exit_code(exit);
            }
            if let Some(received) = next_signal(None)
                && !received.is_from_kernel
            {
                send(daemon.as_raw(), received.number);
            }
        };
        if has_children() {
            end_the_others(grace);
        }
        code
    }

    /// Ends the processes that are left: the fork server and the children of a daemon that was
    /// killed, which finish their requests, and processes that lost their parent.
    fn end_the_others(grace: Duration) {
        let deadline = Instant::now() + grace;
        // To every process of the namespace except this one.
        send(-1, number_of(Signal::Term));
        let end = [Signal::Term, Signal::Int, Signal::Quit].map(number_of);
        while let Ok(reaped) = reap_any() {
            let left = deadline.saturating_duration_since(Instant::now());
            if reaped.is_some() {
                continue;
            }
            if left.is_zero() || !has_children() {
                return;
            }
            if next_signal(Some(left)).is_some_and(|received| end.contains(&received.number)) {
                return;
            }
        }
    }

    /// Reaps all processes that have exited, up to the daemon. Returns how the daemon has exited.
    fn reap_until(daemon: Pid) -> Option<Exit> {
        while let Ok(Some((pid, exit))) = reap_any() {
            if pid == daemon {
                return Some(exit);
            }
        }
        None
    }

    fn exit_code(exit: Exit) -> c_int {
        match exit {
            Exit::Code(code) => code,
            Exit::Signal { number, .. } => SIGNALLED + number,
            Exit::Unknown => 1,
        }
    }

    /// A signal to this process.
    struct Received {
        number: c_int,
        /// Whether the kernel has sent it, because a child has exited, or because of a key that was
        /// pressed in the terminal. In the second case it has sent it to the daemon too.
        is_from_kernel: bool,
    }

    /// Waits for a signal. All signals are blocked.
    fn next_signal(timeout: Option<Duration>) -> Option<Received> {
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX).into(),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let all = SigSet::all();
        // SAFETY: siginfo_t is made of integers and pointers, for which zero is valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointers are valid for a set, one siginfo_t, and a time or null for no limit.
        let number = unsafe { libc::sigtimedwait(all.as_ref(), &raw mut info, timeout) };
        (number > 0).then_some(Received { number, is_from_kernel: info.si_code > 0 })
    }

    /// Sends a signal, which need not be one of [`Signal`]. A process that has exited is not reaped
    /// yet, so its pid is not reused.
    fn send(pid: libc::pid_t, number: c_int) {
        // SAFETY: kill(2) takes any numbers.
        unsafe { libc::kill(pid, number) };
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_exit_code_of_init_is_that_of_the_daemon_or_of_a_shell() {
            assert_eq!(exit_code(Exit::Code(0)), 0);
            assert_eq!(exit_code(Exit::Code(70)), 70);
            assert_eq!(exit_code(Exit::Signal { number: 9, core: false }), 137);
        }
    }
}
