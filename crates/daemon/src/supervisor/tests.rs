//! Tests of the supervisor with a fake fork server. The tests inject events and advance the time.

mod boot_timeout;
mod enforcement;
mod ondemand;
mod operator;
mod postfork;
mod prefork;
mod random;
mod reloading;
mod simulator;
mod stopping;
