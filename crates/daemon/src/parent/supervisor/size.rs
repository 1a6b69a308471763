//! Carries out the messages `SetQueueDepth` and `Resize`, which change the number of children, and
//! `Reload`, which replaces the children.

use daemon_core::MonotonicTime;

use super::{Strategy, Supervisor, SupervisorEvent};
use crate::messages::{CommandError, ReloadStarted, Resize, Resized};
use crate::parent::process_control::ProcessControl;
use crate::parent::resize;
use crate::parent::sizing::Sizing;

impl<R: 'static> Supervisor<R> {
    /// Sets the number of dispatcher tasks that wait for a child. Does nothing unless the pool is
    /// sized by demand.
    pub(crate) fn set_queue_depth(
        &mut self,
        depth: u32,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        if let Strategy::PreFork { sizing: Sizing::Demand { queue_depth, .. }, .. } =
            &mut self.strategy
        {
            *queue_depth = depth;
            self.reconcile(processes, now);
        }
    }

    /// Starts to replace all current children.
    pub(crate) fn reload(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ReloadStarted, CommandError> {
        self.check_changeable()?;
        if let Strategy::PostFork(_) = self.strategy {
            return Err(CommandError::NoPool { action: "reload" });
        }
        let children = self.registry.counts().children() - self.registry.counts().leaving();
        self.reload.start(children);
        self.events.push(SupervisorEvent::ReloadStarted(children));
        self.reconcile(processes, now);
        Ok(ReloadStarted { children })
    }

    /// Changes the size of the pool, or `max_children` of a post-forking daemon.
    pub(crate) fn resize(
        &mut self,
        resize: Resize,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<Resized, CommandError> {
        self.check_changeable()?;
        let resized = match &mut self.strategy {
            Strategy::PreFork { sizing, .. } => {
                let resized = sizing.resize(resize, self.slots)?;
                self.initial = self.initial.min(resized.max_children);
                resized
            }
            Strategy::PostFork(backlog) => {
                let max = resize::max_children(backlog.max_children, self.slots, resize)?;
                backlog.max_children = max;
                Resized { min_spare: 0, max_spare: 0, max_children: max }
            }
        };
        self.reconcile(processes, now);
        Ok(resized)
    }
}
