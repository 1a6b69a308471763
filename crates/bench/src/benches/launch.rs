//! Measures the time from the call of `launch` until the children are ready. The measured daemon
//! takes the time itself, so the time does not include the start of the daemon's program.

use crate::Measured;
use crate::figures::{median, range};
use crate::running::{Running, ServerProgram};
use crate::table::{Bar, Row};

const LAUNCHES: usize = 15;

pub(crate) fn run(bench: &'static str) -> Measured<Vec<Row>> {
    Ok(vec![up(bench, 4, 10.0)?, up(bench, 32, 50.0)?])
}

fn up(bench: &'static str, children: u32, bar: f64) -> Measured<Row> {
    let (mut launched, mut up) = (Vec::new(), Vec::new());
    for _launch in 0..LAUNCHES {
        let mut server = Running::start(ServerProgram::Launch, &[&children.to_string()])?;
        launched.push(server.read_value("LAUNCHED")?.parse()?);
        up.push(server.read_value("UP")?.parse()?);
        server.ended()?;
    }
    let (least, most) = range(&up);
    let note = format!("{least:.1} to {most:.1}, launch returns after {:.1}", median(&launched));
    Ok(Row::new(bench, format!("time until {children} children are ready"), "ms", median(&up))
        .bar(Bar::AtMost(bar))
        .note(note))
}
