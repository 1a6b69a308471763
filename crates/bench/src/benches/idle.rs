//! Measures how often the processes of an idle pool wake up.

use std::thread;
use std::time::Duration;

use crate::running::{Running, ServerProgram};
use crate::table::{Bar, Row};
use crate::{Measured, proc};

const CHILDREN: usize = 100;
/// How long to wait after the launch, so that start-up work is not counted.
const SETTLING: Duration = Duration::from_secs(3);
const TIME: Duration = Duration::from_secs(10);

pub(crate) fn run(bench: &'static str) -> Measured<Vec<Row>> {
    let mut server = Running::start(ServerProgram::Pool, &[&CHILDREN.to_string()])?;
    server.up(CHILDREN + 1)?;
    thread::sleep(SETTLING);
    let parent = server.pid();
    let family = server.family()?;
    // The fork server has the lowest pid, because it is the first process that the parent forked.
    let fork_server = *family.first().ok_or("cannot find the fork server")?;
    let count = || -> Measured<[f64; 3]> {
        let mut children = 0;
        for pid in family.iter().filter(|pid| **pid != fork_server) {
            children += proc::switches(*pid)?;
        }
        let (parent, fork_server) = (proc::switches(parent)?, proc::switches(fork_server)?);
        Ok([parent, fork_server, children].map(|count| count as f64))
    };
    let before = count()?;
    thread::sleep(TIME);
    let after = count()?;
    let row = |name: &str, who: usize| Row::new(bench, name, "in 10 s", after[who] - before[who]);
    Ok(vec![
        row("wake-ups of the parent of 100 idle children", 0).bar(Bar::AtMost(0.0)),
        row("wake-ups of the fork server of 100 idle children", 1),
        row("wake-ups of 100 idle children, in total", 2),
    ])
}
