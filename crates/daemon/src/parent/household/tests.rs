//! The household with hands that only take notes: events go in by hand, time is a number.

mod chance;
mod discipline;
mod ending;
mod ondemand;
mod orders;
mod postfork;
mod prefork;
mod reloading;
mod stage;
