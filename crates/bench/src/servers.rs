//! The measured servers that run in this program: all except the daemons and the servers of
//! `bench-loop`.

mod dispatch;
pub(crate) mod parallel_prefork;
pub(crate) mod reports;

use crate::Measured;
use crate::announce::die_with_benchmark;
use crate::placement::Placement;

/// Runs the server with this name and these arguments until it has finished or is stopped.
pub(crate) fn serve(server: &[String]) -> Measured<()> {
    die_with_benchmark()?;
    let server: Vec<&str> = server.iter().map(String::as_str).collect();
    match server.as_slice() {
        ["parallel-prefork", workers] => parallel_prefork::pool(workers),
        ["reports", count] => reports::report(count.parse()?),
        ["dispatch-rate", method, bytes, tasks, outstanding] => {
            dispatch::rate(method, bytes.parse()?, tasks.parse()?, outstanding.parse()?)
        }
        ["dispatch-latency", tasks, placement] => {
            dispatch::latency(tasks.parse()?, Placement::named(placement)?)
        }
        ["dispatch-kill", times] => dispatch::kill(times.parse()?),
        ["dispatch-hard", times] => dispatch::hard(times.parse()?),
        ["dispatch-queue", tasks] => dispatch::queue(tasks.parse()?),
        ["ping-pong", bytes, trips] => dispatch::ping_pong(bytes.parse()?, trips.parse()?, None),
        ["ping-pong", bytes, trips, placement] => {
            let placement = Placement::named(placement)?;
            dispatch::ping_pong(bytes.parse()?, trips.parse()?, Some(placement))
        }
        other => Err(format!("no server {other:?}").into()),
    }
}
