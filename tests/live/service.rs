//! A daemon as a service: the states it reports to its service manager, their order, and its
//! reaction to the service manager's requests.

mod descriptors;
mod notify;
mod states;
mod systemd;
mod watchdog;
