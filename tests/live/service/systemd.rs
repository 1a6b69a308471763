//! Under a real systemd: units of the tests' own where one runs, and the units that are shipped on a
//! machine that is the tests' own.

mod shipped;
mod transient;
mod unit;
