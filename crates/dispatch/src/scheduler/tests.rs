//! The scheduler with simulated workers: fixed scenarios, and random events.

mod random;
mod scenarios;
mod simulation;
