//! The messages for systemd, as sd_notify(3) defines them.

use std::time::Duration;

use crate::state::ServiceState;
use crate::state_machine::{Reloading, ServiceStatus};

/// Returns the sd_notify lines for a status that follows the status `before`. `text` is the status
/// text, and `now` the time of the monotonic clock.
///
/// `READY=1` is sent when the service first runs, and when a reload ends: because the parameters have
/// been read, or because the service pauses or continues before that. A pending state asks for more
/// time with its wait hint. A pause appears only in `STATUS=`: systemd has no state for it.
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
            lines.push_str(&format!("EXTEND_TIMEOUT_USEC={}\n", status.wait_hint.as_micros()));
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

/// Returns the `STATUS=` line of a state and a status text.
#[must_use]
pub fn status_line(state: ServiceState, text: &str) -> String {
    let word = state.word();
    // A line break would start another variable.
    let text = text.replace(['\n', '\r'], " ");
    if text.is_empty() { format!("STATUS={word}\n") } else { format!("STATUS={word}: {text}\n") }
}

/// Returns the watchdog timeout from the values of `WATCHDOG_USEC` and `WATCHDOG_PID`: the service
/// must notify systemd within this time. Returns `None` if the variables are not set, or are meant for
/// another process.
///
/// # Errors
///
/// The value that is not a number, or zero.
pub fn watchdog_timeout(
    usec: Option<&str>,
    pid: Option<&str>,
    own: u32,
) -> Result<Option<Duration>, String> {
    let Some(usec) = usec.filter(|usec| !usec.is_empty()) else { return Ok(None) };
    if let Some(pid) = pid.filter(|pid| !pid.is_empty())
        && pid.parse::<u32>().map_err(|_not_a_number| pid.to_owned())? != own
    {
        return Ok(None);
    }
    match usec.parse::<u64>() {
        Ok(0) | Err(_) => Err(usec.to_owned()),
        Ok(usec) => Ok(Some(Duration::from_micros(usec))),
    }
}

#[cfg(test)]
mod tests;
