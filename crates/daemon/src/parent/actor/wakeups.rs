//! Handles what wakes the parent: reports of the fork server, and status changes of children.

use actix::{AsyncContext, Context, StreamHandler};
use daemon_forkserver::{Transfer, now};

use super::DaemonActor;
use crate::parent::process_control::ForkServerControl;
use crate::parent::supervisor::Supervisor;

/// What woke the parent: the link to the fork server, or the wakeup that children trigger.
#[derive(Debug, Clone, Copy)]
pub(super) enum WakeSource {
    ForkServer,
    Children,
}

impl<R: Transfer + Send> StreamHandler<WakeSource> for DaemonActor<R> {
    fn handle(&mut self, source: WakeSource, ctx: &mut Self::Context) {
        match source {
            WakeSource::ForkServer => self.handle_fork_server_wakeup(ctx),
            WakeSource::Children => self.handle_child_wakeup(ctx),
        }
    }

    fn finished(&mut self, _ctx: &mut Self::Context) {}
}

impl<R: Transfer + Send> DaemonActor<R> {
    /// Reads the status changes of children. If there were changes, reads again after a delay,
    /// which limits the rate of wakeups under any load. If there were none, re-arms the wakeup.
    fn handle_child_wakeup(&mut self, ctx: &mut Context<Self>) {
        let Some(supervision) = &mut self.supervision else { return };
        supervision.processes.fork_server.wakeup().clear();
        self.is_wakeup_scheduled = false;
        match self.read_status_changes(ctx) {
            Changes::Some => self.handle_child_wakeup_later(ctx),
            Changes::None => self.arm_wakeup(ctx),
        }
    }

    fn handle_child_wakeup_later(&mut self, ctx: &mut Context<Self>) {
        let Some(supervision) = &self.supervision else { return };
        if !std::mem::replace(&mut self.is_wakeup_scheduled, true) {
            ctx.run_later(supervision.supervisor.wakeup_delay(), Self::handle_child_wakeup);
        }
    }

    pub(super) fn arm_wakeup(&mut self, ctx: &mut Context<Self>) {
        let Some(supervision) =
            self.supervision.as_ref().filter(|supervision| supervision.supervisor.uses_statuses())
        else {
            return;
        };
        match supervision.processes.fork_server.scoreboard().arm_wakeup() {
            daemon_core::ArmResult::Armed => {}
            daemon_core::ArmResult::ChangesPending => self.handle_child_wakeup_later(ctx),
        }
    }

    fn read_status_changes(&mut self, ctx: &mut Context<Self>) -> Changes {
        let changes = self.with_supervisor(ctx, |supervisor, processes, now| {
            let changes = read_changes(supervisor, processes);
            if changes == Changes::Some {
                supervisor.reconcile(processes, now);
            }
            changes
        });
        changes.unwrap_or(Changes::None)
    }

    /// Reads the status changes of children, then the reports of the fork server. In the opposite
    /// order, the report of an exit would clear the child's slot before its last status is read.
    fn handle_fork_server_wakeup(&mut self, ctx: &mut Context<Self>) {
        self.with_supervisor(ctx, |supervisor, processes, now| {
            read_changes(supervisor, processes);
            let mut events = Vec::new();
            // Reports that arrived before the link was lost are valid, so collect them even if the
            // flush fails.
            let flushed = processes.fork_server.flush();
            let collected = processes.fork_server.collect(&mut events);
            for event in events {
                supervisor.on_fork_server_event(event, processes, now);
            }
            supervisor.reconcile(processes, now);
            if let Err(error) = collected.and(flushed) {
                processes.lost.get_or_insert(error);
            }
        });
        // A child can disarm the wakeup without waking the parent, so arm it again.
        self.arm_wakeup(ctx);
    }

    /// Reads the whole scoreboard, and repairs what other code has damaged.
    pub(in crate::parent) fn sweep_scoreboard(&mut self, ctx: &mut Context<Self>) {
        self.with_supervisor(ctx, |supervisor, processes, now| {
            processes.fork_server.scoreboard().sweep(now, |entry| {
                if supervisor.uses_statuses() {
                    supervisor.on_status_change(entry);
                }
            });
            supervisor.reconcile(processes, now);
        });
        self.arm_wakeup(ctx);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    None,
    Some,
}

/// Passes the changed slots of the scoreboard to the supervisor. Returns whether there were any.
fn read_changes<R: Transfer>(
    supervisor: &mut Supervisor<R>,
    processes: &ForkServerControl<R>,
) -> Changes {
    let mut changes = Changes::None;
    let scoreboard = processes.fork_server.scoreboard();
    let time = now();
    scoreboard.drain_changes(|slot| {
        changes = Changes::Some;
        supervisor.on_status_change(&scoreboard.observe_slot(slot, time));
    });
    changes
}
