//! Events on their way to one client: a queue that does not grow without end, and the count of what
//! did not fit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::Notify;

use super::protocol::Event;

/// So many events wait for a client that reads slowly; the next are counted, and left out.
pub(super) const FEED_MAX: usize = 1024;

/// The two ends of the queue, in one System.
#[derive(Debug, Clone, Default)]
pub(super) struct Feed(Rc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    queue: RefCell<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    missed: u64,
}

impl Queue {
    fn push(&mut self, event: Event) {
        if self.events.len() >= FEED_MAX {
            self.missed += 1;
            return;
        }
        // What was left out stands where it would have been.
        if self.missed > 0 {
            self.events.push_back(Event::Missed { events: std::mem::take(&mut self.missed) });
        }
        self.events.push_back(event);
    }

    fn pop(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| {
            let missed = std::mem::take(&mut self.missed);
            (missed > 0).then_some(Event::Missed { events: missed })
        })
    }
}

impl Feed {
    /// Adds an event; never waits.
    pub(super) fn push(&self, event: Event) {
        self.0.queue.borrow_mut().push(event);
        self.0.filled.notify_one();
    }

    /// Waits for the next event.
    pub(super) async fn next(&self) -> Event {
        loop {
            let event = self.0.queue.borrow_mut().pop();
            match event {
                Some(event) => return event,
                None => self.0.filled.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use daemon_core::SlotNumber;

    use super::*;

    fn born(pid: u32) -> Event {
        Event::Born { slot: SlotNumber::new(0), pid }
    }

    fn pid(event: Event) -> u32 {
        match event {
            Event::Born { pid, .. } => pid,
            other => panic!("{other:?} is no birth"),
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_in_its_place() {
        let most = u32::try_from(FEED_MAX).unwrap();
        let mut queue = Queue::default();
        (0..most + 3).for_each(|pid| queue.push(born(pid)));
        assert_eq!(pid(queue.pop().unwrap()), 0);
        assert_eq!(pid(queue.pop().unwrap()), 1);
        queue.push(born(7000));
        for expected in 2..most {
            assert_eq!(pid(queue.pop().unwrap()), expected);
        }
        assert!(matches!(queue.pop(), Some(Event::Missed { events: 3 })));
        assert_eq!(pid(queue.pop().unwrap()), 7000);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn what_was_missed_is_told_though_nothing_comes_after_it() {
        let mut queue = Queue::default();
        (0..=FEED_MAX).for_each(|_event| queue.push(born(1)));
        let told = std::iter::from_fn(|| queue.pop()).last();
        assert!(matches!(told, Some(Event::Missed { events: 1 })));
    }
}
