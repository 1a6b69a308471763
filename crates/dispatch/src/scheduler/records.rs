//! The requests that are not answered, each in a place that its key tells.

use std::time::Duration;

use actix_daemon::Pid;
use daemon_core::MonotonicTime;

use super::JobTerms;
use crate::request::{RequestId, RunInfo};

/// Where a request is in the ledger; its number tells it from others that were there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct JobKey {
    pub(super) index: u32,
    pub(crate) id: RequestId,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct JobRecord<T> {
    pub(super) id: RequestId,
    pub(super) job: T,
    pub(super) terms: JobTerms,
    /// Its place among all that were admitted.
    pub(super) turn: u64,
    pub(super) admitted: MonotonicTime,
    pub(super) attempts: u32,
    pub(super) pid: Option<Pid>,
    pub(super) state: JobState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobState {
    Queued,
    Sent { slot: usize, turn: u64 },
}

impl<T> JobRecord<T> {
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
pub(super) struct JobRecords<T> {
    slots: Vec<Option<JobRecord<T>>>,
    free: Vec<u32>,
}

impl<T> JobRecords<T> {
    pub(super) fn new() -> JobRecords<T> {
        JobRecords { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, record: JobRecord<T>) -> JobKey {
        let id = record.id;
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(entry) = self.slots.get_mut(index as usize) {
                    *entry = Some(record);
                }
                index
            }
            None => {
                self.slots.push(Some(record));
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        JobKey { index, id }
    }

    pub(super) fn get(&self, key: JobKey) -> Option<&JobRecord<T>> {
        self.slots.get(key.index as usize)?.as_ref().filter(|record| record.id == key.id)
    }

    pub(super) fn get_mut(&mut self, key: JobKey) -> Option<&mut JobRecord<T>> {
        self.slots.get_mut(key.index as usize)?.as_mut().filter(|record| record.id == key.id)
    }

    pub(super) fn remove(&mut self, key: JobKey) -> Option<JobRecord<T>> {
        self.get(key)?;
        let record = self.slots.get_mut(key.index as usize)?.take();
        self.free.push(key.index);
        record
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (JobKey, &JobRecord<T>)> {
        (0..).zip(&self.slots).filter_map(|(index, entry)| {
            entry.as_ref().map(|record| (JobKey { index, id: record.id }, record))
        })
    }
}
