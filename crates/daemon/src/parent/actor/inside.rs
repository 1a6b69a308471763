//! What can be seen of the daemon: its phase, its report, its peek.

use daemon_core::Phase;
use daemon_forkserver::{Transfer, now};

use super::DaemonActor;
use crate::control::Control;
use crate::messages::Detail;
use crate::parent::stop::Ending;
use crate::peek;
use crate::status::{Report, Reporter, View};

impl<R: Transfer + Send> DaemonActor<R> {
    pub(in crate::parent) fn report(&self) -> Report {
        let board = self.home.as_ref().map(|home| home.hands.fork_server.board());
        let view = View {
            alias: self.life.alias.clone(),
            model: self.life.kind,
            reporter: Reporter::Parent,
            parent: self.life.parent,
            fork_server: self
                .home
                .as_ref()
                .map(|home| home.hands.fork_server.pid().as_raw().unsigned_abs()),
            phase: self.phase(),
        };
        let now = now();
        let mut report = Report::of(view, board, now);
        report.up = now.saturating_since(self.started);
        if let Some(home) = &self.home {
            report.door = Some(home.household.door().into());
            report.waiting = u32::try_from(home.household.waiting()).unwrap_or(u32::MAX);
            report.take_counts(home.household.counters());
        }
        report
    }

    /// How many children there are.
    pub(in crate::parent) fn children(&self) -> u32 {
        self.home.as_ref().map_or(0, |home| home.household.registry().census().children())
    }

    pub(in crate::parent) fn phase(&self) -> Phase {
        match (&self.home, self.stopping) {
            (Some(home), _) => home.household.phase(),
            (None, None) => Phase::Running,
            (None, Some(_)) if self.ending == Ending::Over => Phase::Stopped,
            (None, Some(_)) => Phase::Stopping,
        }
    }

    pub(in crate::parent) fn peek(&self, detail: Detail) -> String {
        let mut lines = self.sessions.peek(&self.life.alias);
        lines.push(format!("Subscriptions: {}", self.sessions.count()));
        if let Some(home) = &self.home {
            let census = home.household.registry().census();
            lines.push(format!(
                "Children: {} ({} starting, {} idle, {} busy, {} leaving)",
                census.children(),
                census.starting(),
                census.idle(),
                census.busy(),
                census.leaving()
            ));
            lines.extend(
                home.household.registry().told_to_go(home.hands.fork_server.board(), now()),
            );
            lines.push(format!("Requests that wait for a child: {}", home.household.waiting()));
            lines.push(format!(
                "Door: {:?}, held: {:?}",
                home.household.door(),
                home.household.held()
            ));
            lines.push(format!("Fork server: pid {}", home.hands.fork_server.pid()));
            lines.push(format!(
                "Orders that wait for the link: {}",
                home.hands.fork_server.has_unsent_commands()
            ));
        }
        lines.push(match &self.timer {
            None => "Timer: none".to_owned(),
            Some((time, _handle)) => {
                format!("Timer: due in {:?}", time.saturating_since(now()))
            }
        });
        lines.push(format!("Foreign children: {:?}", self.foreign.pids()));
        lines.extend(self.control.as_ref().map(Control::peek));
        lines.push(self.why_it_stays());
        lines.extend(peek::farewells(&self.sessions.unanswered()));
        peek::finish(lines, detail, &self.report())
    }
}
