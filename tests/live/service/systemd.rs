//! Tests with a real systemd: transient units where one runs, and the shipped units on a dedicated
//! test machine.

mod shipped;
mod transient;
mod unit;
