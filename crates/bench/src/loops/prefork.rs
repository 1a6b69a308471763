//! Accept loops in workers that the prefork manager of `daemon-prefork` starts.

use std::io::ErrorKind;

use bench_server::{Measured, echo_blocking, listen};
use daemon_prefork::SignalForward::ToAll;
use daemon_prefork::{Prefork, STATUS_IDLE, Signal, WaitResult, Worker};

use crate::report_running;

/// The status of a worker that serves a connection.
const SERVING: char = 'G';

/// Runs workers that accept connections and echo lines, as the processes of the measured server
/// `bare-pool` do. In contrast to those, the workers also report their status. TERM ends a worker
/// immediately, even during a connection.
pub(super) fn pool(workers: u32) -> Measured<()> {
    let listener = listen()?;
    manage(workers, |worker| -> Measured<()> {
        report_running()?;
        loop {
            let (stream, _peer) = listener.accept()?;
            worker.set_status(SERVING)?;
            // Ignore errors of the client.
            drop(echo_blocking(&stream));
            worker.set_status(STATUS_IDLE)?;
        }
    })
}

/// Runs workers that finish their connection before they stop.
pub(super) fn polite_pool(workers: u32) -> Measured<()> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    manage(workers, |worker| -> Measured<()> {
        report_running()?;
        while worker.wait_for(&listener)? == WaitResult::Ready {
            match listener.accept() {
                Ok((stream, _peer)) => {
                    worker.set_status(SERVING)?;
                    stream.set_nonblocking(false)?;
                    drop(echo_blocking(&stream));
                    worker.set_status(STATUS_IDLE)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
}

fn manage(workers: u32, work: impl Fn(&Worker) -> Measured<()>) -> Measured<()> {
    let mut pm = Prefork::builder()
        .max_workers(workers)
        .trap_signals([(Signal::Term, ToAll(Signal::Term))])
        .build()?;
    while pm.signal_received() != Some(Signal::Term) {
        pm.start(&work)?;
    }
    pm.wait_all_children()?;
    Ok(())
}
