//! The requests that are not answered, each in a place that its key tells.

use std::time::Duration;

use actix_daemon::Pid;
use daemon_core::MonotonicTime;

use super::Order;
use crate::request::{RequestId, RunInfo};

/// Where a request is in the ledger; its number tells it from others that were there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(super) index: u32,
    pub(crate) id: RequestId,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Record<T> {
    pub(super) id: RequestId,
    pub(super) cargo: T,
    pub(super) order: Order,
    /// Its place among all that were admitted.
    pub(super) turn: u64,
    pub(super) admitted: MonotonicTime,
    pub(super) attempts: u32,
    pub(super) pid: Option<Pid>,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Sent { slot: usize, turn: u64 },
}

impl<T> Record<T> {
    pub(super) fn run(&self, run_time: Duration, now: MonotonicTime) -> RunInfo {
        RunInfo {
            elapsed: now.saturating_since(self.admitted),
            run_time,
            attempts: self.attempts,
            pid: self.pid,
        }
    }
}

/// All of them. A place that is free is taken again.
#[derive(Debug)]
pub(super) struct Records<T> {
    places: Vec<Option<Record<T>>>,
    free: Vec<u32>,
}

impl<T> Records<T> {
    pub(super) fn new() -> Records<T> {
        Records { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, record: Record<T>) -> Key {
        let id = record.id;
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.places.get_mut(index as usize) {
                    *place = Some(record);
                }
                index
            }
            None => {
                self.places.push(Some(record));
                u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
            }
        };
        Key { index, id }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Record<T>> {
        self.places.get(key.index as usize)?.as_ref().filter(|record| record.id == key.id)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Record<T>> {
        self.places.get_mut(key.index as usize)?.as_mut().filter(|record| record.id == key.id)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Record<T>> {
        self.get(key)?;
        let record = self.places.get_mut(key.index as usize)?.take();
        self.free.push(key.index);
        record
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Record<T>)> {
        (0..).zip(&self.places).filter_map(|(index, place)| {
            place.as_ref().map(|record| (Key { index, id: record.id }, record))
        })
    }
}
