//! Accept loops under the pre-fork manager.

use std::io::ErrorKind;

use daemon_prefork::SignalForward::ToAll;
use daemon_prefork::{Prefork, STATUS_IDLE, Signal, WaitResult, Worker};

use crate::{Measured, echo, listen, tell_up};

/// The status of a worker that has a connection.
const SERVING: char = 'G';

/// The bare loop as it stands, its status reported. TERM ends a worker wherever it is.
pub(super) fn pool(workers: u32) -> Measured<()> {
    let listener = listen()?;
    manage(workers, |worker| -> Measured<()> {
        tell_up()?;
        loop {
            let (stream, _peer) = listener.accept()?;
            worker.set_status(SERVING)?;
            // A client that is gone needs no answer.
            drop(echo::blocking(&stream));
            worker.set_status(STATUS_IDLE)?;
        }
    })
}

/// One whose workers finish the connection that they have before they leave.
pub(super) fn polite_pool(workers: u32) -> Measured<()> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    manage(workers, |worker| -> Measured<()> {
        tell_up()?;
        while worker.wait_for(&listener)? == WaitResult::Ready {
            match listener.accept() {
                Ok((stream, _peer)) => {
                    worker.set_status(SERVING)?;
                    stream.set_nonblocking(false)?;
                    drop(echo::blocking(&stream));
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
