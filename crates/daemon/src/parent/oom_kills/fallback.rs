//! Systems without a counter of OOM kills.

#[derive(Debug)]
pub(super) struct Counter;

impl Counter {
    pub(super) fn find() -> Option<Counter> {
        None
    }

    pub(super) fn read(&self) -> Option<u64> {
        None
    }
}
