//! The clients of the control socket, and which of them makes room for a new one.

use std::collections::HashMap;

use daemon_core::MonotonicTime;

/// The maximum number of clients at a time.
pub(super) const MAX_CLIENTS: usize = 128;

/// What a client does. A client that is idle makes room for a new client first, a client whose
/// request is in progress last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClientState {
    /// It has not sent a complete request, or has not read its response.
    Idle,
    /// It listens to events.
    Subscribed,
    /// The daemon carries out its request.
    Busy,
}

/// The number of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientId(u64);

/// The connected clients. `T` ends the connection of a client.
#[derive(Debug)]
pub(super) struct Clients<T> {
    next: u64,
    connected: HashMap<ClientId, Client<T>>,
}

#[derive(Debug)]
struct Client<T> {
    state: ClientState,
    since: MonotonicTime,
    connection: T,
}

impl<T> Default for Clients<T> {
    fn default() -> Self {
        Clients { next: 0, connected: HashMap::new() }
    }
}

impl<T> Clients<T> {
    /// Returns a number for a new client.
    pub(super) fn next_id(&mut self) -> ClientId {
        self.next += 1;
        ClientId(self.next)
    }

    /// Adds a client, which is idle.
    pub(super) fn add(&mut self, id: ClientId, connection: T, now: MonotonicTime) {
        self.connected.insert(id, Client { state: ClientState::Idle, since: now, connection });
    }

    /// Records what a client does from now on.
    pub(super) fn set_state(&mut self, id: ClientId, state: ClientState, now: MonotonicTime) {
        if let Some(client) = self.connected.get_mut(&id) {
            (client.state, client.since) = (state, now);
        }
    }

    /// Removes a client. Does nothing if it has been removed already.
    pub(super) fn remove(&mut self, id: ClientId) {
        self.connected.remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.connected.len()
    }

    /// If the maximum number of clients is connected, removes and returns the one that makes room
    /// for a new client: the one that has been idle longest, or else the one that has listened to
    /// events longest, or else the one whose request has been in progress longest.
    pub(super) fn make_room(&mut self) -> Option<T> {
        if self.connected.len() < MAX_CLIENTS {
            return None;
        }
        let order = |(id, client): (&ClientId, &Client<T>)| (client.state, client.since, *id);
        let (_, _, id) = self.connected.iter().map(order).min()?;
        self.connected.remove(&id).map(|client| client.connection)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_since_boot(Duration::from_secs(seconds))
    }

    /// Adds clients until the maximum is reached, one each second. Their connections are numbers.
    fn full() -> (Clients<usize>, Vec<ClientId>) {
        let mut clients = Clients::default();
        let mut ids = Vec::new();
        for (number, second) in (0..MAX_CLIENTS).zip(0..) {
            assert_eq!(clients.make_room(), None);
            let id = clients.next_id();
            clients.add(id, number, at(second));
            ids.push(id);
        }
        assert_eq!(clients.len(), MAX_CLIENTS);
        (clients, ids)
    }

    #[test]
    fn the_client_that_has_been_idle_longest_makes_room() {
        let (mut clients, ids) = full();
        // The client has sent a request, and has received its response.
        clients.set_state(ids[0], ClientState::Busy, at(500));
        clients.set_state(ids[0], ClientState::Idle, at(501));
        clients.set_state(ids[1], ClientState::Subscribed, at(1));
        clients.set_state(ids[2], ClientState::Busy, at(1));
        assert_eq!(clients.make_room(), Some(3));
        assert_eq!(clients.make_room(), None);
        assert_eq!(clients.len(), MAX_CLIENTS - 1);
    }

    #[test]
    fn a_subscriber_makes_room_only_if_no_client_is_idle_and_a_busy_client_only_as_the_last() {
        let (mut clients, ids) = full();
        for (id, second) in ids.iter().zip(1000..) {
            clients.set_state(*id, ClientState::Busy, at(second));
        }
        clients.set_state(ids[7], ClientState::Subscribed, at(3000));
        clients.set_state(ids[8], ClientState::Subscribed, at(2000));
        let next_victim = |clients: &mut Clients<usize>| {
            let id = clients.next_id();
            let victim = clients.make_room();
            clients.add(id, 1000, at(5000));
            clients.set_state(id, ClientState::Busy, at(5000));
            victim
        };
        let victims: Vec<_> = (0..4).map(|_nth| next_victim(&mut clients)).collect();
        assert_eq!(victims, [Some(8), Some(7), Some(0), Some(1)]);
    }

    #[test]
    fn a_client_that_has_made_room_has_no_state_any_more() {
        let (mut clients, ids) = full();
        assert_eq!(clients.make_room(), Some(0));
        clients.set_state(ids[0], ClientState::Busy, at(600));
        clients.remove(ids[0]);
        clients.remove(ids[5]);
        assert_eq!(clients.len(), MAX_CLIENTS - 2);
    }
}
