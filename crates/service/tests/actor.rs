//! The service's actor with real callbacks, in a System of its own.

#![expect(clippy::unwrap_used, reason = "a test that unwraps what is not there has failed")]

use std::time::Duration;

use actix::{Actor, ActorContext, Addr, Context, Handler, Message, System};
use daemon_service::{
    Answered, Callback, Callbacks, Control, IllegalState, Refused, Register, Reloading,
    ServiceActor, ServiceError, ServiceState, Settings, Signals, Stage, State, UntilStopped,
    UserControl, run_here,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Passes on what it is told.
struct Listener(UnboundedSender<ServiceState>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<ServiceState> for Listener {
    type Result = ();

    fn handle(&mut self, told: ServiceState, _ctx: &mut Context<Self>) {
        // The test may have seen enough.
        let _ = self.0.send(told);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

impl Handler<Leave> for Listener {
    type Result = ();

    fn handle(&mut self, _leave: Leave, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// How long anything may take on a busy machine before it counts as never.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service, and what its callbacks are told.
struct Bench {
    service: Addr<ServiceActor>,
    told: UnboundedReceiver<ServiceState>,
}

impl Bench {
    fn with(callbacks: impl FnOnce(Addr<Listener>) -> Callbacks) -> Bench {
        let (tell, told) = unbounded_channel();
        let settings = Settings::new(callbacks(Listener(tell).start()));
        let settings = settings.poll_interval(Duration::from_millis(5)).logger(quiet());
        Bench { service: ServiceActor::spawn(settings).unwrap(), told }
    }

    async fn next(&mut self) -> ServiceState {
        tokio::time::timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap()
    }

    /// Waits for this callback; what was called again before is skipped.
    async fn until(&mut self, callback: Callback) -> ServiceState {
        loop {
            let told = self.next().await;
            if told.callback == callback {
                return told;
            }
        }
    }

    async fn answer(&self, told: ServiceState) -> Answered {
        self.service.send(told.next()).await.unwrap()
    }

    async fn stage(&self) -> Stage {
        self.service.send(State::read()).await.unwrap().unwrap().stage
    }

    /// Answers what comes until the service runs.
    async fn runs(&mut self) {
        for callback in [Callback::NotReady, Callback::StartPending, Callback::Running] {
            let told = self.until(callback).await;
            self.answer(told).await;
        }
    }
}

/// Passes on what each record calls the service.
struct Names(UnboundedSender<String>);

impl slog::Drain for Names {
    type Ok = ();
    type Err = slog::Error;

    fn log(&self, record: &slog::Record<'_>, pairs: &slog::OwnedKVList) -> slog::Result {
        slog::KV::serialize(pairs, record, &mut Name(&self.0))
    }
}

struct Name<'a>(&'a UnboundedSender<String>);

impl slog::Serializer for Name<'_> {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        if key == "service" {
            // The test may have seen enough.
            let _ = self.0.send(value.to_string());
        }
        Ok(())
    }
}

fn quiet() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

fn in_a_system<T>(test: impl Future<Output = T>) -> T {
    System::new().block_on(test)
}

#[test]
fn a_service_is_called_by_its_alias_in_the_log_and_has_that_of_the_original() {
    for (alias, name) in [(None, "win32daemon"), (Some("echo"), "echo")] {
        let (tell, mut told) = unbounded_channel();
        let code = run_here(move || {
            let settings = Settings::new(Callbacks::none());
            let log = slog::Drain::ignore_res(Names(tell));
            let settings = settings.logger(slog::Logger::root(log, slog::o!()));
            let settings = match alias {
                Some(alias) => settings.alias(alias),
                None => settings,
            };
            let service = ServiceActor::spawn(settings)?;
            // Who has its address talks with it.
            service.do_send(Control::Stop);
            Ok(service)
        });
        assert_eq!(code.unwrap(), 0);
        let mut records = 0;
        while let Ok(told) = told.try_recv() {
            assert_eq!(told, name);
            records += 1;
        }
        assert!(records > 0);
    }
}

#[test]
fn a_callback_is_called_again_until_it_answers() {
    in_a_system(async {
        let mut bench = Bench::with(|all| Callbacks::none().on(Callback::StartPending, all));
        let first = bench.next().await;
        for _cycle in 0..3 {
            assert_eq!(bench.next().await, first);
        }
        assert_eq!(bench.answer(first).await, Answered::Now(Stage::Running));
        assert_eq!(bench.answer(first).await, Answered::Late);
    });
}

#[test]
fn one_recipient_hears_of_all_states_in_their_order() {
    in_a_system(async {
        let mut bench = Bench::with(Callbacks::all);
        bench.runs().await;
        let way = [
            (Control::Pause, Callback::PausePending, Callback::Paused),
            (Control::Continue, Callback::ContinuePending, Callback::Running),
        ];
        for (control, pending, settled) in way {
            bench.service.send(control).await.unwrap().unwrap();
            let told = bench.until(pending).await;
            assert_eq!(told.message, Some(control));
            bench.answer(told).await;
            let told = bench.until(settled).await;
            bench.answer(told).await;
        }
        let stopped = bench.service.send(UntilStopped);
        bench.service.send(Control::Stop).await.unwrap().unwrap();
        let told = bench.until(Callback::StopPending).await;
        bench.answer(told).await;
        let last = bench.until(Callback::Stopped).await;
        assert_eq!((last.state, last.ticket), (Stage::Stopped, None));
        assert_eq!(stopped.await.unwrap(), 0);
    });
}

#[test]
fn a_shutdown_tells_the_wait_hint_that_its_answer_asks_for() {
    in_a_system(async {
        let mut bench = Bench::with(|all| {
            Callbacks::none().on(Callback::Shutdown, all.clone()).on(Callback::StopPending, all)
        });
        bench.service.send(Control::Preshutdown).await.unwrap().unwrap();
        let told = bench.until(Callback::Shutdown).await;
        assert_eq!((told.state, told.message), (Stage::StopPending, Some(Control::Preshutdown)));
        let status = bench.service.send(State::read()).await.unwrap().unwrap();
        assert_eq!(status.wait_hint, Duration::from_secs(30));
        let minute = Duration::from_secs(60);
        let answered = bench.service.send(told.next().delay(minute)).await.unwrap();
        assert_eq!(answered, Answered::Noted);
        let status = bench.service.send(State::read()).await.unwrap().unwrap();
        assert_eq!((status.wait_hint, status.checkpoint), (minute, 2));
        let told = bench.until(Callback::StopPending).await;
        assert_eq!(bench.answer(told).await, Answered::Now(Stage::Stopped));
    });
}

#[test]
fn controls_without_a_callback_of_their_own_are_unhandled() {
    in_a_system(async {
        let mut bench = Bench::with(|all| Callbacks::none().on(Callback::Unhandled, all));
        let user = Control::User(UserControl::new(128).unwrap());
        bench.service.send(user).await.unwrap().unwrap();
        let told = bench.next().await;
        assert_eq!((told.message, told.ticket), (Some(user), None));
        bench.service.send(Control::ParamChange).await.unwrap().unwrap();
        let told = bench.next().await;
        assert_eq!(told.message, Some(Control::ParamChange));
        let reloading = bench.service.send(State::read()).await.unwrap().unwrap().reloading;
        assert_eq!(reloading, Reloading::Yes);
        bench.answer(told).await;
        let reloading = bench.service.send(State::read()).await.unwrap().unwrap().reloading;
        assert_eq!(reloading, Reloading::No);
    });
}

#[test]
fn what_does_not_fit_the_state_is_refused() {
    in_a_system(async {
        let bench = Bench::with(|_nobody| Callbacks::none());
        let (stage, control) = (Stage::Running, Control::Continue);
        assert_eq!(bench.stage().await, stage);
        let refused = bench.service.send(control).await.unwrap();
        assert_eq!(refused, Err(Refused { stage, control }));
        let illegal = bench.service.send(State::set(Stage::Paused)).await.unwrap();
        assert_eq!(illegal, Err(IllegalState { from: stage, wanted: Stage::Paused }));
        let name = refused.unwrap_err().to_string();
        assert_eq!(name, "a service that is running cannot continue");
    });
}

#[test]
fn who_has_registered_is_waited_for_until_it_is_gone() {
    in_a_system(async {
        let (tell, mut told) = unbounded_channel();
        let settings = Settings::new(Callbacks::none()).await_registration().logger(quiet());
        let settings = settings.poll_interval(Duration::from_millis(5));
        let service = ServiceActor::spawn(settings).unwrap();
        let stage = async || service.send(State::read()).await.unwrap().unwrap().stage;
        assert_eq!(stage().await, Stage::StartPending);
        let listener = Listener(tell).start();
        let recipient = listener.clone().recipient();
        let signals = Signals::Registered;
        service.send(Register { recipient, health: None, signals }).await.unwrap();
        let call = told.recv().await.unwrap();
        assert_eq!(call.callback, Callback::StartPending);
        assert_eq!(stage().await, Stage::StartPending);
        assert_eq!(service.send(call.next()).await.unwrap(), Answered::Now(Stage::Running));
        let stopped = service.send(UntilStopped);
        service.send(Control::Stop).await.unwrap().unwrap();
        assert_eq!(stage().await, Stage::StopPending);
        listener.do_send(Leave);
        assert_eq!(tokio::time::timeout(PATIENCE, stopped).await.unwrap().unwrap(), 0);
    });
}

#[test]
fn a_service_returns_with_its_exit_code() {
    let code = run_here(|| {
        let service = ServiceActor::spawn(Settings::new(Callbacks::none()).logger(quiet()))?;
        service.do_send(State::set(Stage::StopPending).exit_code(7));
        Ok(service)
    });
    assert_eq!(code.unwrap(), 7);
}

#[test]
fn a_service_that_is_set_up_wrongly_is_refused() {
    let settings = || Settings::new(Callbacks::none());
    let outside = ServiceActor::spawn(settings());
    assert!(matches!(outside, Err(ServiceError::NoSystem)));
    in_a_system(async {
        let no_alias = ServiceActor::spawn(settings().alias(""));
        assert!(matches!(no_alias, Err(ServiceError::NoAlias)));
        let no_interval = ServiceActor::spawn(settings().poll_interval(Duration::ZERO));
        assert!(matches!(no_interval, Err(ServiceError::NoInterval)));
    });
    let failed = run_here(|| Err("there is no work".into()));
    assert_eq!(failed.unwrap_err().to_string(), "cannot start the service: there is no work");
}
