//! Tests of the daemonctl program with a fake daemon, a real daemon, a scoreboard file and a real
//! terminal.

#[path = "live/answers.rs"]
mod answers;
#[path = "live/boards.rs"]
mod boards;
#[path = "live/events.rs"]
mod events;
#[path = "live/fake.rs"]
mod fake;
#[path = "live/manual.rs"]
mod manual;
#[path = "../../../tests/patience.rs"]
mod patience;
#[path = "live/real.rs"]
mod real;
#[path = "live/run.rs"]
mod run;
#[path = "live/terminal.rs"]
mod terminal;
