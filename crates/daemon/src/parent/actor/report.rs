//! The daemon's phase, its status report, and its output for the message `Peek`.

use daemon_core::{AcceptState, OperatorPause, Phase, format};
use daemon_forkserver::{Transfer, now};
use daemon_protocol::{Report, Reporter};
use daemon_sys::process::Pid;

use super::DaemonActor;
use crate::control::ControlServer;
use crate::messages::Detail;
use crate::parent::stop::ShutdownStage;
use crate::peek;

impl<R: Transfer + Send> DaemonActor<R> {
    pub(in crate::parent) fn report(&self) -> Report {
        let now = now();
        let (alias, model) = (self.context.alias.clone(), self.context.model);
        let mut report = Report::new(alias, model, Reporter::Parent, self.context.parent);
        (report.phase, report.up) = (self.phase(), now.saturating_since(self.started));
        if let Some(supervision) = &self.supervision {
            let fork_server = &supervision.processes.fork_server;
            report.fork_server = Some(fork_server.pid().as_raw().unsigned_abs());
            let board = fork_server.board();
            report.add_board(board, &board.observe_all(now).collect::<Vec<_>>(), now);
            report.accepting = Some(supervision.supervisor.accept_state());
            report.operator_pause = Some(supervision.supervisor.operator_pause());
            report.waiting = u32::try_from(supervision.supervisor.waiting()).unwrap_or(u32::MAX);
            report.add_counters(supervision.supervisor.counters());
        }
        report
    }

    /// Returns the number of children, including those that are starting or leaving.
    pub(in crate::parent) fn children(&self) -> u32 {
        self.supervision
            .as_ref()
            .map_or(0, |supervision| supervision.supervisor.registry().counts().children())
    }

    pub(in crate::parent) fn phase(&self) -> Phase {
        match (&self.supervision, self.stopping) {
            (Some(supervision), _) => supervision.supervisor.phase(),
            (None, None) => Phase::Running,
            (None, Some(_)) if self.shutdown_stage == ShutdownStage::Stopped => Phase::Stopped,
            (None, Some(_)) => Phase::Stopping,
        }
    }

    pub(in crate::parent) fn peek(&self, detail: Detail) -> String {
        let mut lines = self.sessions.peek(&self.context.alias);
        lines.push(format!("Subscriptions: {}", self.sessions.count()));
        if let Some(supervision) = &self.supervision {
            let counts = supervision.supervisor.registry().counts();
            lines.push(format!(
                "Children: {} ({} starting, {} idle, {} busy, {} leaving)",
                counts.children(),
                counts.starting(),
                counts.idle(),
                counts.busy(),
                counts.leaving()
            ));
            lines.extend(
                supervision
                    .supervisor
                    .registry()
                    .peek_stopping(supervision.processes.fork_server.board(), now()),
            );
            lines.push(format!("Requests waiting: {}", supervision.supervisor.waiting()));
            let accepting = match (
                supervision.supervisor.accept_state(),
                supervision.supervisor.operator_pause(),
            ) {
                (_, OperatorPause::On) => "no, paused by operator",
                (AcceptState::Paused, OperatorPause::Off) => "no, the pool is full",
                (AcceptState::Accepting, OperatorPause::Off) => "yes",
            };
            lines.push(format!("Accepting: {accepting}"));
            lines.push(format!("Fork server: pid {}", supervision.processes.fork_server.pid()));
            if supervision.processes.fork_server.has_unsent_commands() {
                lines.push("Fork server commands: waiting to be sent".to_owned());
            }
        }
        lines.push(match &self.timer {
            None => "Timer: none".to_owned(),
            Some((time, _handle)) => {
                format!("Timer: due in {}", format::duration(time.saturating_since(now())))
            }
        });
        let foreign: Vec<String> = self.foreign.pids().iter().map(Pid::to_string).collect();
        if !foreign.is_empty() {
            lines.push(format!("Foreign children: {}", foreign.join(", ")));
        }
        lines.extend(self.control.as_ref().map(ControlServer::peek));
        lines.push(self.describe_stop());
        lines.extend(peek::unanswered(&self.sessions.unanswered()));
        peek::with_details(lines, detail, &self.report())
    }
}
