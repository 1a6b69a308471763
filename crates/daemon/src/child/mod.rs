//! The child's side: its rules, its actor, its life from birth to exit.

mod actor;
mod desk;
mod handle;
mod life;
mod sign;

pub use actor::ChildActor;
pub use handle::ChildHandle;

pub(crate) use desk::Next;
pub(crate) use life::{Life, live};
pub(crate) use sign::Sign;
