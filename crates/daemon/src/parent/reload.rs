//! A reload under way: which children are old, and the next turn of replacing them.

use daemon_core::{RollingReplace, RollingStep, StatusKind, default_max_unavailable};
use daemon_forkserver::ChildId;

use super::registry::Registry;

/// How often the pool was reloaded, and the reload that goes on.
#[derive(Debug, Default)]
pub(crate) struct ReloadState {
    reload_generation: u32,
    /// How many children there were when it began; none while nothing goes on.
    target: Option<u32>,
}

/// What is to be done for the reload now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReloadStep {
    Fork(u32),
    Retire(Vec<ChildId>),
    Nothing,
    /// No old child is left; it is told once.
    Done,
}

impl ReloadState {
    /// Counts reloads: what a child ordered now is marked with.
    pub(crate) fn reload_generation(&self) -> u32 {
        self.reload_generation
    }

    /// Begins a reload, or begins anew.
    pub(crate) fn begin(&mut self, children: u32) {
        self.reload_generation += 1;
        self.target = Some(children);
    }

    /// The next step; the whole pool is looked at only while a reload goes on.
    pub(crate) fn step(&mut self, registry: &Registry, max_children: u32) -> ReloadStep {
        let Some(target) = self.target else {
            return ReloadStep::Nothing;
        };
        let mut idle = Vec::new();
        let mut busy = Vec::new();
        let mut turnover = RollingReplace {
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
            match (record.seen.kind(), record.reload_generation < self.reload_generation) {
                (StatusKind::Leaving | StatusKind::Vacant, _) => turnover.leaving += 1,
                (StatusKind::Idle, true) => idle.push(record.child),
                (StatusKind::Starting | StatusKind::Busy, true) => busy.push(record.child),
                (StatusKind::Starting, false) => turnover.starting += 1,
                (StatusKind::Idle | StatusKind::Busy, false) => turnover.ready += 1,
            }
        }
        turnover.old_idle = u32::try_from(idle.len()).unwrap_or(u32::MAX);
        turnover.old_busy = u32::try_from(busy.len()).unwrap_or(u32::MAX);
        match turnover.next_step() {
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
