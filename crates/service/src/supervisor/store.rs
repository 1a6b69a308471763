//! Listeners that the supervisor keeps while the service is away.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use actix::{Context, Handler, Message};

use crate::actor::ServiceActor;

/// Asks the service to have the supervisor keep a duplicate of a descriptor: `FDSTORE`. It is handed
/// over at the next start, see [`inherited`](super::inherited), so that connections that come
/// meanwhile wait in its queue. Systemd keeps it if `FileDescriptorStoreMax=` allows for it.
#[derive(Message, Debug)]
#[rtype(result = "io::Result<Kept>")]
pub struct Store {
    /// The name that it will come back under: at most 255 letters, no colon.
    pub name: String,
    /// What is kept.
    pub fd: OwnedFd,
}

/// Asks the supervisor to forget what it keeps under this name.
#[derive(Message, Debug)]
#[rtype(result = "io::Result<Kept>")]
pub struct Forget(pub String);

/// Whether there is one who keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The supervisor was told.
    Told,
    /// There is no supervisor.
    Nobody,
}

/// A name as sd_notify(3) demands it.
fn name(name: &str) -> io::Result<&str> {
    let is_fit = |letter: char| letter.is_ascii() && !letter.is_ascii_control() && letter != ':';
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_fit) {
        let why = format!("cannot have a descriptor kept as {name:?}: 1 to 255 letters, no colon");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(name)
}

impl Handler<Store> for ServiceActor {
    type Result = io::Result<Kept>;

    fn handle(&mut self, store: Store, _ctx: &mut Context<Self>) -> Self::Result {
        let lines = format!("FDSTORE=1\nFDNAME={}\n", name(&store.name)?);
        let Some(socket) = self.master.socket() else { return Ok(Kept::Nobody) };
        socket.tell_with(&lines, &[store.fd.as_fd()]).map(|()| Kept::Told)
    }
}

impl Handler<Forget> for ServiceActor {
    type Result = io::Result<Kept>;

    fn handle(&mut self, Forget(forgotten): Forget, _ctx: &mut Context<Self>) -> Self::Result {
        let lines = format!("FDSTOREREMOVE=1\nFDNAME={}\n", name(&forgotten)?);
        let Some(socket) = self.master.socket() else { return Ok(Kept::Nobody) };
        socket.tell(&lines).map(|()| Kept::Told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_supervisor_takes() {
        assert!(name("http").is_ok());
        for wrong in ["", "a:b", "a\nb", "ä", &"a".repeat(256)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }
}
