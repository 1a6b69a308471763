//! How many children there shall be, and of which vintage: what changes it from outside.

use daemon_core::MonotonicTime;

use super::{Household, Notice, Strategy};
use crate::messages::{Refusal, ReloadStarted, Resize, Resized};
use crate::parent::hands::Hands;
use crate::parent::resize;
use crate::parent::sizing::Sizing;

impl<R: 'static> Household<R> {
    /// So many pieces of work have nobody to do them. A pool that is not sized by demand does not
    /// care.
    pub(crate) fn demand(&mut self, wanted: u32, hands: &mut impl Hands<R>, now: MonotonicTime) {
        if let Strategy::PreFork { sizing: Sizing::Demand { waiting, .. }, .. } = &mut self.strategy
        {
            *waiting = wanted;
            self.settle(hands, now);
        }
    }

    /// Replaces all children of today.
    pub(crate) fn reload(
        &mut self,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) -> Result<ReloadStarted, Refusal> {
        self.changeable()?;
        if let Strategy::PostFork(_) = self.strategy {
            return Err(Refusal::NoPool { act: "reload" });
        }
        let children = self.registry.census().children() - self.registry.census().leaving();
        self.reloaded.begin(children);
        self.notices.push(Notice::ReloadStarted(children));
        self.settle(hands, now);
        Ok(ReloadStarted { children })
    }

    /// Changes the number of children.
    pub(crate) fn resize(
        &mut self,
        resize: Resize,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) -> Result<Resized, Refusal> {
        self.changeable()?;
        let resized = match &mut self.strategy {
            Strategy::PreFork { sizing, .. } => {
                let resized = sizing.resize(resize, self.slots)?;
                self.initial = self.initial.min(resized.max_children);
                resized
            }
            Strategy::PostFork(reception) => {
                let max = resize::max_children(reception.max_children, self.slots, resize)?;
                reception.max_children = max;
                Resized { min_spare: 0, max_spare: 0, max_children: max }
            }
        };
        self.settle(hands, now);
        Ok(resized)
    }
}
