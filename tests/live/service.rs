//! Tests a daemon as a service: the states that it reports to its service manager, their order, and
//! how it reacts to the requests of the service manager.

mod descriptors;
mod notify;
mod states;
mod systemd;
mod watchdog;
