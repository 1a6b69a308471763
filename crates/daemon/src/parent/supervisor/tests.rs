//! The household with hands that only take notes: events go in by hand, time is a number.

mod enforcement;
mod ondemand;
mod operator;
mod postfork;
mod prefork;
mod random;
mod reloading;
mod simulator;
mod stopping;
