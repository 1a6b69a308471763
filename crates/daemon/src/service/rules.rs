//! What the service's calls and the daemon's news lead to, as functions of what is known.

use std::fmt::Write;

use daemon_core::{OperatorPause, Phase, StatusKind};
use daemon_service::{Callback, Control, Health, ServiceState};

use crate::model::ModelKind;
use crate::status::Report;

/// Whether the daemon has ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DaemonEnd {
    NotYet,
    Good,
    Failed,
}

/// How far the daemon is in reading its parameters anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadProgress {
    /// Nothing was asked for.
    None,
    /// It was told to.
    Requested,
    /// Children are being replaced.
    Replacing,
    /// It is done, and the service does not know yet.
    Done,
}

/// What is known of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DaemonSnapshot {
    pub(crate) phase: Phase,
    pub(crate) operator_pause: OperatorPause,
    pub(crate) reload: ReloadProgress,
    pub(crate) end: DaemonEnd,
}

/// What the daemon is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DaemonRequest {
    Pause,
    Resume,
    Reload,
    Stop,
}

/// What a call leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallStep {
    /// It is done: the service may go on.
    Answer,
    /// The daemon is to do it.
    Request(DaemonRequest),
    /// The daemon is at it.
    Wait,
}

impl DaemonSnapshot {
    /// What a call of the service leads to.
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
            // The stop itself is answered when it is over.
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

    /// What the service is to be told, where the daemon has gone ahead of it.
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

/// Whether a pool does what it is for: somebody in it is ready or serves. A daemon that forks for each
/// request has nobody standing by, one without children has itself.
pub(crate) fn health(report: &Report) -> Health {
    match (report.model, report.phase) {
        (ModelKind::PreFork, Phase::Running) => {
            if count(report, StatusKind::Idle) + count(report, StatusKind::Busy) > 0 {
                Health::Healthy
            } else {
                Health::Unhealthy("no child of the pool is ready or serves".to_owned())
            }
        }
        (ModelKind::PreFork, Phase::Starting | Phase::Stopping | Phase::Stopped)
        | (ModelKind::Solo | ModelKind::PostFork, _) => Health::Healthy,
    }
}

/// The daemon's counts in one line.
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
        let _infallible = write!(line, ", {} requests wait", report.waiting);
    }
    if let Some(counters) = &report.counters {
        let _infallible = write!(line, "; {} requests", counters.requests);
    }
    line
}

fn count(report: &Report, standing: StatusKind) -> usize {
    report.children.iter().filter(|child| child.standing() == Some(standing)).count()
}

#[cfg(test)]
mod tests;
