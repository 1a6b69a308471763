//! Memory files that wait to be used again: a new one would have to be made, cleared page by page,
//! and given back.
//!
//! Each process has a shelf of its own, never larger than [`KEPT_MAX`]; what nobody has used for a
//! while is let go ([`tidy`]).

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
pub(super) const KEPT_MAX: usize = 8 * 1024 * 1024;

/// The smallest file: two of the smallest payloads that go by file.
const AREA_MIN: usize = 2 * super::SHARED_FROM;

/// How long a file is kept that nobody uses.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// So many files a process has at most, however many descriptors it may have: each is a mapping too,
/// of which Linux gives a process 65,530 (vm.max_map_count).
const HELD_MAX: usize = 16 * 1024;

/// How many files a process may have that may have so many descriptors: a quarter. The rest is for
/// links, for what comes over them, and for the program's own.
fn most(descriptors: u64) -> usize {
    usize::try_from(descriptors / 4).unwrap_or(HELD_MAX).min(HELD_MAX)
}

/// How many files there are. A forked process has its parent's descriptors, and so its number.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A memory file, counted for as long as it is there.
#[derive(Debug)]
pub(super) struct Area(memfd::MemorySegment);

impl Area {
    /// Makes one, if another may be had: who cannot have one keeps its bytes in plain memory.
    fn make(room: usize) -> Result<Option<Area>, daemon_sys::Error> {
        let most = most(open_files_limit()?);
        let counted = |held: usize| (held < most).then_some(held + 1);
        if HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).is_err() {
            return Ok(None);
        }
        match memfd::MemorySegment::new("task", room) {
            Ok(area) => Ok(Some(Area(area))),
            Err(error) => {
                HELD.fetch_sub(1, Ordering::Relaxed);
                if error.is_descriptor_shortage() { Ok(None) } else { Err(error) }
            }
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Area {
    type Target = memfd::MemorySegment;

    fn deref(&self) -> &memfd::MemorySegment {
        &self.0
    }
}

impl DerefMut for Area {
    fn deref_mut(&mut self) -> &mut memfd::MemorySegment {
        &mut self.0
    }
}

impl AsFd for Area {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Something that has room for so many bytes.
trait Room {
    fn room(&self) -> usize;
}

impl Room for Area {
    fn room(&self) -> usize {
        self.capacity()
    }
}

/// Files, those last used last: they are taken first, and are still in the processor's caches.
#[derive(Debug)]
struct Shelf<A> {
    kept: Vec<(MonotonicTime, A)>,
    bytes: usize,
}

impl<A: Room> Shelf<A> {
    const fn new() -> Shelf<A> {
        Shelf { kept: Vec::new(), bytes: 0 }
    }

    /// Takes the last that has just so much room.
    fn take(&mut self, room: usize) -> Option<A> {
        let at = self.kept.iter().rposition(|(_since, area)| area.room() == room)?;
        self.bytes -= room;
        Some(self.kept.remove(at).1)
    }

    /// Keeps this one, or gives it back if there is no place for it.
    fn put(&mut self, area: A, now: MonotonicTime) -> Option<A> {
        if self.bytes + area.room() > KEPT_MAX {
            return Some(area);
        }
        self.bytes += area.room();
        self.kept.push((now, area));
        None
    }

    /// Gives up those that nobody has used for so long.
    fn tidy(&mut self, now: MonotonicTime) -> Vec<A> {
        let is_old = |since: MonotonicTime| now.saturating_since(since) >= LINGER;
        // They were put in the order of time.
        let old = self.kept.partition_point(|(since, _area)| is_old(*since));
        let old: Vec<A> = self.kept.drain(..old).map(|(_since, area)| area).collect();
        self.bytes -= old.iter().map(Room::room).sum::<usize>();
        old
    }
}

/// How much room a file gets that is to hold so many bytes: few sizes, so that it fits others too.
fn room_for(length: usize) -> usize {
    match length {
        small if small <= AREA_MIN => AREA_MIN,
        kept if kept <= KEPT_MAX => kept.checked_next_power_of_two().unwrap_or(kept),
        large => large,
    }
}

/// The shelf of this process.
#[derive(Debug)]
struct Own {
    process: u32,
    shelf: Shelf<Area>,
}

static OWN: Mutex<Own> = Mutex::new(Own { process: 0, shelf: Shelf::new() });

/// Rung when a file was put on an empty shelf.
static FIRST: Notify = Notify::const_new();

/// The shelf. What a child has inherited of its parent's is the parent's.
fn own() -> MutexGuard<'static, Own> {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let process = process::id();
    if own.process != process {
        *own = Own { process, shelf: Shelf::new() };
    }
    own
}

/// Takes a file with room for so many bytes, or makes one, if there may be another.
pub(super) fn take(length: usize) -> Result<Option<Area>, daemon_sys::Error> {
    let room = room_for(length);
    let kept = own().shelf.take(room);
    match kept {
        Some(area) => Ok(Some(area)),
        None => Area::make(room),
    }
}

/// Puts a file back.
pub(super) fn put(area: Area) {
    let mut own = own();
    let is_first = own.shelf.kept.is_empty();
    let unkept = own.shelf.put(area, now());
    drop(own);
    // Given back to the system, which takes a while, when nobody waits for the shelf.
    drop(unkept);
    if is_first {
        FIRST.notify_one();
    }
}

/// Lets go what nobody uses, for as long as there is something. It wakes only while there is.
pub(crate) async fn tidy() {
    loop {
        FIRST.notified().await;
        loop {
            sleep(LINGER).await;
            let mut own = own();
            let old = own.shelf.tidy(now());
            let is_empty = own.shelf.kept.is_empty();
            drop(own);
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

    impl Room for usize {
        fn room(&self) -> usize {
            *self
        }
    }

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn the_last_that_was_put_back_is_taken_first_and_only_one_that_fits() {
        let mut shelf = Shelf::new();
        assert_eq!(shelf.take(AREA_MIN), None);
        for (time, room) in [(1, AREA_MIN), (2, 2 * AREA_MIN), (3, AREA_MIN)] {
            assert_eq!(shelf.put(room, at(time)), None);
        }
        assert_eq!(shelf.take(AREA_MIN), Some(AREA_MIN));
        assert_eq!(shelf.kept, [(at(1), AREA_MIN), (at(2), 2 * AREA_MIN)]);
        assert_eq!(shelf.take(4 * AREA_MIN), None);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut shelf = Shelf::new();
        assert_eq!(shelf.put(KEPT_MAX - AREA_MIN, at(0)), None);
        assert_eq!(shelf.put(2 * AREA_MIN, at(0)), Some(2 * AREA_MIN));
        assert_eq!(shelf.put(AREA_MIN, at(0)), None);
        assert_eq!(shelf.put(AREA_MIN, at(0)), Some(AREA_MIN));
        assert_eq!(shelf.bytes, KEPT_MAX);
    }

    #[test]
    fn what_nobody_has_used_for_a_while_is_let_go() {
        let mut shelf = Shelf::new();
        for time in [0, 500, 1200] {
            shelf.put(AREA_MIN, at(time));
        }
        assert_eq!(shelf.tidy(at(999)).len(), 0);
        assert_eq!(shelf.tidy(at(1500)).len(), 2);
        assert_eq!((shelf.kept.len(), shelf.bytes), (1, AREA_MIN));
        assert_eq!(shelf.tidy(at(2200)).len(), 1);
        assert_eq!(shelf.bytes, 0);
    }

    #[test]
    fn a_quarter_of_the_descriptors_may_be_files_and_never_too_many() {
        let table = [(0, 0), (256, 64), (1024, 256), (65_536, HELD_MAX), (u64::MAX, HELD_MAX)];
        for (descriptors, expected) in table {
            assert_eq!(most(descriptors), expected, "{descriptors}");
        }
    }

    #[test]
    fn there_are_few_sizes() {
        let rooms = [0, 1, AREA_MIN, AREA_MIN + 1, 1_000_000, KEPT_MAX, KEPT_MAX + 1, usize::MAX];
        let expected = [
            AREA_MIN,
            AREA_MIN,
            AREA_MIN,
            2 * AREA_MIN,
            1 << 20,
            KEPT_MAX,
            KEPT_MAX + 1,
            usize::MAX,
        ];
        assert_eq!(rooms.map(room_for), expected);
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_it_knows_how_much_it_has(
            events in proptest::collection::vec((0_u8..3, 0_usize..KEPT_MAX, 0_u64..700), 0..200),
        ) {
            let (mut shelf, mut time) = (Shelf::new(), 0);
            for (event, length, later) in events {
                time += later;
                match event {
                    0 => drop(shelf.take(room_for(length))),
                    1 => drop(shelf.put(room_for(length), at(time))),
                    _tidied => drop(shelf.tidy(at(time))),
                }
                let sum: usize = shelf.kept.iter().map(|(_since, room)| *room).sum();
                prop_assert_eq!(shelf.bytes, sum);
                prop_assert!(sum <= KEPT_MAX);
            }
        }
    }
}
