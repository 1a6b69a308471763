//! The state of a service as an actix actor, with the same callbacks under the Windows service
//! manager and under systemd.
//!
//! # Theory of operation
//!
//! This crate ports `POE::Component::Daemon::Win32`, which this documentation calls the original.
//!
//! A service has eight [`ServiceState`]s: the seven of Windows, and `NotReady`. A pure
//! [`StateMachine`](state_machine::StateMachine) contains the legal changes between the states, and
//! a [`ServiceActor`] carries out the effects of the state machine. [`Control`]s arrive from the
//! service manager or as messages. The actor calls the service's [`Callbacks`] with
//! [`StateCallback`], and enters the next state when the callbacks have answered with
//! [`NextState`]. The actor reports each state change to the service manager at once. The table
//! shows how the controls arrive, and how the states are reported:
//!
//! | | Windows | systemd | console |
//! | --- | --- | --- | --- |
//! | stop | `STOP` | TERM | Ctrl-C, TERM |
//! | pause, continue | `PAUSE`, `CONTINUE` | TSTP, CONT | TSTP, CONT |
//! | reload | `PARAMCHANGE` | HUP | HUP |
//! | the system shuts down | `SHUTDOWN`, `PRESHUTDOWN` | TERM | shutdown event (Windows) |
//! | reported: starting, running | `START_PENDING`, `RUNNING` | `EXTEND_TIMEOUT_USEC`, `READY` | |
//! | reported: stopping, stopped | `STOP_PENDING`, `STOPPED` | `STOPPING`, `EXTEND_TIMEOUT_USEC` | |
//!
//! A callback that does not answer is called again at each poll interval until it answers. If a
//! state has no callback, the service does not wait in that state for an answer.
//!
//! # Examples
//!
//! The following service stops as soon as it runs. [`run`] starts the actix System, under a service
//! manager or in a console, and returns the exit code:
//!
//! ```
//! use actix::prelude::*;
//! use daemon_service::{
//!     Callbacks, Control, ServiceActor, ServiceSettings, ServiceState, StateCallback,
//! };
//!
//! struct Work {
//!     service: Option<Addr<ServiceActor>>,
//! }
//!
//! impl Actor for Work {
//!     type Context = Context<Self>;
//! }
//!
//! #[derive(Message)]
//! #[rtype(result = "()")]
//! struct SetService(Addr<ServiceActor>);
//!
//! impl Handler<SetService> for Work {
//!     type Result = ();
//!     fn handle(&mut self, SetService(service): SetService, _: &mut Context<Self>) {
//!         self.service = Some(service);
//!     }
//! }
//!
//! impl Handler<StateCallback> for Work {
//!     type Result = ();
//!     fn handle(&mut self, call: StateCallback, _: &mut Context<Self>) {
//!         let Some(service) = &self.service else { return }; // the service calls again
//!         service.do_send(call.next());
//!         if call.state == ServiceState::Running {
//!             service.do_send(Control::Stop);
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), daemon_service::ServiceError> {
//! let exit_code = daemon_service::run("work", || {
//!     let work = Work { service: None }.start();
//!     let service = ServiceActor::spawn(ServiceSettings::new(Callbacks::all(work.clone())))?;
//!     work.do_send(SetService(service.clone()));
//!     Ok(service)
//! })?;
//! assert_eq!(exit_code, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Overview
//!
//! | items | purpose |
//! | --- | --- |
//! | [`ServiceActor`], [`ServiceSettings`], [`Callbacks`], [`run`], [`run_here`] | spawning a service |
//! | [`StateCallback`], [`NextState`], [`GetState`], [`SetState`], [`SetStatusText`], [`AwaitExit`] | messages |
//! | [`Control`], [`UserControl`] | controls from the service manager |
//! | [`Register`], [`CheckHealth`] | registering a participant, such as a daemon |
//! | [`ServiceState`], [`state_machine`] | the states and the legal changes |
//! | [`systemd`] | inherited descriptors and the descriptor store |
//!
//! # Limitations
//!
//! - A process can have only one service, although Windows allows several services in one process.
//! - systemd has no paused state. It shows a paused service as active, and only the status text of
//!   the service says that the service is paused.

mod actor;
mod error;
#[cfg(all(unix, any(test, feature = "fuzz")))]
#[doc(hidden)]
pub mod fuzz;
mod log;
mod messages;
#[cfg(unix)]
mod outbox;
mod panics;
mod run;
#[cfg(test)]
mod sentences;
mod service_manager;
mod settings;
mod state;
pub mod state_machine;
#[cfg(unix)]
pub mod systemd;

pub use actor::ServiceActor;
pub use error::ServiceError;
pub use messages::{
    AwaitExit, Callbacks, CheckHealth, GetState, Health, NextState, Register, SetStatusText,
    SignalOwner, StateCallback,
};
pub use run::{run, run_here};
pub use settings::ServiceSettings;
pub use state::{
    Callback, CallbackSet, Control, ControlRefused, ControlResponse, IllegalStateChange,
    InvalidUserControl, ServiceState, UserControl,
};
pub use state_machine::{CallId, NextStateResult, ServiceStatus, SetState};
