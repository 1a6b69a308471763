//! The memory of a small pool. Pages that its processes share count once.

use std::thread;
use std::time::Duration;

use crate::running::{Running, ServerProgram};
use crate::table::{Bar, Row};
use crate::{Measured, clients, proc};

const CHILDREN: usize = 4;
const SETTLING: Duration = Duration::from_secs(1);
/// The number of requests. It is large enough that each child serves some of them.
const REQUESTS: usize = 1000;

pub(crate) fn run(bench: &'static str) -> Measured<Vec<Row>> {
    let mut server = Running::start(ServerProgram::Pool, &[&CHILDREN.to_string()])?;
    let address = server.up(CHILDREN + 1)?;
    thread::sleep(SETTLING);
    let idle = mebibytes(&mut server)?;
    for _request in 0..REQUESTS {
        clients::ask(address)?;
    }
    let used = mebibytes(&mut server)?;
    Ok(vec![
        Row::new(bench, "memory (PSS) of parent, fork server, 4 idle children", "MiB", idle.0)
            .against("Apache", 3.8)
            .bar(Bar::AtMost(4.0))
            .note(idle.1),
        Row::new(
            bench,
            "memory (PSS) of parent, fork server, 4 children, after 1000 requests",
            "MiB",
            used.0,
        )
        .note(used.1),
    ])
}

/// Returns the total memory in MiB, and a text with the share of each process in KiB.
fn mebibytes(server: &mut Running) -> Measured<(f64, String)> {
    let family = server.family()?;
    let mut total = 0;
    let mut each = Vec::new();
    for pid in [server.pid()].into_iter().chain(family) {
        let share = proc::proportional_memory(pid)?;
        total += share;
        each.push(share.to_string());
    }
    Ok((total as f64 / 1024.0, format!("{} KiB", each.join(" + "))))
}
