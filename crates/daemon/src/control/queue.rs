//! Events on their way to one client: a queue that does not grow without end, and the count of what
//! did not fit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::Notify;

use super::protocol::ControlEvent;

/// So many events wait for a client that reads slowly; the next are counted, and left out.
pub(super) const EVENT_QUEUE_MAX: usize = 1024;

/// The two ends of the queue, in one System.
#[derive(Debug, Clone, Default)]
pub(super) struct EventQueue(Rc<SharedQueue>);

#[derive(Debug, Default)]
struct SharedQueue {
    queue: RefCell<PendingEvents>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct PendingEvents {
    events: VecDeque<ControlEvent>,
    missed: u64,
}

impl PendingEvents {
    fn push(&mut self, event: ControlEvent) {
        if self.events.len() >= EVENT_QUEUE_MAX {
            self.missed += 1;
            return;
        }
        // What was left out stands where it would have been.
        if self.missed > 0 {
            self.events
                .push_back(ControlEvent::Missed { events: std::mem::take(&mut self.missed) });
        }
        self.events.push_back(event);
    }

    fn pop(&mut self) -> Option<ControlEvent> {
        self.events.pop_front().or_else(|| {
            let missed = std::mem::take(&mut self.missed);
            (missed > 0).then_some(ControlEvent::Missed { events: missed })
        })
    }
}

impl EventQueue {
    /// Adds an event; never waits.
    pub(super) fn push(&self, event: ControlEvent) {
        self.0.queue.borrow_mut().push(event);
        self.0.filled.notify_one();
    }

    /// Waits for the next event.
    pub(super) async fn next(&self) -> ControlEvent {
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

    fn born(pid: u32) -> ControlEvent {
        ControlEvent::Born { slot: SlotNumber::new(0), pid }
    }

    fn pid(event: ControlEvent) -> u32 {
        match event {
            ControlEvent::Born { pid, .. } => pid,
            other => panic!("{other:?} is no birth"),
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_in_its_place() {
        let most = u32::try_from(EVENT_QUEUE_MAX).unwrap();
        let mut queue = PendingEvents::default();
        (0..most + 3).for_each(|pid| queue.push(born(pid)));
        assert_eq!(pid(queue.pop().unwrap()), 0);
        assert_eq!(pid(queue.pop().unwrap()), 1);
        queue.push(born(7000));
        for expected in 2..most {
            assert_eq!(pid(queue.pop().unwrap()), expected);
        }
        assert!(matches!(queue.pop(), Some(ControlEvent::Missed { events: 3 })));
        assert_eq!(pid(queue.pop().unwrap()), 7000);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn what_was_missed_is_told_though_nothing_comes_after_it() {
        let mut queue = PendingEvents::default();
        (0..=EVENT_QUEUE_MAX).for_each(|_event| queue.push(born(1)));
        let told = std::iter::from_fn(|| queue.pop()).last();
        assert!(matches!(told, Some(ControlEvent::Missed { events: 1 })));
    }
}
