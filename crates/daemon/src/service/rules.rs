//! The decisions of `ServiceLink`, the actor that connects a daemon with its service, as pure
//! functions of the states of both.

use std::fmt::Write;

use daemon_core::{OperatorPause, Phase, StatusKind};
use daemon_service::{Callback, Control, Health, ServiceState};

use daemon_protocol::{ModelKind, Report};

/// Whether the daemon has ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DaemonEnd {
    NotYet,
    Good,
    Failed,
}

/// The progress of a reload. Either the service requested the reload, or the link must notify the
/// service of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadProgress {
    /// No reload is in progress.
    None,
    /// The daemon was asked to reload.
    Requested,
    /// Children are being replaced.
    Replacing,
    /// The reload is done, and the service has not been notified yet.
    Done,
}

/// What the link knows about the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DaemonSnapshot {
    pub(crate) phase: Phase,
    pub(crate) operator_pause: OperatorPause,
    pub(crate) reload: ReloadProgress,
    pub(crate) end: DaemonEnd,
}

/// A request to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DaemonRequest {
    Pause,
    Resume,
    Reload,
    Stop,
}

/// What the link does about a callback of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallStep {
    /// Answers the callback, so that the service enters its next state.
    Answer,
    /// Sends a request to the daemon.
    Request(DaemonRequest),
    /// Waits until the daemon has changed its state.
    Wait,
}

impl DaemonSnapshot {
    /// Decides what to do about a callback of the service.
    pub(crate) fn on_callback(&self, callback: Callback) -> CallStep {
        match callback {
            Callback::NotReady | Callback::Running | Callback::Paused | Callback::Stopped => {
                CallStep::Answer
            }
            Callback::StartPending => match self.phase {
                Phase::Running => CallStep::Answer,
                Phase::Starting | Phase::Stopping | Phase::Stopped => CallStep::Wait,
            },
            Callback::PausePending => match self.operator_pause {
                OperatorPause::On => CallStep::Answer,
                OperatorPause::Off => CallStep::Request(DaemonRequest::Pause),
            },
            Callback::ContinuePending => match self.operator_pause {
                OperatorPause::Off => CallStep::Answer,
                OperatorPause::On => CallStep::Request(DaemonRequest::Resume),
            },
            Callback::Unhandled => match self.reload {
                ReloadProgress::None => CallStep::Request(DaemonRequest::Reload),
                ReloadProgress::Requested | ReloadProgress::Replacing => CallStep::Wait,
                ReloadProgress::Done => CallStep::Answer,
            },
            // `Shutdown` is answered when the stop begins, `StopPending` when the stop is complete.
            Callback::Shutdown => match self.phase {
                Phase::Starting | Phase::Running => CallStep::Request(DaemonRequest::Stop),
                Phase::Stopping | Phase::Stopped => CallStep::Answer,
            },
            Callback::StopPending => match (self.end, self.phase) {
                (DaemonEnd::Good | DaemonEnd::Failed, _) => CallStep::Answer,
                (DaemonEnd::NotYet, Phase::Starting | Phase::Running) => {
                    CallStep::Request(DaemonRequest::Stop)
                }
                (DaemonEnd::NotYet, Phase::Stopping | Phase::Stopped) => CallStep::Wait,
            },
        }
    }

    /// Returns the control to send to the service if the daemon has changed its state and the
    /// service has not followed yet.
    pub(crate) fn control_for(&self, state: ServiceState) -> Option<Control> {
        match (state, self.phase) {
            (ServiceState::NotReady | ServiceState::StopPending | ServiceState::Stopped, _) => None,
            (
                ServiceState::StartPending
                | ServiceState::Running
                | ServiceState::ContinuePending
                | ServiceState::PausePending
                | ServiceState::Paused,
                Phase::Stopping | Phase::Stopped,
            ) => Some(Control::Stop),
            (ServiceState::Running | ServiceState::Paused, Phase::Starting | Phase::Running) => {
                match (state, self.operator_pause, self.reload) {
                    (
                        _,
                        _,
                        ReloadProgress::Requested
                        | ReloadProgress::Replacing
                        | ReloadProgress::Done,
                    ) => Some(Control::ParamChange),
                    (ServiceState::Running, OperatorPause::On, ReloadProgress::None) => {
                        Some(Control::Pause)
                    }
                    (ServiceState::Paused, OperatorPause::Off, ReloadProgress::None) => {
                        Some(Control::Continue)
                    }
                    (
                        ServiceState::NotReady
                        | ServiceState::Stopped
                        | ServiceState::StartPending
                        | ServiceState::StopPending
                        | ServiceState::Running
                        | ServiceState::ContinuePending
                        | ServiceState::PausePending
                        | ServiceState::Paused,
                        OperatorPause::Off | OperatorPause::On,
                        ReloadProgress::None,
                    ) => None,
                }
            }
            (
                ServiceState::StartPending
                | ServiceState::ContinuePending
                | ServiceState::PausePending,
                Phase::Starting | Phase::Running,
            ) => None,
        }
    }
}

/// Returns whether the daemon is healthy. A running pool is healthy if at least one child is idle
/// or busy. A pool in another phase and a daemon of another model are always healthy.
pub(crate) fn health(report: &Report) -> Health {
    match (report.model, report.phase) {
        (ModelKind::PreFork, Phase::Running) => {
            if count(report, StatusKind::Idle) + count(report, StatusKind::Busy) > 0 {
                Health::Healthy
            } else {
                Health::Unhealthy("no child of the pool is idle or busy".to_owned())
            }
        }
        (ModelKind::PreFork, Phase::Starting | Phase::Stopping | Phase::Stopped)
        | (ModelKind::Solo | ModelKind::PostFork, _) => Health::Healthy,
    }
}

/// Returns the numbers of children and requests in one line. Returns an empty string for the model
/// `Solo`, which has no children.
pub(crate) fn counts(report: &Report) -> String {
    let mut line = match report.model {
        ModelKind::Solo => return String::new(),
        ModelKind::PreFork | ModelKind::PostFork => format!(
            "{} children, {} busy, {} idle",
            report.children.len(),
            count(report, StatusKind::Busy),
            count(report, StatusKind::Idle)
        ),
    };
    if report.waiting > 0 {
        let _infallible = write!(line, ", {} requests waiting", report.waiting);
    }
    if let Some(counters) = &report.counters {
        let _infallible = write!(line, "; {} requests started", counters.requests);
    }
    line
}

fn count(report: &Report, kind: StatusKind) -> usize {
    report.children.iter().filter(|child| child.status_kind() == Some(kind)).count()
}

#[cfg(test)]
mod tests;
