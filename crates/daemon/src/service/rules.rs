//! What the service's calls and the daemon's news lead to, as functions of what is known.

use std::fmt::Write;

use daemon_core::{OperatorPause, Phase, StatusKind};
use daemon_service::{Callback, Control, Health, ServiceState};

use crate::model::Kind;
use crate::status::Report;

/// Whether the daemon has ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    NotYet,
    Good,
    Failed,
}

/// How far the daemon is in reading its parameters anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// Nothing was asked for.
    None,
    /// It was told to.
    Begun,
    /// Children are being replaced.
    Replacing,
    /// It is done, and the service does not know yet.
    Done,
}

/// What is known of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) phase: Phase,
    pub(crate) hold: OperatorPause,
    pub(crate) renewal: Renewal,
    pub(crate) end: End,
}

/// What the daemon is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Pause,
    Resume,
    Renew,
    Stop,
}

/// What a call leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is done: the service may go on.
    Answer,
    /// The daemon is to do it.
    Order(Order),
    /// The daemon is at it.
    Wait,
}

impl Known {
    /// What a call of the service leads to.
    pub(crate) fn heed(&self, callback: Callback) -> Step {
        match callback {
            Callback::NotReady | Callback::Running | Callback::Paused | Callback::Stopped => {
                Step::Answer
            }
            Callback::StartPending => match self.phase {
                Phase::Running => Step::Answer,
                Phase::Starting | Phase::Stopping | Phase::Stopped => Step::Wait,
            },
            Callback::PausePending => match self.hold {
                OperatorPause::On => Step::Answer,
                OperatorPause::Off => Step::Order(Order::Pause),
            },
            Callback::ContinuePending => match self.hold {
                OperatorPause::Off => Step::Answer,
                OperatorPause::On => Step::Order(Order::Resume),
            },
            Callback::Unhandled => match self.renewal {
                Renewal::None => Step::Order(Order::Renew),
                Renewal::Begun | Renewal::Replacing => Step::Wait,
                Renewal::Done => Step::Answer,
            },
            // The stop itself is answered when it is over.
            Callback::Shutdown => match self.phase {
                Phase::Starting | Phase::Running => Step::Order(Order::Stop),
                Phase::Stopping | Phase::Stopped => Step::Answer,
            },
            Callback::StopPending => match (self.end, self.phase) {
                (End::Good | End::Failed, _) => Step::Answer,
                (End::NotYet, Phase::Starting | Phase::Running) => Step::Order(Order::Stop),
                (End::NotYet, Phase::Stopping | Phase::Stopped) => Step::Wait,
            },
        }
    }

    /// What the service is to be told, where the daemon has gone ahead of it.
    pub(crate) fn lead(&self, state: ServiceState) -> Option<Control> {
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
                match (state, self.hold, self.renewal) {
                    (_, _, Renewal::Begun | Renewal::Replacing | Renewal::Done) => {
                        Some(Control::ParamChange)
                    }
                    (ServiceState::Running, OperatorPause::On, Renewal::None) => {
                        Some(Control::Pause)
                    }
                    (ServiceState::Paused, OperatorPause::Off, Renewal::None) => {
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
                        Renewal::None,
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
        (Kind::PreFork, Phase::Running) => {
            if count(report, StatusKind::Idle) + count(report, StatusKind::Busy) > 0 {
                Health::Healthy
            } else {
                Health::Unhealthy("no child of the pool is ready or serves".to_owned())
            }
        }
        (Kind::PreFork, Phase::Starting | Phase::Stopping | Phase::Stopped)
        | (Kind::Solo | Kind::PostFork, _) => Health::Healthy,
    }
}

/// The daemon's counts in one line.
pub(crate) fn counts(report: &Report) -> String {
    let mut line = match report.model {
        Kind::Solo => return String::new(),
        Kind::PreFork | Kind::PostFork => format!(
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
