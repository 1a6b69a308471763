//! How many children there shall be, and of which vintage: what changes it from outside.

use daemon_core::MonotonicTime;

use super::{Strategy, Supervisor, SupervisorEvent};
use crate::messages::{CommandError, ReloadStarted, Resize, Resized};
use crate::parent::process_control::ProcessControl;
use crate::parent::resize;
use crate::parent::sizing::Sizing;

impl<R: 'static> Supervisor<R> {
    /// So many pieces of work have nobody to do them. A pool that is not sized by demand does not
    /// care.
    pub(crate) fn set_queue_depth(
        &mut self,
        wanted: u32,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        if let Strategy::PreFork { sizing: Sizing::Demand { waiting, .. }, .. } = &mut self.strategy
        {
            *waiting = wanted;
            self.reconcile(processes, now);
        }
    }

    /// Replaces all children of today.
    pub(crate) fn reload(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ReloadStarted, CommandError> {
        self.changeable()?;
        if let Strategy::PostFork(_) = self.strategy {
            return Err(CommandError::NoPool { action: "reload" });
        }
        let children = self.registry.counts().children() - self.registry.counts().leaving();
        self.reloaded.begin(children);
        self.events.push(SupervisorEvent::ReloadStarted(children));
        self.reconcile(processes, now);
        Ok(ReloadStarted { children })
    }

    /// Changes the number of children.
    pub(crate) fn resize(
        &mut self,
        resize: Resize,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<Resized, CommandError> {
        self.changeable()?;
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
