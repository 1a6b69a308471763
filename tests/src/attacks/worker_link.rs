//! Attacks on the dispatcher through a worker's link: frames that are incomplete, wrong, too long,
//! too many or about other tasks, and a link that is closed, shut down or not read.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use actix_dispatch::fuzz::WorkerFrame;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg, sockopt::PeerCredentials};
use nix::unistd::getpid;
use rustix::fs::MemfdFlags;
use socket2::SockRef;

use super::descriptors::Descriptor;
use super::{Attack, Attacker, attacks, missing};

pub(super) const WORKER_LINK: &[Attack] = attacks![WorkerLink:
    half_frame, half_frame_and_end, giant_frame, garbage_on_link, descriptors_without_frames,
    descriptors_then_frames, endless_frames, endless_answers, answer_of_unknown_task,
    answer_of_next_tasks, answer_without_memory_file, answer_of_short_memory_file,
    answer_of_sparse_memory_file, answer_of_own_descriptors, ready_again, leaves_and_stays,
    leaves_and_sleeps, link_closed, link_shut_down, link_shut_down_for_writing,
    link_shut_down_for_reading, link_blocking, stops_around_answer,
];

/// Returns the worker's ends of the link: Unix sockets whose other end another process has created.
fn links() -> io::Result<Vec<Descriptor>> {
    let own = getpid().as_raw();
    let mut all = Descriptor::all()?;
    all.retain(|descriptor| {
        getsockopt(&descriptor.duplicate, PeerCredentials).is_ok_and(|peer| peer.pid() != own)
    });
    Ok(all)
}

/// Returns the worker's end of the link for its messages: it has a copy of the other one, for the
/// runtime.
fn link() -> io::Result<Descriptor> {
    let mut all = links()?;
    let copies = |path: &Path| all.iter().filter(|descriptor| descriptor.path == *path).count();
    let first = all.iter().position(|descriptor| copies(&descriptor.path) == 1);
    first.map(|index| all.swap_remove(index)).ok_or_else(|| missing("the link to the dispatcher"))
}

fn send(link: &Descriptor, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<usize> {
    let control = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &control[..] };
    let socket = link.duplicate.as_raw_fd();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(socket, &[IoSlice::new(bytes)], control, flags, None)?)
}

fn send_frame(frame: WorkerFrame) -> io::Result<()> {
    let bytes = frame.encode();
    send(&link()?, &bytes, &[])?;
    Ok(())
}

fn sleep_for_ever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// A memory file of this length that uses no memory.
fn sparse(length: u64) -> io::Result<OwnedFd> {
    let file = File::from(rustix::fs::memfd_create("sparse", MemfdFlags::CLOEXEC)?);
    file.set_len(length)?;
    Ok(file.into())
}

/// An answer whose result is in a memory file.
fn shared_answer(random: u64, length: u64) -> WorkerFrame {
    WorkerFrame::Finished { turn: random, id: random, attempt: 1, shared: Some(length) }
}

/// Sends half a frame, and stays.
fn half_frame(_attacker: &mut Attacker) -> io::Result<()> {
    send(&link()?, &[200, 0], &[])?;
    sleep_for_ever()
}

/// Sends half a frame, and ends.
fn half_frame_and_end(_attacker: &mut Attacker) -> io::Result<()> {
    send(&link()?, &[200, 0, 0, 0, 2, 1], &[])?;
    std::process::exit(0);
}

/// Sends a frame that claims to be very long.
fn giant_frame(_attacker: &mut Attacker) -> io::Result<()> {
    send(&link()?, &[0xff, 0xff, 0xff, 0x7f, 2, 1, 1, 1], &[])?;
    sleep_for_ever()
}

/// Sends random bytes.
fn garbage_on_link(attacker: &mut Attacker) -> io::Result<()> {
    let link = link()?;
    let garbage = attacker.random.bytes(1 << 20);
    let _accepted = send(&link, &garbage, &[])?;
    Ok(())
}

/// Sends descriptors without frames, 60 at a time.
fn descriptors_without_frames(attacker: &mut Attacker) -> io::Result<()> {
    let link = link()?;
    let file = File::open("/dev/null")?;
    let numbers = [file.as_raw_fd(); 60];
    attacker.repeat(|_random| {
        // The socket may be full.
        let _accepted = send(&link, &[0], &numbers);
        Ok(())
    })
}

/// Sends 60 descriptors with each of many complete frames that need none.
fn descriptors_then_frames(attacker: &mut Attacker) -> io::Result<()> {
    let link = link()?;
    let file = File::open("/dev/null")?;
    let (numbers, frame) = ([file.as_raw_fd(); 60], WorkerFrame::Ready.encode());
    attacker.repeat(|_random| {
        let _accepted = send(&link, &frame, &numbers);
        Ok(())
    })
}

/// Sends a stream of valid frames without a pause.
fn endless_frames(attacker: &mut Attacker) -> io::Result<()> {
    let link = link()?;
    let frames = WorkerFrame::Ready.encode().repeat(1000);
    attacker.repeat(|_random| {
        let sent = send(&link, &frames, &[]).unwrap_or(0);
        // The rest of a frame that was sent in part.
        let part = sent % WorkerFrame::Ready.encode().len();
        if part > 0 {
            let rest = &WorkerFrame::Ready.encode()[part..];
            while send(&link, rest, &[]).is_err() {}
        }
        Ok(())
    })
}

/// Sends answers for tasks that do not exist without a pause.
fn endless_answers(attacker: &mut Attacker) -> io::Result<()> {
    let link = link()?;
    let mut stream = File::from(link.duplicate.try_clone()?);
    SockRef::from(&link.duplicate).set_nonblocking(false)?;
    attacker.repeat(|random| {
        let id = random.number();
        let answer = WorkerFrame::Finished { turn: id, id, attempt: 1, shared: None };
        stream.write_all(&answer.encode())
    })
}

/// Answers a task that does not exist.
fn answer_of_unknown_task(attacker: &mut Attacker) -> io::Result<()> {
    let id = attacker.random.number();
    send_frame(WorkerFrame::Finished { turn: id, id, attempt: 1, shared: None })
}

/// Answers the tasks that it may be sent next.
fn answer_of_next_tasks(_attacker: &mut Attacker) -> io::Result<()> {
    for id in 0..64 {
        send_frame(WorkerFrame::Finished { turn: id, id, attempt: 1, shared: None })?;
    }
    Ok(())
}

/// Refers to a memory file that it does not send.
fn answer_without_memory_file(attacker: &mut Attacker) -> io::Result<()> {
    send_frame(shared_answer(attacker.random.number(), 1 << 20))
}

/// Sends a memory file that is shorter than it claims.
fn answer_of_short_memory_file(attacker: &mut Attacker) -> io::Result<()> {
    let file = sparse(10)?;
    let answer = shared_answer(attacker.random.number(), 1 << 20);
    send(&link()?, &answer.encode(), &[file.as_raw_fd()])?;
    Ok(())
}

/// Sends a memory file of 3 GiB that uses no memory, for a task that does not exist.
fn answer_of_sparse_memory_file(attacker: &mut Attacker) -> io::Result<()> {
    let file = sparse(3 << 30)?;
    let answer = shared_answer(attacker.random.number(), 3 << 30);
    send(&link()?, &answer.encode(), &[file.as_raw_fd()])?;
    Ok(())
}

/// Sends descriptors that are no memory files, from which reading never ends.
fn answer_of_own_descriptors(attacker: &mut Attacker) -> io::Result<()> {
    let (pipe, _other) = nix::unistd::pipe()?;
    let endless = File::open("/dev/zero")?;
    for descriptor in [pipe.as_raw_fd(), endless.as_raw_fd()] {
        let answer = shared_answer(attacker.random.number(), 1 << 20);
        send(&link()?, &answer.encode(), &[descriptor])?;
    }
    Ok(())
}

/// Reports a second time that it is ready.
fn ready_again(_attacker: &mut Attacker) -> io::Result<()> {
    send_frame(WorkerFrame::Ready)
}

/// Says that it leaves, and goes on.
fn leaves_and_stays(_attacker: &mut Attacker) -> io::Result<()> {
    send_frame(WorkerFrame::Leaving)
}

/// Says that it leaves, and does nothing more.
fn leaves_and_sleeps(_attacker: &mut Attacker) -> io::Result<()> {
    send_frame(WorkerFrame::Leaving)?;
    sleep_for_ever()
}

/// Closes its descriptors of the link, and goes on.
fn link_closed(_attacker: &mut Attacker) -> io::Result<()> {
    for link in links()? {
        nix::unistd::close(link.number)?;
    }
    Ok(())
}

fn shut_down(how: std::net::Shutdown) -> io::Result<()> {
    links()?.iter().try_for_each(|link| SockRef::from(&link.duplicate).shutdown(how))
}

/// Shuts down the link.
fn link_shut_down(_attacker: &mut Attacker) -> io::Result<()> {
    shut_down(std::net::Shutdown::Both)
}

/// Shuts down the link for writing.
fn link_shut_down_for_writing(_attacker: &mut Attacker) -> io::Result<()> {
    shut_down(std::net::Shutdown::Write)
}

/// Shuts down the link for reading, so that the parent cannot send.
fn link_shut_down_for_reading(_attacker: &mut Attacker) -> io::Result<()> {
    shut_down(std::net::Shutdown::Read)
}

/// Makes the link block.
fn link_blocking(_attacker: &mut Attacker) -> io::Result<()> {
    links()?.iter().try_for_each(|link| SockRef::from(&link.duplicate).set_nonblocking(false))
}

/// Stops itself about when its answer is sent.
fn stops_around_answer(attacker: &mut Attacker) -> io::Result<()> {
    let delay = Duration::from_micros(attacker.random.below(400));
    std::thread::spawn(move || {
        std::thread::sleep(delay);
        let _stopped = kill(getpid(), Signal::SIGSTOP);
    });
    Ok(())
}
