//! Tests the end of services whose code panics, and of one that has no descriptors. Each service
//! runs in a process of its own: this program starts itself with the name of a place as argument.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![expect(clippy::print_stderr, reason = "the test reads it")]

use std::process::{Command, ExitCode, Output};

use actix::{Actor, AsyncContext, Context, Handler, Message, WrapFuture};
use daemon_service::{
    Callbacks, ServiceActor, ServiceError, ServiceSettings, StateCallback, run_here,
};

fn main() -> ExitCode {
    match std::env::args().nth(1).filter(|argument| !argument.starts_with('-')) {
        Some(place) => match run_service(place) {
            Ok(code) => ExitCode::from(u8::try_from(code).unwrap()),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        None => {
            a_panic_ends_the_service_with_an_error();
            #[cfg(unix)]
            a_service_without_descriptors_says_so();
            ExitCode::SUCCESS
        }
    }
}

/// The actor whose callbacks the service calls. Nothing stops the service.
struct Work {
    place: String,
}

impl Actor for Work {
    type Context = Context<Self>;
}

impl Work {
    fn panic_at(&self, place: &str) {
        assert!(self.place != place, "on purpose");
    }
}

impl Handler<StateCallback> for Work {
    type Result = ();

    fn handle(&mut self, _call: StateCallback, ctx: &mut Context<Self>) {
        self.panic_at("callback");
        let place = self.place.clone();
        ctx.spawn(async move { assert!(place != "future", "on purpose") }.into_actor(self));
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Begin;

impl Handler<Begin> for Work {
    type Result = ();

    fn handle(&mut self, _begin: Begin, _ctx: &mut Context<Self>) {
        self.panic_at("message");
    }
}

fn run_service(place: String) -> Result<u32, ServiceError> {
    #[cfg(unix)]
    if place == "descriptors" {
        daemon_sys::limits::set_limit(daemon_sys::limits::Resource::OpenFiles, 4, 4).unwrap();
    }
    run_here(move || {
        assert!(place != "start", "on purpose");
        if place == "task" {
            actix_rt::spawn(async { panic!("on purpose") });
        }
        let work = Work { place }.start();
        work.do_send(Begin);
        ServiceActor::spawn(ServiceSettings::new(Callbacks::all(work))).map_err(Into::into)
    })
}

/// Runs a service in a process that fails, and returns its standard error.
fn standard_error(place: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let Output { status, stderr, .. } = Command::new(program).arg(place).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{place}: {stderr}");
    stderr
}

fn a_panic_ends_the_service_with_an_error() {
    for place in ["start", "callback", "future", "message", "task"] {
        let stderr = standard_error(place);
        assert!(stderr.contains("CRIT panicked, ending the service"), "{place}: {stderr}");
        let error = stderr.lines().last().unwrap_or_default();
        assert!(error.starts_with("error: the service panicked at "), "{place}: {stderr}");
        assert!(error.contains("tests/run.rs:") && error.ends_with("on purpose"), "{error}");
    }
}

#[cfg(unix)]
fn a_service_without_descriptors_says_so() {
    let expected = "error: cannot create a System: the limit of open files (ulimit -n) is 4, ";
    let stderr = standard_error("descriptors");
    assert!(stderr.starts_with(expected) && !stderr.contains("panic"), "{stderr}");
}
