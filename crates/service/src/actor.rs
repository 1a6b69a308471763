//! The actor that carries out the effects of the state machine: calls of callbacks, and reports to
//! the service manager.

use std::time::{Duration, Instant};

use actix::fut::WrapFuture;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, MessageResult,
    Recipient, ResponseFuture, SpawnHandle, System,
};
use daemon_core::MonotonicTime;
use futures::channel::oneshot;
use futures::future::join_all;
use slog::{Logger, crit, debug, error, info, o, warn};

use crate::error::ServiceError;
use crate::messages::{
    AwaitExit, Callbacks, CheckHealth, GetState, Health, LogPanic, NextState, Register,
    SetStatusText, SignalOwner, StateCallback,
};
use crate::service_manager::ServiceManager;
use crate::settings::ServiceSettings;
use crate::state::{Callback, Control, ControlRefused, IllegalStateChange, ServiceState};
use crate::state_machine::{
    Call, Effect, ParticipantId, ServiceStatus, SetState, StateMachine, Timing,
};

/// How long the recipients of the `Stopped` callback may take to handle the callback.
const STOPPED_CALLBACK_MAX: Duration = Duration::from_secs(5);
/// The least time between two notifications of the watchdog.
const WATCHDOG_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Returns how often the watchdog is notified: twice within its timeout, but at most every
/// [`WATCHDOG_INTERVAL_MIN`], because a shorter interval would keep the processor busy.
fn watchdog_interval(timeout: Duration) -> Duration {
    (timeout / 2).max(WATCHDOG_INTERVAL_MIN)
}

/// A participant: an actor, such as a daemon, that was registered with [`Register`].
#[derive(Debug)]
struct Participant {
    id: ParticipantId,
    recipient: Recipient<StateCallback>,
    health: Option<Recipient<CheckHealth>>,
}

/// A service: holds the state, calls the callbacks, and reports to the service manager.
///
/// The service manager is the service control manager of Windows, or a service manager that
/// understands sd_notify, such as systemd. Without a service manager, the service runs in a
/// console, and Ctrl-C stops the service.
#[derive(Debug)]
pub struct ServiceActor {
    log: Logger,
    state_machine: StateMachine,
    callbacks: Callbacks,
    participants: Vec<Participant>,
    service_manager: ServiceManager,
    stopped_recipients: Vec<Recipient<StateCallback>>,
    exit_waiters: Vec<oneshot::Sender<u32>>,
    timer: Option<(MonotonicTime, SpawnHandle)>,
    started_at: Instant,
    /// The state that was logged last.
    logged: Option<ServiceState>,
    /// Whether a participant has still to answer whether it is healthy.
    is_checking_health: bool,
    /// Whether a timer runs for notifications that could not be sent.
    is_retrying: bool,
}

impl ServiceActor {
    /// Spawns a service in the actix System of this thread. In the original,
    /// `POE::Component::Daemon::Win32`, this is `spawn`.
    ///
    /// # Errors
    ///
    /// - [`ServiceError::EmptyAlias`] or [`ServiceError::ZeroPollInterval`] if the settings are
    ///   invalid.
    /// - [`ServiceError::NoSystem`] outside of an actix System.
    /// - [`ServiceError::Environment`] if `NOTIFY_SOCKET`, `WATCHDOG_USEC` or `WATCHDOG_PID` has an
    ///   invalid value.
    /// - [`ServiceError::System`] if signal handlers cannot be installed, or if a socket cannot be
    ///   opened.
    pub fn spawn(settings: ServiceSettings) -> Result<Addr<ServiceActor>, ServiceError> {
        settings.check()?;
        if !System::is_registered() {
            return Err(ServiceError::NoSystem);
        }
        let log = settings.log().new(o!("service" => settings.alias.clone()));
        let mut service_manager = ServiceManager::from_env()?;
        let signals = service_manager.open_signals()?;
        let timing =
            Timing { poll_interval: settings.poll_interval, wait_hint: settings.wait_hint };
        let mut state_machine = StateMachine::new(timing, settings.callbacks.callback_set());
        if settings.awaits_registration {
            state_machine.await_registration();
        }
        Ok(ServiceActor::create(|ctx| {
            service_manager.listen(signals, ctx.address().recipient());
            ServiceActor {
                log,
                state_machine,
                callbacks: settings.callbacks,
                participants: Vec::new(),
                service_manager,
                stopped_recipients: Vec::new(),
                exit_waiters: Vec::new(),
                timer: None,
                started_at: Instant::now(),
                logged: None,
                is_checking_health: false,
                is_retrying: false,
            }
        }))
    }

    fn now(&self) -> MonotonicTime {
        MonotonicTime::from_since_boot(self.started_at.elapsed())
    }

    fn recipient(&self, call: &Call) -> Option<Recipient<StateCallback>> {
        if call.participant == ParticipantId::CALLBACKS {
            return self.callbacks.recipient(call.callback).cloned();
        }
        let mut participants = self.participants.iter();
        let participant = participants.find(|participant| participant.id == call.participant);
        participant.map(|participant| participant.recipient.clone())
    }

    fn carry_out(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Report(status) => self.report(&status),
                Effect::Call(call) => self.call(&call),
                Effect::End => self.end(ctx),
            }
        }
        self.set_timer(ctx);
        self.retry_later(ctx);
    }

    /// If notifications could not be sent to the service manager, tries again later, with an
    /// increasing delay, until they have gone.
    fn retry_later(&mut self, ctx: &mut Context<Self>) {
        let Some(delay) = self.service_manager.retry_in() else { return };
        if std::mem::replace(&mut self.is_retrying, true) {
            return;
        }
        ctx.run_later(delay, |service, ctx| {
            service.is_retrying = false;
            match service.service_manager.retry() {
                Ok(()) => info!(service.log, "the service manager has been notified"),
                // The first failure has been logged.
                Err(_again) => service.retry_later(ctx),
            }
        });
    }

    /// Logs that a notification has to wait.
    fn log_unsent(&self, error: &std::io::Error) {
        warn!(
            self.log, "cannot notify the service manager, trying again"; "error" => %error
        );
    }

    fn report(&mut self, status: &ServiceStatus) {
        let (state, checkpoint) = (status.state.word(), status.checkpoint);
        match self.logged.replace(status.state) {
            // Progress of a pending state is logged at debug level, because a daemon reports
            // progress for each child that is forked or exits.
            Some(before) if before == status.state && checkpoint > 0 => {
                debug!(self.log, "state pending"; "state" => state, "checkpoint" => checkpoint);
            }
            Some(_) | None => info!(self.log, "service state"; "state" => state),
        }
        if let Err(error) = self.service_manager.report(status) {
            self.log_unsent(&error);
        }
    }

    fn call(&mut self, call: &Call) {
        let Some(recipient) = self.recipient(call) else { return };
        if call.state == ServiceState::Stopped {
            self.stopped_recipients.push(recipient);
        } else {
            recipient.do_send(StateCallback {
                state: call.state,
                control: call.control,
                callback: call.callback,
                call_id: call.call_id,
            });
        }
    }

    /// Calls the `Stopped` callbacks. Ends the actor when their recipients have handled them, after
    /// [`STOPPED_CALLBACK_MAX`] at the latest.
    fn end(&mut self, ctx: &mut Context<Self>) {
        let last_call = StateCallback {
            state: ServiceState::Stopped,
            control: None,
            callback: Callback::Stopped,
            call_id: None,
        };
        let recipients = self.stopped_recipients.drain(..);
        let handled = join_all(recipients.map(|recipient| recipient.send(last_call)));
        let handled = tokio::time::timeout(STOPPED_CALLBACK_MAX, handled);
        ctx.spawn(handled.into_actor(self).map(|handled, service, ctx| {
            if handled.is_err() {
                warn!(
                    service.log,
                    "the stopped callback was not handled in time";
                    "timeout" => ?STOPPED_CALLBACK_MAX
                );
            }
            let exit_code = service.state_machine.status().exit_code;
            service.service_manager.close();
            for waiter in service.exit_waiters.drain(..) {
                // The sender of `AwaitExit` may have ended.
                let _ = waiter.send(exit_code);
            }
            ctx.stop();
        }));
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let wake = self.state_machine.next_wake();
        if wake == self.timer.as_ref().map(|(time, _handle)| *time) {
            return;
        }
        if let Some((_time, handle)) = self.timer.take() {
            ctx.cancel_future(handle);
        }
        if let Some(time) = wake {
            let delay = time.saturating_since(self.now());
            let handle = ctx.run_later(delay, |service, ctx| {
                service.timer = None;
                service.remove_ended_participants(ctx);
                let effects = service.state_machine.tick(service.now());
                service.carry_out(effects, ctx);
            });
            self.timer = Some((time, handle));
        }
    }

    /// Removes the participants whose actors have ended, because they cannot answer any more.
    fn remove_ended_participants(&mut self, ctx: &mut Context<Self>) {
        let (connected, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.participants)
            .into_iter()
            .partition(|participant| participant.recipient.connected());
        self.participants = connected;
        for participant in ended {
            warn!(self.log, "removing a registered participant: its actor has ended");
            let effects = self.state_machine.remove(participant.id, self.now());
            self.carry_out(effects, ctx);
        }
    }

    /// Checks the health of all participants, and notifies the watchdog if they are healthy.
    /// Does nothing while the previous check has not been answered.
    fn check_health(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_checking_health, true) {
            return;
        }
        let checked =
            self.participants.iter().filter_map(|participant| participant.health.as_ref());
        let answers = join_all(checked.map(|health| health.send(CheckHealth)).collect::<Vec<_>>());
        ctx.spawn(answers.into_actor(self).map(|answers, service, ctx| {
            service.is_checking_health = false;
            let reason = answers.into_iter().find_map(|answer| match answer {
                Ok(Health::Healthy) => None,
                Ok(Health::Unhealthy(reason)) => Some(reason),
                Err(error) => Some(error.to_string()),
            });
            if let Some(reason) = reason {
                service.service_manager.withdraw_watchdog();
                error!(service.log, "not notifying the watchdog: unhealthy"; "reason" => reason);
            } else if let Err(error) = service.service_manager.notify_watchdog() {
                service.log_unsent(&error);
            }
            service.retry_later(ctx);
        }));
    }
}

impl Actor for ServiceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(timeout) = self.service_manager.watchdog_timeout() {
            let interval = watchdog_interval(timeout);
            if interval > timeout / 2 {
                warn!(
                    self.log, "the watchdog timeout is too short, it is notified less often";
                    "timeout" => ?timeout, "interval" => ?interval
                );
            }
            ctx.run_interval(interval, Self::check_health);
        }
        let effects = self.state_machine.start(self.now());
        self.carry_out(effects, ctx);
    }
}

impl Handler<Control> for ServiceActor {
    type Result = Result<(), ControlRefused>;

    fn handle(&mut self, control: Control, ctx: &mut Self::Context) -> Self::Result {
        match self.state_machine.control(control, self.now()) {
            Ok(effects) => {
                info!(self.log, "control accepted"; "control" => %control);
                self.carry_out(effects, ctx);
                Ok(())
            }
            Err(refused) => {
                let ControlRefused { state, control } = refused;
                warn!(
                    self.log, "control refused";
                    "control" => %control, "state" => state.word()
                );
                Err(refused)
            }
        }
    }
}

impl Handler<NextState> for ServiceActor {
    type Result = MessageResult<NextState>;

    fn handle(&mut self, next: NextState, ctx: &mut Self::Context) -> Self::Result {
        let NextState { call_id, delay } = next;
        let (result, effects) = self.state_machine.next_state(call_id, delay, self.now());
        self.carry_out(effects, ctx);
        MessageResult(result)
    }
}

impl Handler<GetState> for ServiceActor {
    type Result = MessageResult<GetState>;

    fn handle(&mut self, _get: GetState, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.state_machine.status())
    }
}

impl Handler<SetState> for ServiceActor {
    type Result = Result<ServiceStatus, IllegalStateChange>;

    fn handle(&mut self, set: SetState, ctx: &mut Self::Context) -> Self::Result {
        let effects = self.state_machine.set(set, self.now())?;
        self.carry_out(effects, ctx);
        Ok(self.state_machine.status())
    }
}

impl Handler<Register> for ServiceActor {
    type Result = ();

    fn handle(&mut self, register: Register, ctx: &mut Self::Context) {
        let Register { recipient, health, signals } = register;
        match signals {
            SignalOwner::Service => {}
            SignalOwner::Participant => self.service_manager.stop_listening(),
        }
        let (id, effects) = self.state_machine.register(self.now());
        self.participants.push(Participant { id, recipient, health });
        self.carry_out(effects, ctx);
    }
}

impl Handler<SetStatusText> for ServiceActor {
    type Result = ();

    fn handle(&mut self, SetStatusText(text): SetStatusText, ctx: &mut Self::Context) {
        if let Err(error) = self.service_manager.set_text(self.state_machine.state(), text) {
            self.log_unsent(&error);
        }
        self.retry_later(ctx);
    }
}

impl Handler<AwaitExit> for ServiceActor {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, _await: AwaitExit, _ctx: &mut Self::Context) -> Self::Result {
        let (waiter, exit_code) = oneshot::channel();
        self.exit_waiters.push(waiter);
        Box::pin(async move {
            match exit_code.await {
                Ok(exit_code) => exit_code,
                // The actor ended before the service had stopped, so there is no exit code.
                Err(oneshot::Canceled) => std::future::pending().await,
            }
        })
    }
}

impl Handler<LogPanic> for ServiceActor {
    type Result = ();

    fn handle(&mut self, LogPanic(error): LogPanic, _ctx: &mut Self::Context) {
        crit!(self.log, "panicked, ending the service"; "error" => error);
    }
}

#[cfg(unix)]
mod fd_store {
    use std::io;

    use actix::{Context, Handler};

    use super::ServiceActor;
    use crate::systemd::{FdStoreResult, NotifySocket, RemoveFd, StoreFd};

    impl ServiceActor {
        fn notify(
            &self,
            send: impl FnOnce(&NotifySocket) -> io::Result<()>,
        ) -> io::Result<FdStoreResult> {
            match self.service_manager.socket() {
                Some(socket) => send(socket).map(|()| FdStoreResult::Sent),
                None => Ok(FdStoreResult::NoServiceManager),
            }
        }
    }

    impl Handler<StoreFd> for ServiceActor {
        type Result = io::Result<FdStoreResult>;

        fn handle(&mut self, store: StoreFd, _ctx: &mut Context<Self>) -> Self::Result {
            self.notify(|socket| socket.store(&store))
        }
    }

    impl Handler<RemoveFd> for ServiceActor {
        type Result = io::Result<FdStoreResult>;

        fn handle(&mut self, remove: RemoveFd, _ctx: &mut Context<Self>) -> Self::Result {
            self.notify(|socket| socket.remove(&remove))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_notified_twice_within_its_timeout_but_not_without_a_pause() {
        let micros = Duration::from_micros;
        let table = [
            (micros(1), WATCHDOG_INTERVAL_MIN),
            (WATCHDOG_INTERVAL_MIN * 2 - micros(1), WATCHDOG_INTERVAL_MIN),
            (micros(400_000), micros(200_000)),
            (Duration::from_secs(30), Duration::from_secs(15)),
            (micros(u64::MAX), micros(u64::MAX) / 2),
        ];
        for (timeout, interval) in table {
            assert_eq!(watchdog_interval(timeout), interval, "{timeout:?}");
        }
    }
}
