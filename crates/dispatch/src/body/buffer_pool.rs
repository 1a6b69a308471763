//! A pool of memory files. The files are reused, so that a file need not be created, cleared and
//! released for the body of each request or answer.
//!
//! Each process has its own pool of at most [`POOL_BYTES_MAX`] bytes. [`trim`] releases the files
//! that have not been used for [`IDLE_MAX`].

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon_core::MonotonicTime;
use daemon_forkserver::now;
use daemon_sys::limits::open_files_limit;
use daemon_sys::memfd;
use tokio::sync::Notify;
use tokio::time::sleep;

/// The maximum size of the pool, in bytes.
pub(super) const POOL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The size of the smallest file: twice the smallest body that is sent in a memory file.
const SEGMENT_MIN: usize = 2 * super::SHARED_FROM;

/// How long an unused file is kept.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(1);

/// The maximum number of files per process, regardless of its descriptor limit. Each file is also a
/// mapping, and Linux limits a process to 65,530 mappings (vm.max_map_count).
const SEGMENTS_MAX: usize = 16 * 1024;

/// Returns the maximum number of files for a descriptor limit: a quarter of the limit, and at most
/// [`SEGMENTS_MAX`]. The remaining descriptors are for the links to workers, for received bodies,
/// and for the program itself.
fn segments_max(descriptors: u64) -> usize {
    usize::try_from(descriptors / 4).unwrap_or(SEGMENTS_MAX).min(SEGMENTS_MAX)
}

/// The number of memory files that this process has. A forked process inherits the descriptors of
/// its parent, and therefore also starts with the count of its parent.
static SEGMENT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// A memory file. [`SEGMENT_COUNT`] counts it while it exists.
#[derive(Debug)]
pub(super) struct Segment(memfd::MemorySegment);

impl Segment {
    /// Creates a memory file. Returns `None` if the maximum number of memory files exists or no
    /// descriptor is available. The caller then keeps the bytes in heap memory.
    fn create(size: usize) -> Result<Option<Segment>, daemon_sys::Error> {
        let segments_max = segments_max(open_files_limit()?);
        let counted = |count: usize| (count < segments_max).then_some(count + 1);
        if SEGMENT_COUNT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).is_err() {
            return Ok(None);
        }
        match memfd::MemorySegment::new("task", size) {
            Ok(segment) => Ok(Some(Segment(segment))),
            Err(error) => {
                SEGMENT_COUNT.fetch_sub(1, Ordering::Relaxed);
                if error.is_descriptor_shortage() { Ok(None) } else { Err(error) }
            }
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        SEGMENT_COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Segment {
    type Target = memfd::MemorySegment;

    fn deref(&self) -> &memfd::MemorySegment {
        &self.0
    }
}

impl DerefMut for Segment {
    fn deref_mut(&mut self) -> &mut memfd::MemorySegment {
        &mut self.0
    }
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A buffer with a size in bytes.
trait Capacity {
    fn size(&self) -> usize;
}

impl Capacity for Segment {
    fn size(&self) -> usize {
        self.capacity()
    }
}

/// Unused files, in the order of their last use. The most recently used file is taken first,
/// because its contents may still be in the processor's caches.
#[derive(Debug)]
struct BufferPool<A> {
    unused: Vec<(MonotonicTime, A)>,
    bytes: usize,
}

impl<A: Capacity> BufferPool<A> {
    const fn new() -> BufferPool<A> {
        BufferPool { unused: Vec::new(), bytes: 0 }
    }

    /// Takes the most recently used file of exactly this size.
    fn take(&mut self, size: usize) -> Option<A> {
        let at = self.unused.iter().rposition(|(_since, segment)| segment.size() == size)?;
        self.bytes -= size;
        Some(self.unused.remove(at).1)
    }

    /// Adds a file, or returns it if the pool is full.
    fn put(&mut self, segment: A, now: MonotonicTime) -> Option<A> {
        if self.bytes + segment.size() > POOL_BYTES_MAX {
            return Some(segment);
        }
        self.bytes += segment.size();
        self.unused.push((now, segment));
        None
    }

    /// Removes and returns the files that have not been used for [`IDLE_MAX`].
    fn trim(&mut self, now: MonotonicTime) -> Vec<A> {
        let is_old = |since: MonotonicTime| now.saturating_since(since) >= IDLE_MAX;
        // The files are in the order in which they were added.
        let old = self.unused.partition_point(|(since, _segment)| is_old(*since));
        let old: Vec<A> = self.unused.drain(..old).map(|(_since, segment)| segment).collect();
        self.bytes -= old.iter().map(Capacity::size).sum::<usize>();
        old
    }
}

/// Returns the size of the file for this number of bytes. Files that fit into the pool have few
/// different sizes, so that they can be reused.
fn segment_size(length: usize) -> usize {
    match length {
        small if small <= SEGMENT_MIN => SEGMENT_MIN,
        pooled if pooled <= POOL_BYTES_MAX => pooled.checked_next_power_of_two().unwrap_or(pooled),
        large => large,
    }
}

/// The pool of a process, and the id of that process.
#[derive(Debug)]
struct ProcessPool {
    process: u32,
    buffers: BufferPool<Segment>,
}

static POOL: Mutex<ProcessPool> =
    Mutex::new(ProcessPool { process: 0, buffers: BufferPool::new() });

/// Notified when a file is added to an empty pool.
static NOT_EMPTY: Notify = Notify::const_new();

/// Returns the pool of this process. A forked child starts with an empty pool, because the
/// inherited files belong to its parent.
fn process_pool() -> MutexGuard<'static, ProcessPool> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = process::id();
    if pool.process != process {
        *pool = ProcessPool { process, buffers: BufferPool::new() };
    }
    pool
}

/// Takes a file for this number of bytes from the pool, or creates one. Returns `None` if no file
/// is available.
pub(super) fn take(length: usize) -> Result<Option<Segment>, daemon_sys::Error> {
    let size = segment_size(length);
    let pooled = process_pool().buffers.take(size);
    match pooled {
        Some(segment) => Ok(Some(segment)),
        None => Segment::create(size),
    }
}

/// Puts a file into the pool, or releases the file if the pool is full.
pub(super) fn put(segment: Segment) {
    let mut pool = process_pool();
    let is_first = pool.buffers.unused.is_empty();
    let excess = pool.buffers.put(segment, now());
    drop(pool);
    // Releasing a file takes time, so it happens after the pool is unlocked.
    drop(excess);
    if is_first {
        NOT_EMPTY.notify_one();
    }
}

/// Releases all files.
#[cfg(test)]
pub(super) fn clear() {
    let old = process_pool().buffers.trim(MonotonicTime::from_nanos(u64::MAX));
    drop(old);
}

/// Releases files that have not been used for [`IDLE_MAX`]. Never completes. Wakes up only while
/// the pool is not empty.
pub(crate) async fn trim() {
    loop {
        NOT_EMPTY.notified().await;
        loop {
            sleep(IDLE_MAX).await;
            let mut pool = process_pool();
            let old = pool.buffers.trim(now());
            let is_empty = pool.buffers.unused.is_empty();
            drop(pool);
            drop(old);
            if is_empty {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Capacity for usize {
        fn size(&self) -> usize {
            *self
        }
    }

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn the_most_recently_used_file_of_the_requested_size_is_taken_first() {
        let mut buffer_pool = BufferPool::new();
        assert_eq!(buffer_pool.take(SEGMENT_MIN), None);
        for (time, size) in [(1, SEGMENT_MIN), (2, 2 * SEGMENT_MIN), (3, SEGMENT_MIN)] {
            assert_eq!(buffer_pool.put(size, at(time)), None);
        }
        assert_eq!(buffer_pool.take(SEGMENT_MIN), Some(SEGMENT_MIN));
        assert_eq!(buffer_pool.unused, [(at(1), SEGMENT_MIN), (at(2), 2 * SEGMENT_MIN)]);
        assert_eq!(buffer_pool.take(4 * SEGMENT_MIN), None);
    }

    #[test]
    fn the_size_of_the_pool_is_limited() {
        let mut buffer_pool = BufferPool::new();
        assert_eq!(buffer_pool.put(POOL_BYTES_MAX - SEGMENT_MIN, at(0)), None);
        assert_eq!(buffer_pool.put(2 * SEGMENT_MIN, at(0)), Some(2 * SEGMENT_MIN));
        assert_eq!(buffer_pool.put(SEGMENT_MIN, at(0)), None);
        assert_eq!(buffer_pool.put(SEGMENT_MIN, at(0)), Some(SEGMENT_MIN));
        assert_eq!(buffer_pool.bytes, POOL_BYTES_MAX);
    }

    #[test]
    fn files_that_have_not_been_used_for_idle_max_are_released() {
        let mut buffer_pool = BufferPool::new();
        for time in [0, 500, 1200] {
            buffer_pool.put(SEGMENT_MIN, at(time));
        }
        assert_eq!(buffer_pool.trim(at(999)).len(), 0);
        assert_eq!(buffer_pool.trim(at(1500)).len(), 2);
        assert_eq!((buffer_pool.unused.len(), buffer_pool.bytes), (1, SEGMENT_MIN));
        assert_eq!(buffer_pool.trim(at(2200)).len(), 1);
        assert_eq!(buffer_pool.bytes, 0);
    }

    #[test]
    fn the_number_of_files_is_limited_to_a_quarter_of_the_descriptor_limit() {
        let table =
            [(0, 0), (256, 64), (1024, 256), (65_536, SEGMENTS_MAX), (u64::MAX, SEGMENTS_MAX)];
        for (descriptors, expected) in table {
            assert_eq!(segments_max(descriptors), expected, "{descriptors}");
        }
    }

    #[test]
    fn files_that_fit_into_the_pool_have_few_different_sizes() {
        let lengths = [
            0,
            1,
            SEGMENT_MIN,
            SEGMENT_MIN + 1,
            1_000_000,
            POOL_BYTES_MAX,
            POOL_BYTES_MAX + 1,
            usize::MAX,
        ];
        let expected = [
            SEGMENT_MIN,
            SEGMENT_MIN,
            SEGMENT_MIN,
            2 * SEGMENT_MIN,
            1 << 20,
            POOL_BYTES_MAX,
            POOL_BYTES_MAX + 1,
            usize::MAX,
        ];
        assert_eq!(lengths.map(segment_size), expected);
    }

    proptest! {
        #[test]
        fn the_counted_size_of_the_pool_is_correct_after_any_events(
            events in proptest::collection::vec((0_u8..3, 0_usize..POOL_BYTES_MAX, 0_u64..700), 0..200),
        ) {
            let (mut buffer_pool, mut time) = (BufferPool::new(), 0);
            for (event, length, later) in events {
                time += later;
                match event {
                    0 => drop(buffer_pool.take(segment_size(length))),
                    1 => drop(buffer_pool.put(segment_size(length), at(time))),
                    _trim => drop(buffer_pool.trim(at(time))),
                }
                let sum: usize = buffer_pool.unused.iter().map(|(_since, size)| *size).sum();
                prop_assert_eq!(buffer_pool.bytes, sum);
                prop_assert!(sum <= POOL_BYTES_MAX);
            }
        }
    }
}
