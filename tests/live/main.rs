//! Live tests: real daemons, real connections, real signals. `harness` is their shared code; each
//! other module contains the tests of one topic.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

#[cfg(target_os = "linux")]
mod accepting;
#[cfg(target_os = "linux")]
mod attacks;
mod babysitting;
#[cfg(target_os = "linux")]
mod blocked_log;
#[cfg(target_os = "linux")]
mod board_file;
mod boot_timeout;
mod control;
mod default_log;
mod descendants;
mod detaching;
#[cfg(target_os = "linux")]
mod draining;
mod examples;
mod faults;
mod fork_failures;
mod forking;
mod gearman;
mod handover;
#[cfg(target_os = "linux")]
mod hanging_directory;
mod harness;
mod invalid_config;
#[cfg(target_os = "linux")]
mod launcher;
#[cfg(target_os = "linux")]
mod limits;
mod logs;
mod other_threads;
mod panics;
#[cfg(target_os = "linux")]
mod paths;
mod pool_size;
mod preforking;
#[cfg(target_os = "linux")]
mod privileges;
#[cfg(target_os = "linux")]
mod process_1;
mod process_setup;
mod reloading;
mod removed_files;
#[cfg(target_os = "linux")]
mod sandbox;
mod serve;
#[cfg(target_os = "linux")]
mod service;
#[cfg(target_os = "linux")]
mod sharing;
#[cfg(target_os = "linux")]
mod shortages;
#[cfg(target_os = "linux")]
mod starting;
mod status;
mod stopping;
