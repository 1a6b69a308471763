//! What wakes the parent: the link to the fork server, and the bell that children ring.

use actix::{AsyncContext, Context, StreamHandler};
use daemon_forkserver::Transfer;

use super::DaemonActor;
use crate::parent::hands::ForkServerHands;
use crate::parent::household::Household;

/// What the parent was woken by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Woken {
    ByForkServer,
    ByBell,
}

impl<R: Transfer + Send> StreamHandler<Woken> for DaemonActor<R> {
    fn handle(&mut self, woken: Woken, ctx: &mut Self::Context) {
        match woken {
            Woken::ByForkServer => self.heed_the_fork_server(ctx),
            Woken::ByBell => self.heed_the_bell(ctx),
        }
    }

    fn finished(&mut self, _ctx: &mut Self::Context) {}
}

impl<R: Transfer + Send> DaemonActor<R> {
    /// Takes in what children have reported, and listens for the bell again after a pause, so
    /// that the parent's wake-ups are bounded, whatever the load.
    fn heed_the_bell(&mut self, ctx: &mut Context<Self>) {
        let Some(home) = &mut self.home else { return };
        home.hands.fork_server.wakeup().clear();
        match self.take_in_changes(ctx) {
            Changes::Some => self.heed_the_bell_later(ctx),
            Changes::None => self.arm_the_bell(ctx),
        }
    }

    fn heed_the_bell_later(&mut self, ctx: &mut Context<Self>) {
        let Some(home) = &self.home else { return };
        ctx.run_later(home.household.bell_pause(), Self::heed_the_bell);
    }

    pub(super) fn arm_the_bell(&mut self, ctx: &mut Context<Self>) {
        let Some(home) = self.home.as_ref().filter(|home| home.household.heeds_statuses()) else {
            return;
        };
        match home.hands.fork_server.scoreboard().arm() {
            daemon_core::Armed::Asleep => {}
            daemon_core::Armed::ChangesWaiting => self.heed_the_bell_later(ctx),
        }
    }

    fn take_in_changes(&mut self, ctx: &mut Context<Self>) -> Changes {
        let taken_in = self.with_home(ctx, |household, hands, now| {
            let changes = take_in(household, hands);
            if changes == Changes::Some {
                household.settle(hands, now);
            }
            changes
        });
        taken_in.unwrap_or(Changes::None)
    }

    /// Takes in what the fork server has reported, and what children have: what follows from the one
    /// depends on the other.
    fn heed_the_fork_server(&mut self, ctx: &mut Context<Self>) {
        self.with_home(ctx, |household, hands, now| {
            take_in(household, hands);
            let mut events = Vec::new();
            // What was reported before a loss counts, so the one is tried whatever the other says.
            let flushed = hands.fork_server.flush();
            let collected = hands.fork_server.collect(&mut events);
            for event in events {
                household.report(event, hands, now);
            }
            household.settle(hands, now);
            if let Err(error) = collected.and(flushed) {
                hands.lost.get_or_insert(error);
            }
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    None,
    Some,
}

/// Reads the lines of the scoreboard that have changed, and no others.
fn take_in<R: Transfer>(household: &mut Household<R>, hands: &ForkServerHands<R>) -> Changes {
    let mut changes = Changes::None;
    let board = hands.fork_server.board();
    hands.fork_server.scoreboard().drain_changes(|slot| {
        changes = Changes::Some;
        household.changed(&board.read(slot));
    });
    changes
}
