//! Tests of the scheduler with simulated workers, in fixed scenarios and with random events.

mod random;
mod scenarios;
mod simulation;
