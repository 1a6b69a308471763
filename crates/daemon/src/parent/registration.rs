//! How the daemon registers with a service, and what it tells it of its counts.

use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler};
use daemon_forkserver::Transfer;
use daemon_service::{Register, ServiceActor, SetStatusText, SignalOwner};

use super::actor::DaemonActor;
use crate::messages::{
    ChildBorn, ChildExited, DaemonHup, DaemonOperatorPause, DaemonPhase, DaemonReload,
    RegisterWith, Subscribe,
};
use crate::service::{ServiceLink, counts};

/// What a peek calls the service.
const NAME: &str = "service";

/// They are told at most so often, but for the turns of the daemon's life.
const PAUSE: Duration = Duration::from_secs(1);

/// Who is told, and when again.
#[derive(Debug)]
pub(crate) enum StatusUpdates {
    /// Nobody.
    Off,
    /// This service, at the next change.
    Ready(Addr<ServiceActor>),
    /// This service, when the pause is over.
    Throttled(Addr<ServiceActor>),
}

impl<R: Transfer + Send> DaemonActor<R> {
    /// Something may have changed: what counts is told now, or when the pause is over. While nothing
    /// changes nothing is told, and no timer runs.
    pub(super) fn update_service_status(&mut self, ctx: &mut Context<Self>) {
        match std::mem::replace(&mut self.status_updates, StatusUpdates::Off) {
            StatusUpdates::Off => {}
            StatusUpdates::Throttled(service) => {
                self.status_updates = StatusUpdates::Throttled(service)
            }
            StatusUpdates::Ready(service) => {
                self.send_service_status(&service);
                self.status_updates = StatusUpdates::Throttled(service);
                ctx.run_later(PAUSE, |daemon, _ctx| {
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

    /// The daemon's life takes a turn: what counts is told with it, and is not a second old.
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
            ServiceLink::new(daemon.clone(), service.clone(), self.life.grace, self.log.clone())
                .start();
        // It hears how things stand before it hears what the service wants.
        daemon.do_send(Subscribe::<DaemonPhase>::new(NAME, link.clone()));
        daemon.do_send(Subscribe::<DaemonOperatorPause>::new(NAME, link.clone()));
        daemon.do_send(Subscribe::<DaemonReload>::new(NAME, link.clone()));
        daemon.do_send(Subscribe::<DaemonHup>::new(NAME, link.clone()));
        daemon.do_send(Subscribe::<ChildBorn>::new(NAME, link.clone()));
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
