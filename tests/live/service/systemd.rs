//! Tests with a real systemd: transient units on each machine where systemd runs, and the shipped
//! units on a dedicated test machine.

mod shipped;
mod transient;
mod unit;
