//! Storage for unanswered requests, indexed by key.

use std::time::Duration;

use actix_daemon::Pid;
use daemon_core::MonotonicTime;

use super::JobOptions;
use crate::request::RunInfo;

/// The key of a request: its index in the storage, and its id, because indexes are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct JobKey {
    pub(super) index: u32,
    pub(crate) id: u64,
}

/// An unanswered request.
#[derive(Debug)]
pub(super) struct JobRecord<T> {
    pub(super) id: u64,
    pub(super) job: T,
    pub(super) options: JobOptions,
    /// The request's position in the order of admission.
    pub(super) sequence: u64,
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

/// All unanswered requests. Free entries are reused.
#[derive(Debug)]
pub(super) struct JobRecords<T> {
    entries: Vec<Option<JobRecord<T>>>,
    free: Vec<u32>,
}

impl<T> JobRecords<T> {
    pub(super) fn new() -> JobRecords<T> {
        JobRecords { entries: Vec::new(), free: Vec::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, record: JobRecord<T>) -> JobKey {
        let id = record.id;
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(entry) = self.entries.get_mut(index as usize) {
                    *entry = Some(record);
                }
                index
            }
            None => {
                self.entries.push(Some(record));
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        JobKey { index, id }
    }

    pub(super) fn get(&self, key: JobKey) -> Option<&JobRecord<T>> {
        self.entries.get(key.index as usize)?.as_ref().filter(|record| record.id == key.id)
    }

    pub(super) fn get_mut(&mut self, key: JobKey) -> Option<&mut JobRecord<T>> {
        self.entries.get_mut(key.index as usize)?.as_mut().filter(|record| record.id == key.id)
    }

    pub(super) fn remove(&mut self, key: JobKey) -> Option<JobRecord<T>> {
        self.get(key)?;
        let record = self.entries.get_mut(key.index as usize)?.take();
        self.free.push(key.index);
        record
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (JobKey, &JobRecord<T>)> {
        (0..).zip(&self.entries).filter_map(|(index, entry)| {
            entry.as_ref().map(|record| (JobKey { index, id: record.id }, record))
        })
    }
}
