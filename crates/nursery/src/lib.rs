//! The process that forks, so that its parent never does.
//!
//! (front page to come)

mod brood;
mod handover;
mod keeper;
mod nursery;
mod orders;
mod plan;
mod wire;

pub use brood::{Birth, Brood, Doorbell, HeldSignals, now};
pub use handover::{DESCRIPTORS_MAX, Delivery, Handover, HandoverError, Parcel, Serde};
pub use nursery::{ChildId, Event, Nursery, NurseryError, Unforked};
pub use orders::ForkRefusal;
pub use plan::{EXIT_SOFTWARE, Plan};

pub use daemon_core as core;
pub use daemon_sys as sys;
