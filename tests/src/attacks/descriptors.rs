//! Attacks on the descriptors that a child has inherited or received. The open files behind them,
//! with their flags, positions and queues, are shared with the parent, the fork server and the
//! siblings.

use std::fs::{self, File};
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, SealFlag, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::{Whence, ftruncate, lseek};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::SockRef;

use super::{Attack, Attacker, attacks, missing};

pub(super) const DESCRIPTORS: &[Attack] = attacks![Descriptors:
    flags_cleared, flags_set, flags_changing, flags_cleared_and_wakeups_stolen,
    flags_cleared_and_pipes_filled, positions_moved, files_truncated, memory_files_sealed,
    files_locked, all_closed, all_replaced_by_null, descriptors_exhausted, garbage_written,
    pipes_filled, wakeups_stolen, eventfds_full, descriptors_sent,
    sockets_shut_down, listener_shut_down, listener_backlog_zero, listener_options,
    listener_timeouts, listener_blocking, connections_stolen, connects_to_itself,
];

/// A descriptor of this process, and a duplicate of it that shares the open file.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) number: RawFd,
    pub(super) path: PathBuf,
    pub(super) duplicate: OwnedFd,
}

impl Descriptor {
    pub(super) fn all() -> io::Result<Vec<Descriptor>> {
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        let listed: Vec<(RawFd, PathBuf)> = fs::read_dir("/proc/self/fd")?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let number = entry.file_name().to_str()?.parse().ok()?;
                Some((number, fs::read_link(entry.path()).ok()?))
            })
            .collect();
        let mut found = Vec::new();
        for (number, path) in listed {
            // The descriptor with which the folder was read is closed by now.
            if let Ok(duplicate) = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()) {
                found.push(Descriptor { number, path, duplicate });
            }
        }
        found.sort_by_key(|descriptor| descriptor.number);
        Ok(found)
    }

    fn is(&self, kind: &str) -> bool {
        self.path.to_str().is_some_and(|path| path.starts_with(kind))
    }

    fn is_socket(&self) -> bool {
        self.is("socket:")
    }

    fn is_eventfd(&self) -> bool {
        self.is("anon_inode:[eventfd]")
    }

    fn is_listener(&self) -> bool {
        self.is_socket() && SockRef::from(&self.duplicate).is_listener().unwrap_or(false)
    }

    /// Returns whether this is a socket, a pipe or an eventfd.
    fn is_queue(&self) -> bool {
        self.is_socket() || self.is("pipe:") || self.is_eventfd()
    }

    fn set_flags(&self, flags: OFlag) -> io::Result<()> {
        fcntl(&self.duplicate, FcntlArg::F_SETFL(flags))?;
        Ok(())
    }
}

/// Does something with each descriptor, whether or not it succeeds.
fn for_each(act: impl Fn(&Descriptor) -> io::Result<()>) -> io::Result<()> {
    for descriptor in Descriptor::all()? {
        // Many acts are possible with some kinds of descriptors only.
        let _failed = act(&descriptor);
    }
    Ok(())
}

fn listeners() -> io::Result<Vec<Descriptor>> {
    let mut found = Descriptor::all()?;
    found.retain(Descriptor::is_listener);
    if found.is_empty() { Err(missing("a listener")) } else { Ok(found) }
}

/// Clears the flags of each open file, so that it blocks.
fn flags_cleared(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| descriptor.set_flags(OFlag::empty()))
}

/// Sets the flags O_NONBLOCK and O_APPEND of each open file.
fn flags_set(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| descriptor.set_flags(OFlag::O_NONBLOCK | OFlag::O_APPEND))
}

/// Changes the flags of each open file, again and again.
fn flags_changing(attacker: &mut Attacker) -> io::Result<()> {
    let all = Descriptor::all()?;
    attacker.repeat(|random| {
        for descriptor in &all {
            let flags = random.one_of(&[OFlag::empty(), OFlag::O_NONBLOCK]);
            let _failed = descriptor.set_flags(flags.unwrap_or(OFlag::empty()));
        }
        Ok(())
    })
}

/// Makes each open file block, and reads away what others wait for.
fn flags_cleared_and_wakeups_stolen(attacker: &mut Attacker) -> io::Result<()> {
    attacker.repeat(|_random| {
        for_each(|descriptor| {
            steal(descriptor)?;
            descriptor.set_flags(OFlag::empty())
        })
    })
}

/// Fills each pipe, socket and eventfd, and makes it block.
fn flags_cleared_and_pipes_filled(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| {
        fill(descriptor, 1 << 24)?;
        descriptor.set_flags(OFlag::empty())
    })
}

/// Moves the position of each open file.
fn positions_moved(attacker: &mut Attacker) -> io::Result<()> {
    let position = attacker.random.below(1 << 40) as i64;
    for_each(|descriptor| {
        lseek(&descriptor.duplicate, position, Whence::SeekSet)?;
        Ok(())
    })
}

/// Truncates each file that it has open for writing.
fn files_truncated(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| Ok(ftruncate(&descriptor.duplicate, 0)?))
}

/// Seals each memory file.
fn memory_files_sealed(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| {
        let all = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK;
        fcntl(&descriptor.duplicate, FcntlArg::F_ADD_SEALS(all))?;
        Ok(())
    })
}

/// Locks each file.
fn files_locked(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| {
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        Ok(rustix::fs::flock(&descriptor.duplicate, exclusive)?)
    })
}

/// Closes all descriptors, as a loop of closefrom(2) does.
fn all_closed(_attacker: &mut Attacker) -> io::Result<()> {
    for number in 0..1024 {
        // Most of the numbers are not open.
        let _closed = nix::unistd::close(number);
    }
    Ok(())
}

/// Replaces all descriptors by `/dev/null`.
fn all_replaced_by_null(_attacker: &mut Attacker) -> io::Result<()> {
    let numbers: Vec<RawFd> =
        Descriptor::all()?.into_iter().map(|descriptor| descriptor.number).collect();
    for number in numbers {
        nix::unistd::close(number)?;
        // The lowest free number is the one that was closed.
        let _open = File::options().read(true).write(true).open("/dev/null")?.into_raw_fd();
    }
    Ok(())
}

/// Opens descriptors up to its limit.
fn descriptors_exhausted(_attacker: &mut Attacker) -> io::Result<()> {
    crate::misbehave::exhaust_descriptors().into_iter().for_each(|open| {
        let _open = open.into_raw_fd();
    });
    Ok(())
}

/// Writes up to this many bytes of garbage without blocking.
fn fill(descriptor: &Descriptor, bytes: usize) -> io::Result<()> {
    if !descriptor.is_queue() {
        return Ok(());
    }
    descriptor.set_flags(OFlag::O_NONBLOCK)?;
    let mut file = File::from(descriptor.duplicate.try_clone()?);
    let garbage = if descriptor.is_eventfd() { vec![0xff; 8] } else { vec![0xa5; 64 << 10] };
    if descriptor.is_eventfd() {
        return file.write_all(&(u64::MAX - 1).to_ne_bytes());
    }
    let mut written = 0;
    while written < bytes {
        written += file.write(&garbage)?;
    }
    Ok(())
}

/// Writes 1 MiB of garbage to each pipe and socket.
fn garbage_written(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| fill(descriptor, 1 << 20))
}

/// Fills each pipe, socket and eventfd.
fn pipes_filled(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| fill(descriptor, 1 << 24))
}

/// Reads all that is available, without blocking.
fn steal(descriptor: &Descriptor) -> io::Result<()> {
    if !descriptor.is_queue() || descriptor.is_listener() {
        return Ok(());
    }
    descriptor.set_flags(OFlag::O_NONBLOCK)?;
    let mut file = File::from(descriptor.duplicate.try_clone()?);
    let mut bytes = [0; 4096];
    while file.read(&mut bytes)? > 0 {}
    Ok(())
}

/// Reads away what the parent, the fork server or a sibling wait for, again and again.
fn wakeups_stolen(attacker: &mut Attacker) -> io::Result<()> {
    let all = Descriptor::all()?;
    attacker.repeat(|_random| {
        all.iter().for_each(|descriptor| {
            let _empty = steal(descriptor);
        });
        Ok(())
    })
}

/// Fills each eventfd, so that the next write to it blocks.
fn eventfds_full(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| {
        if descriptor.is_eventfd() {
            steal(descriptor)?;
            fill(descriptor, 8)?;
            descriptor.set_flags(OFlag::empty())?;
        }
        Ok(())
    })
}

/// Sends all its descriptors over each Unix socket, many times.
fn descriptors_sent(attacker: &mut Attacker) -> io::Result<()> {
    let all = Descriptor::all()?;
    let numbers: Vec<RawFd> =
        all.iter().map(|descriptor| descriptor.duplicate.as_fd().as_raw_fd()).take(60).collect();
    attacker.repeat(|_random| {
        for descriptor in all.iter().filter(|descriptor| descriptor.is_socket()) {
            let control = [ControlMessage::ScmRights(&numbers)];
            let socket = descriptor.duplicate.as_fd().as_raw_fd();
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            let _sent = sendmsg::<()>(socket, &[IoSlice::new(b"x")], &control, flags, None);
        }
        Ok(())
    })
}

/// Shuts down each socket except listeners.
fn sockets_shut_down(_attacker: &mut Attacker) -> io::Result<()> {
    for_each(|descriptor| {
        if descriptor.is_socket() && !descriptor.is_listener() {
            SockRef::from(&descriptor.duplicate).shutdown(std::net::Shutdown::Both)?;
        }
        Ok(())
    })
}

/// Shuts down the listener that it shares with its siblings.
fn listener_shut_down(_attacker: &mut Attacker) -> io::Result<()> {
    listeners()?.iter().try_for_each(|listener| {
        SockRef::from(&listener.duplicate).shutdown(std::net::Shutdown::Both)
    })
}

/// Sets the backlog of the listener to zero.
fn listener_backlog_zero(_attacker: &mut Attacker) -> io::Result<()> {
    listeners()?.iter().try_for_each(|listener| SockRef::from(&listener.duplicate).listen(0))
}

/// Sets options of the listener, which new connections inherit.
fn listener_options(_attacker: &mut Attacker) -> io::Result<()> {
    listeners()?.iter().try_for_each(|listener| {
        let socket = SockRef::from(&listener.duplicate);
        socket.set_recv_buffer_size(0)?;
        socket.set_send_buffer_size(0)?;
        socket.set_reuse_address(true)?;
        socket.set_keepalive(true)?;
        socket.set_linger(Some(Duration::ZERO))
    })
}

/// Sets timeouts of the listener, which new connections inherit.
fn listener_timeouts(_attacker: &mut Attacker) -> io::Result<()> {
    listeners()?.iter().try_for_each(|listener| {
        let socket = SockRef::from(&listener.duplicate);
        socket.set_read_timeout(Some(Duration::from_micros(1)))?;
        socket.set_write_timeout(Some(Duration::from_micros(1)))
    })
}

/// Makes the listener block.
fn listener_blocking(_attacker: &mut Attacker) -> io::Result<()> {
    listeners()?.iter().try_for_each(|listener| listener.set_flags(OFlag::empty()))
}

/// Accepts the connections of its siblings, and drops them.
fn connections_stolen(attacker: &mut Attacker) -> io::Result<()> {
    let listeners = listeners()?;
    attacker.repeat(|_random| {
        for listener in &listeners {
            // There may be no connection.
            let _dropped = SockRef::from(&listener.duplicate).accept();
        }
        Ok(())
    })
}

/// Makes many connections to the listener, and closes them at once.
fn connects_to_itself(_attacker: &mut Attacker) -> io::Result<()> {
    for listener in listeners()? {
        let address = SockRef::from(&listener.duplicate).local_addr()?;
        let address = address.as_socket().ok_or_else(|| missing("an address"))?;
        for _connection in 0..200 {
            // The queue may be full.
            let _closed = TcpStream::connect_timeout(&address, Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Returns duplicates of all descriptors that programs inherit which this process starts.
pub(super) fn inheritable() -> io::Result<Vec<Descriptor>> {
    let all = Descriptor::all()?;
    for descriptor in &all {
        fcntl(&descriptor.duplicate, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(all)
}
