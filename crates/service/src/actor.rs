//! The actor that carries the machine out: it calls callbacks and tells the master.

use std::io;
use std::time::{Duration, Instant};

use actix::fut::WrapFuture;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, MessageResult,
    Recipient, ResponseFuture, SpawnHandle, System,
};
use daemon_core::MonotonicTime;
use futures::channel::oneshot;
use futures::future::join_all;
use slog::{Logger, debug, error, info, o, warn};

use crate::callback::{Callback, Callbacks};
use crate::control::{Control, Refused};
use crate::error::ServiceError;
use crate::machine::{Act, Call, Listener, Machine, Status, Times};
use crate::master::Master;
use crate::messages::{
    Answered, AskHealth, Health, NextState, Register, ServiceState, Signals, State, StatusText,
    UntilStopped,
};
use crate::settings::{Registration, Settings};
use crate::stage::{IllegalState, Stage};

/// How long who is told of the end may take.
const LAST_CALL_MAX: Duration = Duration::from_secs(5);

/// One who has registered.
#[derive(Debug)]
struct Registered {
    listener: Listener,
    recipient: Recipient<ServiceState>,
    health: Option<Recipient<AskHealth>>,
}

/// A service: it holds the state, calls who is to act on it, and tells the master.
///
/// The master is the service manager of Windows, a supervisor that speaks sd_notify, or nobody: in a
/// console Ctrl-C stops the service.
#[derive(Debug)]
pub struct ServiceActor {
    log: Logger,
    machine: Machine,
    callbacks: Callbacks,
    registered: Vec<Registered>,
    pub(crate) master: Master,
    last_call: Vec<Recipient<ServiceState>>,
    waiting: Vec<oneshot::Sender<u32>>,
    timer: Option<(MonotonicTime, SpawnHandle)>,
    begun: Instant,
    /// The state that the log was told of last.
    logged: Option<Stage>,
}

impl ServiceActor {
    /// Spawns a service in the System of this thread. The original's `spawn`.
    ///
    /// # Errors
    ///
    /// - [`ServiceError::NoAlias`], [`ServiceError::NoInterval`] when it is set up wrongly.
    /// - [`ServiceError::NoSystem`] outside of an actix System.
    /// - [`ServiceError::Environment`] when `NOTIFY_SOCKET` or `WATCHDOG_USEC` make no sense.
    /// - [`ServiceError::System`] when signals cannot be listened to, or no socket be opened.
    pub fn spawn(settings: Settings) -> Result<Addr<ServiceActor>, ServiceError> {
        settings.check()?;
        if !System::is_registered() {
            return Err(ServiceError::NoSystem);
        }
        let log = settings.log().new(o!("service" => settings.alias.clone()));
        let mut master = Master::find()?;
        let ears = master.ears()?;
        let times = Times { cycle: settings.poll_interval, wait_hint: settings.wait_hint };
        let mut machine = Machine::new(times, settings.callbacks.wants());
        match settings.registration {
            Registration::None => {}
            Registration::Awaited => machine.await_registration(),
        }
        Ok(ServiceActor::create(|ctx| {
            master.listen(ears, ctx.address().recipient());
            ServiceActor {
                log,
                machine,
                callbacks: settings.callbacks,
                registered: Vec::new(),
                master,
                last_call: Vec::new(),
                waiting: Vec::new(),
                timer: None,
                begun: Instant::now(),
                logged: None,
            }
        }))
    }

    fn now(&self) -> MonotonicTime {
        MonotonicTime::from_since_boot(self.begun.elapsed())
    }

    fn recipient(&self, call: &Call) -> Option<Recipient<ServiceState>> {
        if call.listener == Listener::CALLBACKS {
            return self.callbacks.of(call.callback).cloned();
        }
        let mut registered = self.registered.iter();
        let registered = registered.find(|registered| registered.listener == call.listener);
        registered.map(|registered| registered.recipient.clone())
    }

    fn carry_out(&mut self, acts: Vec<Act>, ctx: &mut Context<Self>) {
        for act in acts {
            match act {
                Act::Report(status) => self.report(&status),
                Act::Call(call) => self.call(&call),
                Act::End => self.end(ctx),
            }
        }
        self.set_timer(ctx);
    }

    fn report(&mut self, status: &Status) {
        let (state, checkpoint) = (status.stage.word(), status.checkpoint);
        match self.logged.replace(status.stage) {
            // Still on its way: at each child that leaves, for one.
            Some(before) if before == status.stage && checkpoint > 0 => {
                debug!(self.log, "{}", state; "checkpoint" => checkpoint);
            }
            Some(_) | None => info!(self.log, "{}", state),
        }
        if let Err(error) = self.master.report(status) {
            warn!(self.log, "the master does not hear: {}", error);
        }
    }

    fn call(&mut self, call: &Call) {
        let Some(recipient) = self.recipient(call) else { return };
        let told = ServiceState {
            state: call.stage,
            message: call.message,
            callback: call.callback,
            ticket: call.ticket,
        };
        if call.stage == Stage::Stopped {
            self.last_call.push(recipient);
        } else {
            recipient.do_send(told);
        }
    }

    /// Tells of the end, and ends when it was heard.
    fn end(&mut self, ctx: &mut Context<Self>) {
        let told = ServiceState {
            state: Stage::Stopped,
            message: None,
            callback: Callback::Stopped,
            ticket: None,
        };
        let heard = join_all(self.last_call.drain(..).map(|recipient| recipient.send(told)));
        let heard = tokio::time::timeout(LAST_CALL_MAX, heard);
        ctx.spawn(heard.into_actor(self).map(|heard, service, ctx| {
            if heard.is_err() {
                warn!(service.log, "who is told of the end has not come back");
            }
            let exit_code = service.machine.status().exit_code;
            service.master.close();
            for waiting in service.waiting.drain(..) {
                // Who has asked may have gone meanwhile.
                let _ = waiting.send(exit_code);
            }
            ctx.stop();
        }));
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let wake = self.machine.next_wake();
        if wake == self.timer.as_ref().map(|(time, _handle)| *time) {
            return;
        }
        if let Some((_time, handle)) = self.timer.take() {
            ctx.cancel_future(handle);
        }
        if let Some(time) = wake {
            let pause = time.saturating_since(self.now());
            let handle = ctx.run_later(pause, |service, ctx| {
                service.timer = None;
                service.forget_the_lost(ctx);
                let acts = service.machine.tick(service.now());
                service.carry_out(acts, ctx);
            });
            self.timer = Some((time, handle));
        }
    }

    /// Those whose actors have ended can answer no more.
    fn forget_the_lost(&mut self, ctx: &mut Context<Self>) {
        let (kept, lost): (Vec<_>, Vec<_>) = std::mem::take(&mut self.registered)
            .into_iter()
            .partition(|registered| registered.recipient.connected());
        self.registered = kept;
        for registered in lost {
            warn!(self.log, "one who had registered is gone");
            let acts = self.machine.lost(registered.listener, self.now());
            self.carry_out(acts, ctx);
        }
    }

    /// Asks all who have registered, and tells the watchdog if all are well.
    fn feed_the_watchdog(&mut self, ctx: &mut Context<Self>) {
        let asked = self.registered.iter().filter_map(|registered| registered.health.as_ref());
        let answers = join_all(asked.map(|health| health.send(AskHealth)).collect::<Vec<_>>());
        ctx.spawn(answers.into_actor(self).map(|answers, service, _ctx| {
            let ill = answers.into_iter().find_map(|answer| match answer {
                Ok(Health::Well) => None,
                Ok(Health::Ill(why)) => Some(why),
                Err(error) => Some(error.to_string()),
            });
            match ill.map_or_else(|| service.master.alive(), |why| Err(io::Error::other(why))) {
                Ok(()) => {}
                Err(why) => error!(service.log, "the watchdog is told nothing: {}", why),
            }
        }));
    }
}

impl Actor for ServiceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(limit) = self.master.watchdog() {
            ctx.run_interval(limit / 2, Self::feed_the_watchdog);
        }
        let acts = self.machine.begin(self.now());
        self.carry_out(acts, ctx);
    }
}

impl Handler<Control> for ServiceActor {
    type Result = Result<(), Refused>;

    fn handle(&mut self, control: Control, ctx: &mut Self::Context) -> Self::Result {
        match self.machine.control(control, self.now()) {
            Ok(acts) => {
                info!(self.log, "told to {}", control);
                self.carry_out(acts, ctx);
                Ok(())
            }
            Err(refused) => {
                warn!(self.log, "{}", refused);
                Err(refused)
            }
        }
    }
}

impl Handler<NextState> for ServiceActor {
    type Result = MessageResult<NextState>;

    fn handle(&mut self, next: NextState, ctx: &mut Self::Context) -> Self::Result {
        let NextState { ticket, delay } = next;
        let (answered, acts): (Answered, _) = self.machine.next_state(ticket, delay, self.now());
        self.carry_out(acts, ctx);
        MessageResult(answered)
    }
}

impl Handler<State> for ServiceActor {
    type Result = Result<Status, IllegalState>;

    fn handle(&mut self, state: State, ctx: &mut Self::Context) -> Self::Result {
        if let Some(setting) = state.setting {
            let acts = self.machine.set(setting, self.now())?;
            self.carry_out(acts, ctx);
        }
        Ok(self.machine.status())
    }
}

impl Handler<Register> for ServiceActor {
    type Result = ();

    fn handle(&mut self, register: Register, ctx: &mut Self::Context) {
        let Register { recipient, health, signals } = register;
        match signals {
            Signals::Service => {}
            Signals::Registered => self.master.stop_listening(),
        }
        let (listener, acts) = self.machine.register(self.now());
        self.registered.push(Registered { listener, recipient, health });
        self.carry_out(acts, ctx);
    }
}

impl Handler<StatusText> for ServiceActor {
    type Result = ();

    fn handle(&mut self, StatusText(text): StatusText, _ctx: &mut Self::Context) {
        if let Err(error) = self.master.text(self.machine.stage(), text) {
            warn!(self.log, "the master does not hear: {}", error);
        }
    }
}

impl Handler<UntilStopped> for ServiceActor {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, _until: UntilStopped, _ctx: &mut Self::Context) -> Self::Result {
        let (stopped, answer) = oneshot::channel();
        self.waiting.push(stopped);
        Box::pin(async move {
            match answer.await {
                Ok(exit_code) => exit_code,
                // The actor has ended otherwise; its mailbox tells who has asked.
                Err(oneshot::Canceled) => std::future::pending().await,
            }
        })
    }
}
