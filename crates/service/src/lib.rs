//! One service, two masters: the states of a service as actors, under the service manager of Windows
//! and under systemd.
//!
//! # Theory of operation
//!
//! A service has eight [`Stage`]s, those of Windows, and a pure [`Machine`](machine::Machine) knows
//! which may follow on which. A [`ServiceActor`] carries it out. [`Control`]s come from the master or
//! by message; the actor calls the service's [`Callbacks`] with [`ServiceState`], and goes on when
//! they have answered with [`NextState`]. Each change is told to the master at once:
//!
//! | | Windows | systemd | console |
//! | --- | --- | --- | --- |
//! | stop | `STOP` | TERM | Ctrl-C, TERM |
//! | pause, continue | `PAUSE`, `CONTINUE` | TSTP, CONT | TSTP, CONT |
//! | parameters anew | `PARAMCHANGE` | HUP | HUP |
//! | the machine goes down | `SHUTDOWN`, `PRESHUTDOWN` | TERM | |
//! | it starts, it runs | `START_PENDING`, `RUNNING` | `EXTEND_TIMEOUT_USEC`, `READY` | |
//! | it stops, it has stopped | `STOP_PENDING`, `STOPPED` | `STOPPING`, `EXTEND_TIMEOUT_USEC` | |
//!
//! A callback that does not answer is called again each cycle until it does. Where there is none the
//! state moves on by itself.
//!
//! # Examples
//!
//! A service that stops as soon as it runs. [`run`] makes the System, inside the service manager or
//! outside of it, and returns with the exit code:
//!
//! ```
//! use actix::prelude::*;
//! use daemon_service::{Callbacks, Control, ServiceActor, ServiceState, Settings, Stage};
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
//! struct Serves(Addr<ServiceActor>);
//!
//! impl Handler<Serves> for Work {
//!     type Result = ();
//!     fn handle(&mut self, Serves(service): Serves, _: &mut Context<Self>) {
//!         self.service = Some(service);
//!     }
//! }
//!
//! impl Handler<ServiceState> for Work {
//!     type Result = ();
//!     fn handle(&mut self, told: ServiceState, _: &mut Context<Self>) {
//!         let Some(service) = &self.service else { return }; // it is told again
//!         service.do_send(told.next());
//!         if told.state == Stage::Running {
//!             service.do_send(Control::Stop);
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), daemon_service::ServiceError> {
//! let exit_code = daemon_service::run("work", || {
//!     let work = Work { service: None }.start();
//!     let service = ServiceActor::spawn(Settings::new(Callbacks::all(work.clone())))?;
//!     work.do_send(Serves(service.clone()));
//!     Ok(service)
//! })?;
//! assert_eq!(exit_code, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! | rooms | for |
//! | --- | --- |
//! | [`ServiceActor`], [`Settings`], [`Callbacks`], [`run`], [`run_here`] | spawning a service |
//! | [`ServiceState`], [`NextState`], [`State`], [`StatusText`], [`UntilStopped`] | talking with it |
//! | [`Control`], [`UserControl`] | what it is told |
//! | [`Register`], [`AskHealth`] | taking part in its states: a daemon does |
//! | [`Stage`], [`machine`] | the rules |
//! | [`notification`] | what a supervisor is told |
//!
//! # Limitations
//!
//! - A process has one service: Windows could have several share one.
//! - systemd knows no pause: a service that is paused is active, and its status says so.

mod actor;
mod callback;
mod control;
mod error;
pub mod machine;
#[cfg(unix)]
#[path = "master/unix.rs"]
mod master;
#[cfg(windows)]
#[path = "master/windows.rs"]
mod master;
mod messages;
pub mod notification;
mod run;
#[cfg(test)]
mod sentences;
mod settings;
mod stage;
#[cfg(unix)]
pub mod supervisor;

pub use actor::ServiceActor;
pub use callback::{Callback, Callbacks, Wants};
pub use control::{Control, NoUserControl, Refused, UserControl};
pub use error::ServiceError;
pub use machine::{Reloading, Status};
pub use messages::{
    Answered, AskHealth, Health, NextState, Register, ServiceState, Setting, Signals, State,
    StatusText, Ticket, UntilStopped,
};
pub use run::{run, run_here};
pub use settings::Settings;
pub use stage::{IllegalState, Response, Stage};
