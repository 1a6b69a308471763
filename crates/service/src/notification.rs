//! What a supervisor is told, in the words of sd_notify(3).

use std::time::Duration;

use crate::machine::{Reloading, Status};
use crate::stage::Stage;

/// Says what a supervisor is told of a status, after the one before it; `text` is how the service is
/// doing, and `now` the time of the monotonic clock.
///
/// READY comes when the service first runs, and when it has read its parameters anew, or does
/// something else instead. A pending state asks for the time that it may still last. A pause is told as
/// text: systemd has no word for it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_service::Stage;
/// use daemon_service::machine::{Machine, Times};
/// use daemon_service::notification::notification;
///
/// let times = Times { cycle: Duration::from_secs(1), wait_hint: Duration::from_secs(30) };
/// let status = Machine::new(times, daemon_service::Wants::NONE).status();
/// assert_eq!(notification(None, &status, "", Duration::ZERO), "STATUS=not ready\n");
/// ```
#[must_use]
pub fn notification(before: Option<&Status>, status: &Status, text: &str, now: Duration) -> String {
    let mut told = String::new();
    let was = before.map_or((Stage::NotReady, Reloading::No), |was| (was.stage, was.reloading));
    match (was, (status.stage, status.reloading)) {
        (_, (Stage::Running | Stage::Paused, Reloading::Yes)) => {
            told.push_str(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.as_micros()));
        }
        ((Stage::StopPending, _), (Stage::StopPending, _)) => {}
        (_, (Stage::StopPending, _)) => told.push_str("STOPPING=1\n"),
        ((Stage::NotReady | Stage::StartPending, _), (Stage::Running, Reloading::No))
        | (
            (_, Reloading::Yes),
            (
                Stage::Running | Stage::PausePending | Stage::Paused | Stage::ContinuePending,
                Reloading::No,
            ),
        ) => told.push_str("READY=1\n"),
        (
            _,
            (
                Stage::NotReady
                | Stage::Stopped
                | Stage::StartPending
                | Stage::Running
                | Stage::ContinuePending
                | Stage::PausePending
                | Stage::Paused,
                Reloading::No | Reloading::Yes,
            ),
        ) => {}
    }
    match status.stage {
        Stage::StartPending | Stage::StopPending => {
            told.push_str(&format!("EXTEND_TIMEOUT_USEC={}\n", status.wait_hint.as_micros()));
        }
        Stage::NotReady
        | Stage::Stopped
        | Stage::Running
        | Stage::ContinuePending
        | Stage::PausePending
        | Stage::Paused => {}
    }
    let text = if status.stage == Stage::Stopped { "" } else { text };
    told.push_str(&status_line(status.stage, text));
    told
}

/// How the service is doing, as one line.
#[must_use]
pub fn status_line(stage: Stage, text: &str) -> String {
    let word = stage.word();
    // A line's end would begin another variable.
    let text = text.replace(['\n', '\r'], " ");
    if text.is_empty() { format!("STATUS={word}\n") } else { format!("STATUS={word}: {text}\n") }
}

/// Reads `WATCHDOG_USEC` and `WATCHDOG_PID`: within which time the supervisor wants to hear of us.
/// None if nothing is said, or said to another process.
///
/// # Errors
///
/// The variable's value if it is no number, or zero.
pub fn watchdog(
    usec: Option<&str>,
    watched: Option<&str>,
    own: u32,
) -> Result<Option<Duration>, String> {
    let Some(usec) = usec.filter(|usec| !usec.is_empty()) else { return Ok(None) };
    if let Some(watched) = watched.filter(|watched| !watched.is_empty())
        && watched.parse::<u32>().map_err(|_no_number| watched.to_owned())? != own
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
