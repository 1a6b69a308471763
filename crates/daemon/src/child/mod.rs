//! The child process: its state, its actor, and its main function.

mod actor;
mod confinement;
mod handle;
mod run;
mod state;
mod title;

pub use actor::ChildActor;
pub use handle::ChildHandle;

pub(crate) use confinement::{Confinement, Tracing};
pub(crate) use run::{ProcessContext, run_child};
pub(crate) use state::NextAction;
pub(crate) use title::ProcessTitle;
