//! Registers the daemon with a service actor, and keeps the status text of the service up to date.

use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler};
use daemon_forkserver::Transfer;
use daemon_service::{Register, ServiceActor, SetStatusText, SignalOwner};

use super::actor::DaemonActor;
use crate::messages::{
    ChildExited, ChildForked, DaemonHup, DaemonOperatorPause, DaemonPhase, DaemonReload,
    RegisterWith, Subscribe,
};
use crate::service::{ServiceLink, counts};

/// The name of the service in the output of the message `Peek`.
const NAME: &str = "service";

/// The minimum time between two updates of the status text. When the phase changes or a reload
/// ends, the text is updated immediately, even within this time.
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the status text of a service is updated, and when the next update is sent.
#[derive(Debug)]
pub(crate) enum StatusUpdates {
    /// The daemon is not registered with a service.
    Off,
    /// The next change is sent to this service at once.
    Ready(Addr<ServiceActor>),
    /// The next update is sent to this service at the end of the current interval.
    Throttled(Addr<ServiceActor>),
}

impl<R: Transfer + Send> DaemonActor<R> {
    /// Updates the status text after a possible change: at once, or at the end of the current
    /// interval. While nothing changes, nothing is sent and no timer runs.
    pub(super) fn update_service_status(&mut self, ctx: &mut Context<Self>) {
        match std::mem::replace(&mut self.status_updates, StatusUpdates::Off) {
            StatusUpdates::Off => {}
            StatusUpdates::Throttled(service) => {
                self.status_updates = StatusUpdates::Throttled(service);
            }
            StatusUpdates::Ready(service) => {
                self.send_service_status(&service);
                self.status_updates = StatusUpdates::Throttled(service);
                ctx.run_later(UPDATE_INTERVAL, |daemon, _ctx| {
                    if let StatusUpdates::Throttled(service) =
                        std::mem::replace(&mut daemon.status_updates, StatusUpdates::Off)
                    {
                        daemon.send_service_status(&service);
                        daemon.status_updates = StatusUpdates::Ready(service);
                    }
                });
            }
        }
    }

    fn send_service_status(&self, service: &Addr<ServiceActor>) {
        service.do_send(SetStatusText(counts(&self.report())));
    }

    /// Updates the status text at once, even within an interval. Called when the phase changes and
    /// when a reload ends.
    pub(super) fn send_service_status_now(&mut self, ctx: &mut Context<Self>) {
        match &self.status_updates {
            StatusUpdates::Throttled(service) => self.send_service_status(service),
            StatusUpdates::Ready(_) | StatusUpdates::Off => self.update_service_status(ctx),
        }
    }
}

impl<R: Transfer + Send> Handler<RegisterWith> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, RegisterWith(service): RegisterWith, ctx: &mut Context<Self>) {
        let daemon = ctx.address();
        let link =
            ServiceLink::new(daemon.clone(), service.clone(), self.context.grace, self.log.clone())
                .start();
        // Subscribe before registering, so that the `ServiceLink` receives the retained events
        // before the commands of the service.
        daemon.do_send(Subscribe::<DaemonPhase>::new(NAME, link.clone()));
        daemon.do_send(Subscribe::<DaemonOperatorPause>::new(NAME, link.clone()));
        daemon.do_send(Subscribe::<DaemonReload>::new(NAME, link.clone()));
        daemon.do_send(Subscribe::<DaemonHup>::new(NAME, link.clone()));
        daemon.do_send(Subscribe::<ChildForked>::new(NAME, link.clone()));
        daemon.do_send(Subscribe::<ChildExited>::new(NAME, link.clone()));
        service.do_send(Register {
            recipient: link.clone().recipient(),
            health: Some(link.recipient()),
            signals: SignalOwner::Participant,
        });
        self.status_updates = StatusUpdates::Ready(service);
        self.update_service_status(ctx);
    }
}
