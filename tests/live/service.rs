//! A daemon that is a service: what its supervisor is told, in which order, and what the daemon does
//! when it is told something.

mod descriptors;
mod notify;
mod states;
mod systemd;
mod watchdog;
