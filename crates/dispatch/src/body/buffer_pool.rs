//! Memory files that wait to be used again: a new one would have to be made, cleared page by page,
//! and given back.
//!
//! Each process has a shelf of its own, never larger than [`POOL_BYTES_MAX`]; what nobody has used for a
//! while is let go ([`trim`]).

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

/// So many bytes of files are kept at most.
pub(super) const POOL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The smallest file: two of the smallest payloads that go by file.
const SEGMENT_MIN: usize = 2 * super::SHARED_FROM;

/// How long a file is kept that nobody uses.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(1);

/// So many files a process has at most, however many descriptors it may have: each is a mapping too,
/// of which Linux gives a process 65,530 (vm.max_map_count).
const SEGMENTS_MAX: usize = 16 * 1024;

/// How many files a process may have that may have so many descriptors: a quarter. The rest is for
/// links, for what comes over them, and for the program's pool.
fn segments_max(descriptors: u64) -> usize {
    usize::try_from(descriptors / 4).unwrap_or(SEGMENTS_MAX).min(SEGMENTS_MAX)
}

/// How many files there are. A forked process has its parent's descriptors, and so its number.
static SEGMENT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// A memory file, counted for as long as it is there.
#[derive(Debug)]
pub(super) struct Segment(memfd::MemorySegment);

impl Segment {
    /// Makes one, if another may be had: who cannot have one keeps its bytes in plain memory.
    fn make(room: usize) -> Result<Option<Segment>, daemon_sys::Error> {
        let segments_max = segments_max(open_files_limit()?);
        let counted = |held: usize| (held < segments_max).then_some(held + 1);
        if SEGMENT_COUNT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).is_err() {
            return Ok(None);
        }
        match memfd::MemorySegment::new("task", room) {
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

/// Something that has room for so many bytes.
trait Capacity {
    fn size(&self) -> usize;
}

impl Capacity for Segment {
    fn size(&self) -> usize {
        self.capacity()
    }
}

/// Files, those last used last: they are taken first, and are still in the processor's caches.
#[derive(Debug)]
struct BufferPool<A> {
    kept: Vec<(MonotonicTime, A)>,
    bytes: usize,
}

impl<A: Capacity> BufferPool<A> {
    const fn new() -> BufferPool<A> {
        BufferPool { kept: Vec::new(), bytes: 0 }
    }

    /// Takes the last that has just so much room.
    fn take(&mut self, room: usize) -> Option<A> {
        let at = self.kept.iter().rposition(|(_since, segment)| segment.size() == room)?;
        self.bytes -= room;
        Some(self.kept.remove(at).1)
    }

    /// Keeps this one, or gives it back if there is no place for it.
    fn put(&mut self, segment: A, now: MonotonicTime) -> Option<A> {
        if self.bytes + segment.size() > POOL_BYTES_MAX {
            return Some(segment);
        }
        self.bytes += segment.size();
        self.kept.push((now, segment));
        None
    }

    /// Gives up those that nobody has used for so long.
    fn trim(&mut self, now: MonotonicTime) -> Vec<A> {
        let is_old = |since: MonotonicTime| now.saturating_since(since) >= IDLE_MAX;
        // They were put in the order of time.
        let old = self.kept.partition_point(|(since, _area)| is_old(*since));
        let old: Vec<A> = self.kept.drain(..old).map(|(_since, segment)| segment).collect();
        self.bytes -= old.iter().map(Capacity::size).sum::<usize>();
        old
    }
}

/// How much room a file gets that is to hold so many bytes: few sizes, so that it fits others too.
fn segment_size(length: usize) -> usize {
    match length {
        small if small <= SEGMENT_MIN => SEGMENT_MIN,
        kept if kept <= POOL_BYTES_MAX => kept.checked_next_power_of_two().unwrap_or(kept),
        large => large,
    }
}

/// The shelf of this process.
#[derive(Debug)]
struct ProcessPool {
    process: u32,
    buffers: BufferPool<Segment>,
}

static POOL: Mutex<ProcessPool> =
    Mutex::new(ProcessPool { process: 0, buffers: BufferPool::new() });

/// Rung when a file was put on an empty shelf.
static NOT_EMPTY: Notify = Notify::const_new();

/// The shelf. What a child has inherited of its parent's is the parent's.
fn process_pool() -> MutexGuard<'static, ProcessPool> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = process::id();
    if pool.process != process {
        *pool = ProcessPool { process, buffers: BufferPool::new() };
    }
    pool
}

/// Takes a file with room for so many bytes, or makes one, if there may be another.
pub(super) fn take(length: usize) -> Result<Option<Segment>, daemon_sys::Error> {
    let room = segment_size(length);
    let kept = process_pool().buffers.take(room);
    match kept {
        Some(segment) => Ok(Some(segment)),
        None => Segment::make(room),
    }
}

/// Puts a file back.
pub(super) fn put(segment: Segment) {
    let mut pool = process_pool();
    let is_first = pool.buffers.kept.is_empty();
    let unkept = pool.buffers.put(segment, now());
    drop(pool);
    // Given back to the system, which takes a while, when nobody waits for the shelf.
    drop(unkept);
    if is_first {
        NOT_EMPTY.notify_one();
    }
}

/// Lets go what nobody uses, for as long as there is something. It wakes only while there is.
pub(crate) async fn trim() {
    loop {
        NOT_EMPTY.notified().await;
        loop {
            sleep(IDLE_MAX).await;
            let mut pool = process_pool();
            let old = pool.buffers.trim(now());
            let is_empty = pool.buffers.kept.is_empty();
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
    fn the_last_that_was_put_back_is_taken_first_and_only_one_that_fits() {
        let mut buffer_pool = BufferPool::new();
        assert_eq!(buffer_pool.take(SEGMENT_MIN), None);
        for (time, room) in [(1, SEGMENT_MIN), (2, 2 * SEGMENT_MIN), (3, SEGMENT_MIN)] {
            assert_eq!(buffer_pool.put(room, at(time)), None);
        }
        assert_eq!(buffer_pool.take(SEGMENT_MIN), Some(SEGMENT_MIN));
        assert_eq!(buffer_pool.kept, [(at(1), SEGMENT_MIN), (at(2), 2 * SEGMENT_MIN)]);
        assert_eq!(buffer_pool.take(4 * SEGMENT_MIN), None);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut buffer_pool = BufferPool::new();
        assert_eq!(buffer_pool.put(POOL_BYTES_MAX - SEGMENT_MIN, at(0)), None);
        assert_eq!(buffer_pool.put(2 * SEGMENT_MIN, at(0)), Some(2 * SEGMENT_MIN));
        assert_eq!(buffer_pool.put(SEGMENT_MIN, at(0)), None);
        assert_eq!(buffer_pool.put(SEGMENT_MIN, at(0)), Some(SEGMENT_MIN));
        assert_eq!(buffer_pool.bytes, POOL_BYTES_MAX);
    }

    #[test]
    fn what_nobody_has_used_for_a_while_is_let_go() {
        let mut buffer_pool = BufferPool::new();
        for time in [0, 500, 1200] {
            buffer_pool.put(SEGMENT_MIN, at(time));
        }
        assert_eq!(buffer_pool.trim(at(999)).len(), 0);
        assert_eq!(buffer_pool.trim(at(1500)).len(), 2);
        assert_eq!((buffer_pool.kept.len(), buffer_pool.bytes), (1, SEGMENT_MIN));
        assert_eq!(buffer_pool.trim(at(2200)).len(), 1);
        assert_eq!(buffer_pool.bytes, 0);
    }

    #[test]
    fn a_quarter_of_the_descriptors_may_be_files_and_never_too_many() {
        let table =
            [(0, 0), (256, 64), (1024, 256), (65_536, SEGMENTS_MAX), (u64::MAX, SEGMENTS_MAX)];
        for (descriptors, expected) in table {
            assert_eq!(segments_max(descriptors), expected, "{descriptors}");
        }
    }

    #[test]
    fn there_are_few_sizes() {
        let rooms = [
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
        assert_eq!(rooms.map(segment_size), expected);
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_it_knows_how_much_it_has(
            events in proptest::collection::vec((0_u8..3, 0_usize..POOL_BYTES_MAX, 0_u64..700), 0..200),
        ) {
            let (mut buffer_pool, mut time) = (BufferPool::new(), 0);
            for (event, length, later) in events {
                time += later;
                match event {
                    0 => drop(buffer_pool.take(segment_size(length))),
                    1 => drop(buffer_pool.put(segment_size(length), at(time))),
                    _tidied => drop(buffer_pool.trim(at(time))),
                }
                let sum: usize = buffer_pool.kept.iter().map(|(_since, room)| *room).sum();
                prop_assert_eq!(buffer_pool.bytes, sum);
                prop_assert!(sum <= POOL_BYTES_MAX);
            }
        }
    }
}
