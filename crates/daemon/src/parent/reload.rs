//! The state of a reload: which children were forked before it, and the next step of replacing
//! them.

use daemon_core::{RollingReplace, RollingStep, StatusKind, default_max_unavailable};
use daemon_forkserver::ChildId;

use super::registry::Registry;

/// The number of reloads, and the reload in progress.
#[derive(Debug, Default)]
pub(crate) struct ReloadState {
    generation: u32,
    /// The number of children when the reload started; `None` when no reload is in progress.
    target: Option<u32>,
}

/// The next step of a reload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReloadStep {
    Fork(u32),
    Retire(Vec<ChildId>),
    Nothing,
    /// All children that were forked before the reload have exited or are leaving. Returned once
    /// per reload.
    Done,
}

impl ReloadState {
    /// Returns the number of reloads so far. A child whose fork is requested now is marked with
    /// this number.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Starts a reload of a pool with this many children. If a reload is in progress, the
    /// new reload takes its place.
    pub(crate) fn start(&mut self, children: u32) {
        self.generation += 1;
        self.target = Some(children);
    }

    /// Returns the next step. Scans the pool only while a reload is in progress.
    pub(crate) fn next_step(&mut self, registry: &Registry, max_children: u32) -> ReloadStep {
        let Some(target) = self.target else {
            return ReloadStep::Nothing;
        };
        let mut idle = Vec::new();
        let mut busy = Vec::new();
        let mut rolling = RollingReplace {
            old_idle: 0,
            old_busy: 0,
            starting: 0,
            ready: 0,
            leaving: 0,
            target,
            max_children,
            max_unavailable: default_max_unavailable(target),
        };
        for record in registry.records() {
            match (record.seen.kind(), record.reload_generation < self.generation) {
                (StatusKind::Leaving | StatusKind::Vacant, _) => rolling.leaving += 1,
                (StatusKind::Idle, true) => idle.push(record.child),
                (StatusKind::Starting | StatusKind::Busy, true) => busy.push(record.child),
                (StatusKind::Starting, false) => rolling.starting += 1,
                (StatusKind::Idle | StatusKind::Busy, false) => rolling.ready += 1,
            }
        }
        rolling.old_idle = u32::try_from(idle.len()).unwrap_or(u32::MAX);
        rolling.old_busy = u32::try_from(busy.len()).unwrap_or(u32::MAX);
        match rolling.next_step() {
            RollingStep::Fork(children) => ReloadStep::Fork(children),
            RollingStep::Retire(children) => {
                ReloadStep::Retire(idle.into_iter().chain(busy).take(children as usize).collect())
            }
            RollingStep::Wait => ReloadStep::Nothing,
            RollingStep::Done => {
                self.target = None;
                ReloadStep::Done
            }
        }
    }
}
