//! Looks up the functions of backtraces through the fork server, one backtrace at a time. The parent
//! itself never reads debug information, because the memory for it would never be given back.

use std::os::fd::AsFd;
use std::sync::Arc;

use actix::Recipient;
use daemon_forkserver::{SYMBOL_LOOKUP_MAX, SymbolLookup, SymbolLookupProgress};
use futures::channel::oneshot;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::BabysitterAction;
use crate::evidence::Frame;

/// The maximum number of backtraces that are looked up or wait for it. The frames of further
/// backtraces have only addresses.
const PENDING_MAX: usize = 32;

/// Looks up the functions of backtraces, in the order of the calls.
#[derive(Debug)]
pub(super) struct SymbolResolver {
    daemon: Recipient<BabysitterAction>,
    /// A permit for each backtrace that may be pending.
    places: Arc<Semaphore>,
    /// The permit for the only lookup that may run.
    turn: Arc<Semaphore>,
}

impl SymbolResolver {
    /// Creates a resolver that sends its requests to the daemon, which has the fork server.
    pub(super) fn new(daemon: Recipient<BabysitterAction>) -> SymbolResolver {
        let places = Arc::new(Semaphore::new(PENDING_MAX));
        SymbolResolver { daemon, places, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Starts a task that looks up these addresses and returns the frames. Addresses whose lookup
    /// fails or takes too long result in frames without names. Returns `None` if too many lookups
    /// are pending.
    pub(super) fn look_up(&self, addresses: Vec<usize>) -> Option<JoinHandle<Vec<Frame>>> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let (daemon, turn) = (self.daemon.clone(), Arc::clone(&self.turn));
        Some(actix_rt::spawn(async move {
            let unnamed = unnamed(&addresses);
            let frames = match turn.acquire().await {
                Ok(_turn) => run(&daemon, addresses).await,
                Err(_closed) => None,
            };
            drop(place);
            frames.unwrap_or(unnamed)
        }))
    }
}

/// Returns frames with these addresses only.
pub(super) fn unnamed(addresses: &[usize]) -> Vec<Frame> {
    addresses.iter().copied().map(Frame::at).collect()
}

/// Requests a lookup and waits until it ends, or until it must have ended. Returns `None` if the
/// lookup cannot be started.
async fn run(daemon: &Recipient<BabysitterAction>, addresses: Vec<usize>) -> Option<Vec<Frame>> {
    let (answer, started) = oneshot::channel();
    daemon.do_send(BabysitterAction::LookUpSymbols { addresses, answer });
    let mut lookup = started.await.ok()?;
    let descriptor = lookup.as_fd().try_clone_to_owned().ok()?;
    let watch = daemon_sys::watch::readable(descriptor).ok()?;
    let ended = async {
        while lookup.read() == SymbolLookupProgress::Running {
            match watch.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_runtime_shuts_down) => return,
            }
        }
    };
    // After a timeout, the results that have arrived are used.
    let _ = timeout(SYMBOL_LOOKUP_MAX, ended).await;
    Some(SymbolLookup::into_frames(lookup).into_iter().map(Frame::from).collect())
}
