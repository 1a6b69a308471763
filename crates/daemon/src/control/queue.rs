//! A bounded queue of events for one client of the control socket. The queue counts the events that
//! did not fit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::Notify;

use daemon_protocol::DaemonEvent;

/// The capacity of the queue. If a client reads too slowly, further events are dropped and counted.
pub(super) const EVENT_QUEUE_MAX: usize = 1024;

/// A handle to the queue. The sender and the receiver of the events run in the same System.
#[derive(Debug, Clone, Default)]
pub(super) struct EventQueue(Rc<SharedQueue>);

#[derive(Debug, Default)]
struct SharedQueue {
    queue: RefCell<PendingEvents>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct PendingEvents {
    events: VecDeque<DaemonEvent>,
    missed: u64,
}

impl PendingEvents {
    fn push(&mut self, event: DaemonEvent) {
        if self.events.len() >= EVENT_QUEUE_MAX {
            self.missed += 1;
            return;
        }
        // The count takes the place of the dropped events.
        if self.missed > 0 {
            self.events.push_back(DaemonEvent::Missed { events: std::mem::take(&mut self.missed) });
        }
        self.events.push_back(event);
    }

    fn pop(&mut self) -> Option<DaemonEvent> {
        self.events.pop_front().or_else(|| {
            let missed = std::mem::take(&mut self.missed);
            (missed > 0).then_some(DaemonEvent::Missed { events: missed })
        })
    }
}

impl EventQueue {
    /// Adds an event, or counts it as missed if the queue is full. Does not wait.
    pub(super) fn push(&self, event: DaemonEvent) {
        self.0.queue.borrow_mut().push(event);
        self.0.filled.notify_one();
    }

    /// Waits for the next event and returns it.
    pub(super) async fn next(&self) -> DaemonEvent {
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
    use daemon_core::{ChildId, Generation, Pid, SlotNumber};
    use daemon_protocol::ChildForked;

    use super::*;

    fn forked(pid: u32) -> DaemonEvent {
        {
            let child = ChildId { slot: SlotNumber::new(0), generation: Generation::new(1) };
            DaemonEvent::Forked(ChildForked::new(child, Pid::from_u32(pid + 1).unwrap()))
        }
    }

    fn pid(event: DaemonEvent) -> u32 {
        match event {
            DaemonEvent::Forked(forked) => forked.pid.as_u32() - 1,
            other => panic!("{other:?} is not a forked event"),
        }
    }

    #[test]
    fn the_number_of_dropped_events_is_reported_in_their_place() {
        let capacity = u32::try_from(EVENT_QUEUE_MAX).unwrap();
        let mut queue = PendingEvents::default();
        (0..capacity + 3).for_each(|pid| queue.push(forked(pid)));
        assert_eq!(pid(queue.pop().unwrap()), 0);
        assert_eq!(pid(queue.pop().unwrap()), 1);
        queue.push(forked(7000));
        for expected in 2..capacity {
            assert_eq!(pid(queue.pop().unwrap()), expected);
        }
        assert!(matches!(queue.pop(), Some(DaemonEvent::Missed { events: 3 })));
        assert_eq!(pid(queue.pop().unwrap()), 7000);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn dropped_events_are_reported_even_if_no_event_follows() {
        let mut queue = PendingEvents::default();
        (0..=EVENT_QUEUE_MAX).for_each(|_event| queue.push(forked(1)));
        let last = std::iter::from_fn(|| queue.pop()).last();
        assert!(matches!(last, Some(DaemonEvent::Missed { events: 1 })));
    }
}
