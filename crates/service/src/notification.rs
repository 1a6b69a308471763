//! The messages for systemd, as sd_notify(3) defines them.

use std::time::Duration;

use crate::error::ServiceError;
use crate::state::ServiceState;
use crate::state_machine::{Reloading, ServiceStatus};

/// Returns the sd_notify lines for a status that follows the status `before`. `text` is the status
/// text, and `now` is the time of the monotonic clock.
///
/// `READY=1` is sent when the service first runs, and when a reload ends. A reload ends when all
/// participants have answered the callback [`Unhandled`](crate::Callback::Unhandled), or earlier if
/// the service pauses or continues. For example, a pre-forking daemon answers when its children
/// have been replaced.
///
/// In the states `StartPending` and `StopPending`, the lines also extend systemd's timeout by the
/// wait hint. A pause appears only in `STATUS=`, because systemd has no paused state.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_service::ServiceState;
/// use daemon_service::notification::notification;
/// use daemon_service::state_machine::{StateMachine, Timing};
///
/// let timing =
///     Timing { poll_interval: Duration::from_secs(1), wait_hint: Duration::from_secs(30) };
/// let status = StateMachine::new(timing, daemon_service::CallbackSet::NONE).status();
/// assert_eq!(notification(None, &status, "", Duration::ZERO), "STATUS=not ready\n");
/// ```
#[must_use]
pub fn notification(
    before: Option<&ServiceStatus>,
    status: &ServiceStatus,
    text: &str,
    now: Duration,
) -> String {
    let mut lines = String::new();
    let was =
        before.map_or((ServiceState::NotReady, Reloading::No), |was| (was.state, was.reloading));
    match (was, (status.state, status.reloading)) {
        (_, (ServiceState::Running | ServiceState::Paused, Reloading::Yes)) => {
            lines.push_str(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.as_micros()));
        }
        ((ServiceState::StopPending, _), (ServiceState::StopPending, _)) => {}
        (_, (ServiceState::StopPending, _)) => lines.push_str("STOPPING=1\n"),
        (
            (ServiceState::NotReady | ServiceState::StartPending, _),
            (ServiceState::Running, Reloading::No),
        )
        | (
            (_, Reloading::Yes),
            (
                ServiceState::Running
                | ServiceState::PausePending
                | ServiceState::Paused
                | ServiceState::ContinuePending,
                Reloading::No,
            ),
        ) => lines.push_str("READY=1\n"),
        (
            _,
            (
                ServiceState::NotReady
                | ServiceState::Stopped
                | ServiceState::StartPending
                | ServiceState::Running
                | ServiceState::ContinuePending
                | ServiceState::PausePending
                | ServiceState::Paused,
                Reloading::No | Reloading::Yes,
            ),
        ) => {}
    }
    match status.state {
        ServiceState::StartPending | ServiceState::StopPending => {
            // systemd ignores a number that does not fit into 64 bits.
            let micros = u64::try_from(status.wait_hint.as_micros()).unwrap_or(u64::MAX);
            lines.push_str(&format!("EXTEND_TIMEOUT_USEC={micros}\n"));
        }
        ServiceState::NotReady
        | ServiceState::Stopped
        | ServiceState::Running
        | ServiceState::ContinuePending
        | ServiceState::PausePending
        | ServiceState::Paused => {}
    }
    let text = if status.state == ServiceState::Stopped { "" } else { text };
    lines.push_str(&status_line(status.state, text));
    lines
}

/// Returns the `STATUS=` line for a state and a status text.
#[must_use]
pub fn status_line(state: ServiceState, text: &str) -> String {
    let word = state.word();
    // A line break would end the value and start the next variable.
    let text = text.replace(['\n', '\r'], " ");
    if text.is_empty() { format!("STATUS={word}\n") } else { format!("STATUS={word}: {text}\n") }
}

/// Returns the watchdog timeout: the service must notify systemd within this time. `usec` is the
/// value of `WATCHDOG_USEC`, `pid` is the value of `WATCHDOG_PID`, and `own` is the pid of this
/// process.
///
/// Returns `None` if `usec` is not set, or if `pid` names another process.
///
/// # Errors
///
/// [`ServiceError::Environment`] if `usec` is zero or not a number, or if `pid` is not a number.
pub fn watchdog_timeout(
    usec: Option<&str>,
    pid: Option<&str>,
    own: u32,
) -> Result<Option<Duration>, ServiceError> {
    let Some(usec) = usec.filter(|usec| !usec.is_empty()) else { return Ok(None) };
    if let Some(pid) = pid.filter(|pid| !pid.is_empty())
        && pid.parse::<u32>().map_err(|_not_a_number| {
            ServiceError::environment("WATCHDOG_PID", pid, "not a process id")
        })? != own
    {
        return Ok(None);
    }
    match usec.parse::<u64>() {
        Ok(0) | Err(_) => {
            let reason = "not a number of microseconds greater than 0";
            Err(ServiceError::environment("WATCHDOG_USEC", usec, reason))
        }
        Ok(usec) => Ok(Some(Duration::from_micros(usec))),
    }
}

/// The least time between two notifications of the watchdog.
pub(crate) const WATCHDOG_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Returns how often the watchdog is notified: twice within its timeout, but at most every
/// [`WATCHDOG_INTERVAL_MIN`], because a shorter interval would keep the processor busy.
pub(crate) fn watchdog_interval(timeout: Duration) -> Duration {
    (timeout / 2).max(WATCHDOG_INTERVAL_MIN)
}

#[cfg(test)]
mod tests;
