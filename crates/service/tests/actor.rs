//! Tests of the service actor with real callbacks. Each test runs in its own actix System.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::time::Duration;

use actix::{Actor, ActorContext, Addr, Context, Handler, Message, System};
use daemon_service::{
    AwaitExit, Callback, Callbacks, Control, ControlRefused, GetState, IllegalStateChange,
    NextStateResult, Register, ServiceActor, ServiceError, ServiceSettings, ServiceState, SetState,
    SignalOwner, StateCallback, UserControl, run_here,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Forwards the calls of all callbacks to the test.
struct Forwarder(UnboundedSender<StateCallback>);

impl Actor for Forwarder {
    type Context = Context<Self>;
}

impl Handler<StateCallback> for Forwarder {
    type Result = ();

    fn handle(&mut self, call: StateCallback, _ctx: &mut Context<Self>) {
        // The test may have ended.
        let _ = self.0.send(call);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct StopActor;

impl Handler<StopActor> for Forwarder {
    type Result = ();

    fn handle(&mut self, _stop: StopActor, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// The time limit of each step of a test, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service, and the calls of its callbacks.
struct Fixture {
    service: Addr<ServiceActor>,
    calls: UnboundedReceiver<StateCallback>,
}

impl Fixture {
    fn with(callbacks: impl FnOnce(Addr<Forwarder>) -> Callbacks) -> Fixture {
        let (sender, calls) = unbounded_channel();
        let settings = ServiceSettings::new(callbacks(Forwarder(sender).start()));
        let settings = settings.poll_interval(Duration::from_millis(5)).logger(quiet());
        Fixture { service: ServiceActor::spawn(settings).unwrap(), calls }
    }

    async fn next(&mut self) -> StateCallback {
        tokio::time::timeout(PATIENCE, self.calls.recv()).await.unwrap().unwrap()
    }

    /// Waits for a call of this callback, and skips the calls of other callbacks.
    async fn until(&mut self, callback: Callback) -> StateCallback {
        loop {
            let call = self.next().await;
            if call.callback == callback {
                return call;
            }
        }
    }

    async fn answer(&self, call: StateCallback) -> NextStateResult {
        self.service.send(call.next()).await.unwrap()
    }

    async fn state(&self) -> ServiceState {
        self.service.send(GetState).await.unwrap().state
    }

    /// Answers the callbacks until the service runs.
    async fn run_service(&mut self) {
        for callback in [Callback::NotReady, Callback::StartPending, Callback::Running] {
            let call = self.until(callback).await;
            self.answer(call).await;
        }
    }
}

/// Forwards the value that each log record has for the key `service`.
struct ServiceKeyDrain(UnboundedSender<String>);

impl slog::Drain for ServiceKeyDrain {
    type Ok = ();
    type Err = slog::Error;

    fn log(&self, record: &slog::Record<'_>, pairs: &slog::OwnedKVList) -> slog::Result {
        slog::KV::serialize(pairs, record, &mut ServiceKeySerializer(&self.0))
    }
}

struct ServiceKeySerializer<'a>(&'a UnboundedSender<String>);

impl slog::Serializer for ServiceKeySerializer<'_> {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        if key == "service" {
            // The test may have ended.
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
fn log_records_contain_the_alias_which_is_the_program_name_by_default() {
    let program = std::env::current_exe().unwrap();
    let program = program.file_stem().unwrap().to_str().unwrap();
    for (alias, name) in [(None, program), (Some("echo"), "echo")] {
        let (sender, mut names) = unbounded_channel();
        let code = run_here(move || {
            let settings = ServiceSettings::new(Callbacks::none());
            let log = slog::Drain::ignore_res(ServiceKeyDrain(sender));
            let settings = settings.logger(slog::Logger::root(log, slog::o!()));
            let settings = match alias {
                Some(alias) => settings.alias(alias),
                None => settings,
            };
            let service = ServiceActor::spawn(settings)?;
            service.do_send(Control::Stop);
            Ok(service)
        });
        assert_eq!(code.unwrap(), 0);
        let mut records = 0;
        while let Ok(logged) = names.try_recv() {
            assert_eq!(logged, name);
            records += 1;
        }
        assert!(records > 0);
    }
}

#[test]
fn a_callback_is_called_again_until_it_answers() {
    in_a_system(async {
        let mut fixture = Fixture::with(|all| Callbacks::none().on(Callback::StartPending, all));
        let first = fixture.next().await;
        for _cycle in 0..3 {
            assert_eq!(fixture.next().await, first);
        }
        assert_eq!(fixture.answer(first).await, NextStateResult::Entered(ServiceState::Running));
        assert_eq!(fixture.answer(first).await, NextStateResult::Stale);
    });
}

#[test]
fn one_recipient_receives_the_callbacks_of_all_states_in_order() {
    in_a_system(async {
        let mut fixture = Fixture::with(Callbacks::all);
        fixture.run_service().await;
        let steps = [
            (Control::Pause, Callback::PausePending, Callback::Paused),
            (Control::Continue, Callback::ContinuePending, Callback::Running),
        ];
        for (control, pending, settled) in steps {
            fixture.service.send(control).await.unwrap().unwrap();
            let call = fixture.until(pending).await;
            assert_eq!(call.control, Some(control));
            fixture.answer(call).await;
            let call = fixture.until(settled).await;
            fixture.answer(call).await;
        }
        let stopped = fixture.service.send(AwaitExit);
        fixture.service.send(Control::Stop).await.unwrap().unwrap();
        let call = fixture.until(Callback::StopPending).await;
        fixture.answer(call).await;
        let last = fixture.until(Callback::Stopped).await;
        assert_eq!((last.state, last.call_id), (ServiceState::Stopped, None));
        assert_eq!(stopped.await.unwrap(), 0);
    });
}

#[test]
fn the_delay_that_an_answer_sets_becomes_the_wait_hint_of_the_shutdown() {
    in_a_system(async {
        let mut fixture = Fixture::with(|all| {
            Callbacks::none().on(Callback::Shutdown, all.clone()).on(Callback::StopPending, all)
        });
        fixture.service.send(Control::Preshutdown).await.unwrap().unwrap();
        let call = fixture.until(Callback::Shutdown).await;
        assert_eq!(
            (call.state, call.control),
            (ServiceState::StopPending, Some(Control::Preshutdown))
        );
        let status = fixture.service.send(GetState).await.unwrap();
        assert_eq!(status.wait_hint, Duration::from_secs(30));
        let minute = Duration::from_secs(60);
        let answered = fixture.service.send(call.next().delay(minute)).await.unwrap();
        assert_eq!(answered, NextStateResult::Recorded);
        let status = fixture.service.send(GetState).await.unwrap();
        assert_eq!((status.wait_hint, status.checkpoint), (minute, 2));
        let call = fixture.until(Callback::StopPending).await;
        assert_eq!(fixture.answer(call).await, NextStateResult::Entered(ServiceState::Stopped));
    });
}

#[test]
fn user_controls_and_reloads_call_the_unhandled_callback() {
    in_a_system(async {
        let mut fixture = Fixture::with(|all| Callbacks::none().on(Callback::Unhandled, all));
        let user = Control::User(UserControl::new(128).unwrap());
        fixture.service.send(user).await.unwrap().unwrap();
        let call = fixture.next().await;
        assert_eq!((call.control, call.call_id), (Some(user), None));
        fixture.service.send(Control::ParamChange).await.unwrap().unwrap();
        let call = fixture.next().await;
        assert_eq!(call.control, Some(Control::ParamChange));
        assert!(fixture.service.send(GetState).await.unwrap().is_reloading);
        fixture.answer(call).await;
        assert!(!fixture.service.send(GetState).await.unwrap().is_reloading);
    });
}

#[test]
fn illegal_controls_and_state_changes_are_refused() {
    in_a_system(async {
        let fixture = Fixture::with(|_listener| Callbacks::none());
        let (state, control) = (ServiceState::Running, Control::Continue);
        assert_eq!(fixture.state().await, state);
        let refused = fixture.service.send(control).await.unwrap();
        assert_eq!(refused, Err(ControlRefused { state, control }));
        let illegal = fixture.service.send(SetState::new(ServiceState::Paused)).await.unwrap();
        assert_eq!(illegal, Err(IllegalStateChange { from: state, to: ServiceState::Paused }));
        let message = refused.unwrap_err().to_string();
        assert_eq!(message, "cannot continue while the service is running");
    });
}

#[test]
fn the_service_waits_for_a_participant_until_the_participant_answers_or_ends() {
    in_a_system(async {
        let (sender, mut calls) = unbounded_channel();
        let settings = ServiceSettings::new(Callbacks::none()).await_registration().logger(quiet());
        let settings = settings.poll_interval(Duration::from_millis(5));
        let service = ServiceActor::spawn(settings).unwrap();
        let state = async || service.send(GetState).await.unwrap().state;
        assert_eq!(state().await, ServiceState::StartPending);
        let listener = Forwarder(sender).start();
        let recipient = listener.clone().recipient();
        let signals = SignalOwner::Participant;
        service.send(Register { recipient, health: None, signals }).await.unwrap();
        let call = calls.recv().await.unwrap();
        assert_eq!(call.callback, Callback::StartPending);
        assert_eq!(state().await, ServiceState::StartPending);
        assert_eq!(
            service.send(call.next()).await.unwrap(),
            NextStateResult::Entered(ServiceState::Running)
        );
        let stopped = service.send(AwaitExit);
        service.send(Control::Stop).await.unwrap().unwrap();
        assert_eq!(state().await, ServiceState::StopPending);
        listener.do_send(StopActor);
        assert_eq!(tokio::time::timeout(PATIENCE, stopped).await.unwrap().unwrap(), 0);
    });
}

#[test]
fn run_here_returns_the_exit_code() {
    let code = run_here(|| {
        let service = ServiceActor::spawn(ServiceSettings::new(Callbacks::none()).logger(quiet()))?;
        service.do_send(SetState::new(ServiceState::StopPending).exit_code(7));
        Ok(service)
    });
    assert_eq!(code.unwrap(), 7);
}

#[test]
fn invalid_settings_a_missing_system_and_a_failed_start_are_errors() {
    let settings = || ServiceSettings::new(Callbacks::none());
    let outside = ServiceActor::spawn(settings());
    assert!(matches!(outside, Err(ServiceError::NoSystem)));
    in_a_system(async {
        let empty_alias = ServiceActor::spawn(settings().alias(""));
        assert!(matches!(empty_alias, Err(ServiceError::EmptyAlias)));
        let zero_interval = ServiceActor::spawn(settings().poll_interval(Duration::ZERO));
        assert!(matches!(zero_interval, Err(ServiceError::ZeroPollInterval)));
    });
    let failed = run_here(|| Err("no free port".into()));
    assert_eq!(failed.unwrap_err().to_string(), "cannot start the service: no free port");
}
