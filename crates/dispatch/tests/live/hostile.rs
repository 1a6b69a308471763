//! Workers that misbehave on purpose, or whose memory is damaged. Each loses only its own task, is
//! killed and is replaced. It costs the parent neither memory nor descriptors nor time.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use actix_daemon::Daemon;
use actix_dispatch::{
    Bytes, Call, Cancel, CancelOutcome, DispatcherBuilder, Failure, IfRunning, LimitKind,
    NewRequest,
};
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, sendmsg, shutdown};
use nix::unistd::{Pid, ftruncate};
use serde::{Deserialize, Serialize};

use super::fixture::{Collector, TestDispatcher, builder, touch, wait_until, with_dispatcher};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_worker_that_closes_its_link_and_stays_loses_only_its_task", closes_its_link),
    ("a_worker_that_sends_invalid_messages_loses_only_its_task", invalid_messages),
    ("a_worker_that_stops_before_it_answers_is_replaced_without_a_limit_too", stops_before_answer),
    ("a_worker_that_damages_its_claim_is_replaced", damages_its_claim),
    ("a_hard_limit_ends_in_an_answer_whatever_the_worker_does", hard_limit),
    ("memory_files_of_a_hostile_worker_are_refused_unread", memory_files),
    ("a_worker_that_sends_messages_without_end_does_not_block_the_parent", floods),
    ("a_worker_that_is_never_ready_is_replaced", never_ready),
    ("a_worker_that_clears_the_flags_of_its_link_changes_nothing", clears_flags),
    ("a_worker_that_does_not_read_costs_the_parent_no_memory_for_cancelled_tasks", does_not_read),
    ("a_worker_cannot_change_the_parameters_that_the_parent_keeps", changes_parameters),
    ("a_result_above_the_limit_is_a_failure_with_both_sizes", above_the_limit),
    ("the_parent_does_other_work_while_it_reads_the_largest_result", largest_result),
    ("the_answers_behind_a_large_one_and_the_exit_of_its_worker_wait_for_it", exit_behind_large),
];

/// What a worker does in its task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Misdeed {
    Park,
    CloseLink,
    ShutDown,
    ShutDownWriting,
    HalfMessage,
    Garbage,
    Empty,
    Huge,
    ReadyAgain,
    LeaveTwice,
    Leave,
    UnknownTask,
    StopAfterFinish,
    FinishAndPark,
    FinishHalfAnswer,
    DamageClaim,
    OfferAgain,
    StartInTheFuture,
    StartInThePast,
    ManyDescriptors,
    DescriptorsWithoutFrames,
    SparseForUnknownTask,
    Sparse,
    DenseWithoutSeal,
    MuchLarger,
    TooShort,
    PipeAsBody,
    DirectoryAsBody,
    NoDescriptor,
    FloodReady,
    FloodUnknown,
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

/// Returns the descriptors of the worker's sockets.
fn sockets() -> Vec<RawFd> {
    named_sockets().into_iter().map(|(number, _name)| number).collect()
}

/// Returns the sockets of this process with their names, which are equal for copies.
fn named_sockets() -> Vec<(RawFd, PathBuf)> {
    (3..256)
        .filter_map(|number| Some((number, fs::read_link(format!("/proc/self/fd/{number}")).ok()?)))
        .filter(|(_number, name)| name.to_string_lossy().starts_with("socket:"))
        .collect()
}

/// Returns the socket on which this worker sends: the first of which it has no copy. It has a copy
/// of the one on which it receives, for the runtime.
fn sending() -> RawFd {
    let all = named_sockets();
    let is_single =
        |name: &PathBuf| all.iter().filter(|(_number, other)| other == name).count() == 1;
    all.iter().find(|(_number, name)| is_single(name)).expect("the worker has a link").0
}

/// Sends bytes and descriptors over the link. Waits while the link is full.
fn send(bytes: &[u8], descriptors: &[RawFd]) {
    let link = sending();
    let control = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &control };
    let bytes = [IoSlice::new(bytes)];
    while sendmsg::<()>(link, &bytes, control, MsgFlags::MSG_NOSIGNAL, None)
        == Err(nix::errno::Errno::EAGAIN)
    {
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn frame(head: &impl Serialize) -> Vec<u8> {
    let head = postcard::to_extend(head, Vec::new()).unwrap();
    [&u32::try_from(head.len()).unwrap().to_le_bytes(), head.as_slice()].concat()
}

const READY: u32 = 0;
const LEAVING: u32 = 1;

/// Returns an answer whose body has `length` bytes in a memory file.
fn answer(turn: u64, call: &Call, length: u64) -> Vec<u8> {
    let id: u64 = call.id().to_string().parse().unwrap();
    frame(&(2_u32, turn, id, call.attempt(), Duration::ZERO, 0_u32, (1_u32, length)))
}

/// The claim of the running task: its address, and the number of the task.
struct RunningClaim {
    address: u64,
    turn: u64,
}

impl RunningClaim {
    /// Finds the claim in the memory that is shared with the parent: a word with a task's number
    /// and the state `started`, before the time of the start. The claims of former workers have
    /// earlier times.
    fn find() -> RunningClaim {
        let memory = File::open("/proc/self/mem").unwrap();
        let now = daemon_forkserver::now().as_nanos();
        let mut latest = None;
        for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
            let Some((range, rest)) = line.split_once(' ') else { continue };
            if !rest.starts_with("rw-s") || !rest.contains("/dev/zero") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let address = |text| u64::from_str_radix(text, 16).unwrap();
            let (start, end) = (address(start), address(end));
            let mut bytes = vec![0; (end - start) as usize];
            memory.read_exact_at(&mut bytes, start).unwrap();
            for (at, pair) in (start..).step_by(16).zip(bytes.chunks_exact(16)) {
                let word = u64::from_le_bytes(pair[..8].try_into().unwrap());
                let time = u64::from_le_bytes(pair[8..].try_into().unwrap());
                let is_recent = (now.saturating_sub(60_000_000_000)..=now).contains(&time);
                if word & 7 == 2 && word >> 3 < 1_000_000 && is_recent {
                    latest = latest.max(Some((time, at, word >> 3)));
                }
            }
        }
        let (_time, address, turn) = latest.expect("the claim is in memory");
        RunningClaim { address, turn }
    }

    fn set(&self, state: u64) {
        self.write(0, self.turn << 3 | state);
    }

    fn set_start(&self, time: u64) {
        self.write(8, time);
    }

    fn write(&self, offset: u64, word: u64) {
        let memory = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
        memory.write_all_at(&word.to_le_bytes(), self.address + offset).unwrap();
    }
}

fn memory_file(size: i64, seals: SealFlag) -> OwnedFd {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = memfd_create("hostile", flags).unwrap();
    ftruncate(&file, size).unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file
}

const SEALED: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);
const GIB: u64 = 1 << 30;

fn answer_with(call: &Call, length: u64, body: RawFd) {
    send(&answer(RunningClaim::find().turn, call, length), &[body]);
}

fn commit(call: &Call, misdeed: Misdeed) {
    let process = Pid::this();
    match misdeed {
        Misdeed::Park => {}
        Misdeed::CloseLink => sockets().into_iter().for_each(|fd| nix::unistd::close(fd).unwrap()),
        Misdeed::ShutDown => {
            sockets().into_iter().for_each(|fd| shutdown(fd, Shutdown::Both).unwrap());
        }
        Misdeed::ShutDownWriting => shutdown(sending(), Shutdown::Write).unwrap(),
        Misdeed::HalfMessage => send(&[200, 0, 0, 0, 2], &[]),
        Misdeed::Garbage => send(&[7; 1000], &[]),
        Misdeed::Empty => send(&[0; 4], &[]),
        Misdeed::Huge => send(&[255; 4], &[]),
        Misdeed::ReadyAgain => send(&frame(&READY), &[]),
        Misdeed::LeaveTwice => send(&frame(&LEAVING).repeat(2), &[]),
        Misdeed::Leave => send(&frame(&LEAVING), &[]),
        Misdeed::UnknownTask => {
            send(&frame(&(2_u32, 999_u64, 9_u64, 1_u32, Duration::MAX, 0_u32, 0_u32)), &[]);
        }
        Misdeed::StopAfterFinish => {
            RunningClaim::find().set(4);
            kill(process, Signal::SIGSTOP).unwrap();
        }
        Misdeed::FinishAndPark => RunningClaim::find().set(4),
        Misdeed::FinishHalfAnswer => {
            RunningClaim::find().set(4);
            send(&[200, 0, 0, 0, 2], &[]);
        }
        Misdeed::DamageClaim => RunningClaim::find().write(0, u64::MAX),
        Misdeed::OfferAgain => {
            // The parent has observed that the task was started.
            std::thread::sleep(Duration::from_millis(2500));
            RunningClaim::find().set(1);
        }
        Misdeed::StartInTheFuture => RunningClaim::find().set_start(u64::MAX),
        Misdeed::StartInThePast => RunningClaim::find().set_start(0),
        Misdeed::ManyDescriptors => send(&[9, 0, 0], &[sending(); 200]),
        Misdeed::DescriptorsWithoutFrames => (0..10).for_each(|_| send(&[0], &[sending()])),
        Misdeed::SparseForUnknownTask => {
            let file = memory_file(3 << 30, SEALED);
            send(&answer(999, call, 3 * GIB), &[file.as_raw_fd()]);
        }
        Misdeed::Sparse => answer_with(call, 3 * GIB, memory_file(3 << 30, SEALED).as_raw_fd()),
        Misdeed::DenseWithoutSeal => {
            let file = memory_file(1 << 20, SealFlag::F_SEAL_GROW);
            answer_with(call, 1 << 20, file.as_raw_fd());
            ftruncate(&file, 0).unwrap();
        }
        Misdeed::MuchLarger => answer_with(call, 70_000, memory_file(3 << 30, SEALED).as_raw_fd()),
        Misdeed::TooShort => answer_with(call, 1 << 21, memory_file(1 << 20, SEALED).as_raw_fd()),
        Misdeed::PipeAsBody => answer_with(call, 70_000, std::io::pipe().unwrap().0.as_raw_fd()),
        Misdeed::DirectoryAsBody => answer_with(call, 100, File::open("/").unwrap().as_raw_fd()),
        Misdeed::NoDescriptor => send(&answer(RunningClaim::find().turn, call, 70_000), &[]),
        Misdeed::FloodReady => loop {
            send(&frame(&READY).repeat(1000), &[]);
        },
        Misdeed::FloodUnknown => {
            let head = frame(&(2_u32, 999_u64, 9_u64, 1_u32, Duration::ZERO, 0_u32, 0_u32));
            loop {
                send(&head.repeat(1000), &[]);
            }
        }
    }
}

fn with_misdeeds() -> DispatcherBuilder {
    builder(1).method("misdeed", |call: &Call, misdeed: Misdeed| -> Result<(), String> {
        commit(call, misdeed);
        park()
    })
}

/// The parent's own memory in bytes.
fn memory() -> usize {
    let mut text = String::new();
    File::open("/proc/self/statm").unwrap().read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The longest time that a request may take although its worker misbehaves. The machine may be
/// busy.
const BOUND: Duration = Duration::from_secs(15);

/// Lets workers misbehave, one after the other. Each loses its task, and another worker runs the
/// next task.
async fn lose(test: &TestDispatcher, misdeeds: &[Misdeed]) {
    let mut worker: u32 = test.call("pid", ()).await.unwrap();
    let (memory_before, before) = (memory(), descriptors());
    for misdeed in misdeeds {
        let begun = Instant::now();
        let failure = test.call::<()>("misdeed", misdeed).await.unwrap_err();
        let time = begun.elapsed();
        assert!(matches!(failure, Failure::WorkerLost { .. }), "{misdeed:?}: {failure:?}");
        assert!(time < BOUND, "{misdeed:?}: answered after {time:?}");
        let next: u32 = test.call("pid", ()).await.unwrap();
        assert_ne!(next, worker, "{misdeed:?}");
        worker = next;
    }
    let grown = memory().saturating_sub(memory_before);
    assert!(grown < 16 << 20, "the parent has {grown} more bytes of memory");
    wait_until("the parent has no more descriptors than before", async || descriptors() <= before)
        .await;
}

fn closes_its_link() {
    with_dispatcher(with_misdeeds(), async |test| {
        lose(&test, &[Misdeed::CloseLink, Misdeed::ShutDown, Misdeed::ShutDownWriting]).await;
    });
}

fn invalid_messages() {
    let misdeeds = [
        Misdeed::HalfMessage,
        Misdeed::Garbage,
        Misdeed::Empty,
        Misdeed::Huge,
        Misdeed::ReadyAgain,
        Misdeed::LeaveTwice,
        Misdeed::UnknownTask,
        Misdeed::NoDescriptor,
    ];
    with_dispatcher(with_misdeeds(), async move |test| lose(&test, &misdeeds).await);
}

fn stops_before_answer() {
    with_dispatcher(with_misdeeds(), async |test| {
        lose(&test, &[Misdeed::StopAfterFinish, Misdeed::FinishAndPark, Misdeed::FinishHalfAnswer])
            .await;
    });
}

fn damages_its_claim() {
    with_dispatcher(with_misdeeds(), async |test| {
        lose(&test, &[Misdeed::DamageClaim, Misdeed::OfferAgain]).await;
    });
}

fn hard_limit() {
    let misdeeds = [
        Misdeed::Park,
        Misdeed::StartInTheFuture,
        Misdeed::StartInThePast,
        Misdeed::StopAfterFinish,
        Misdeed::FinishHalfAnswer,
        Misdeed::HalfMessage,
        Misdeed::Leave,
        Misdeed::CloseLink,
        Misdeed::DamageClaim,
    ];
    with_dispatcher(with_misdeeds(), async move |test| {
        let limit = Duration::from_millis(300);
        for misdeed in misdeeds {
            let begun = Instant::now();
            let request = NewRequest::to("misdeed").params(misdeed).hard_limit(limit);
            let failure = test.send(request).await.unwrap_err();
            let time = begun.elapsed();
            let is_hard = failure == Failure::TimedOut { kind: LimitKind::Hard, limit };
            let is_lost = matches!(failure, Failure::WorkerLost { .. });
            assert!(is_hard || is_lost, "{misdeed:?}: {failure:?}");
            assert!(time < BOUND, "{misdeed:?}: answered after {time:?}");
            match misdeed {
                Misdeed::Park
                | Misdeed::Leave
                | Misdeed::StartInTheFuture
                | Misdeed::StartInThePast => {
                    assert!(is_hard && time >= limit, "{misdeed:?}: {failure:?} after {time:?}");
                }
                _other => {}
            }
            assert_eq!(test.call::<String>("echo", "next").await.unwrap(), "next");
        }
    });
}

fn memory_files() {
    let misdeeds = [
        Misdeed::ManyDescriptors,
        Misdeed::DescriptorsWithoutFrames,
        Misdeed::SparseForUnknownTask,
        Misdeed::Sparse,
        Misdeed::DenseWithoutSeal,
        Misdeed::MuchLarger,
        Misdeed::TooShort,
        Misdeed::PipeAsBody,
        Misdeed::DirectoryAsBody,
    ];
    with_dispatcher(with_misdeeds(), async move |test| lose(&test, &misdeeds).await);
}

/// Measures the longest time that the event loop of the parent was blocked, until it is stopped.
fn measure_blocking() -> (actix_rt::task::JoinHandle<()>, std::rc::Rc<std::cell::Cell<Duration>>) {
    let longest = std::rc::Rc::new(std::cell::Cell::new(Duration::ZERO));
    let noted = std::rc::Rc::clone(&longest);
    let measure = actix_rt::spawn(async move {
        loop {
            let begun = Instant::now();
            tokio::task::yield_now().await;
            noted.set(noted.get().max(begun.elapsed()));
        }
    });
    (measure, longest)
}

fn floods() {
    with_dispatcher(with_misdeeds(), async |test| {
        lose(&test, &[Misdeed::FloodReady, Misdeed::FloodUnknown]).await;
    });
}

fn never_ready() {
    let file = std::env::temp_dir().join(format!("dispatch-never-ready-{}", std::process::id()));
    let path = file.display().to_string();
    let seen = path.clone();
    let builder = builder(1)
        .pre_fork(0)
        .daemon(Daemon::builder().boot_timeout(Duration::from_millis(500)))
        .fork_init(move || {
            if !std::path::Path::new(&seen).exists() {
                touch(&seen);
                park();
            }
        });
    with_dispatcher(builder, async move |test| {
        assert_eq!(test.call::<String>("echo", "second").await.unwrap(), "second");
        fs::remove_file(path).unwrap();
    });
}

fn clears_flags() {
    let builder = builder(1).method("clear", |_call, (): ()| {
        for fd in sockets() {
            fcntl(copy_of(fd), FcntlArg::F_SETFL(OFlag::empty()))
                .map_err(|errno| errno.to_string())?;
        }
        Ok::<_, String>(std::process::id())
    });
    with_dispatcher(builder, async |test| {
        let cleared: u32 = test.call("clear", ()).await.unwrap();
        for _time in 0..100 {
            assert_eq!(test.call::<String>("echo", "x").await.unwrap(), "x");
        }
        assert_eq!(test.call::<u32>("pid", ()).await.unwrap(), cleared);
    });
}

/// Returns a copy of a descriptor, which shares its flags.
fn copy_of(fd: RawFd) -> OwnedFd {
    let (one, other) = daemon_sys::link::pair().unwrap();
    let sent = [ControlMessage::ScmRights(&[fd])];
    let bytes = [IoSlice::new(&[0])];
    sendmsg::<()>(one.as_fd().as_raw_fd(), &bytes, &sent, MsgFlags::empty(), None).unwrap();
    let mut copies = VecDeque::new();
    other.receive(&mut [0], &mut copies).unwrap();
    copies.pop_front().unwrap()
}

/// Tries to change all memory files of a process. Returns the number of files, and of the
/// successful changes.
fn spoil(process: u32) -> (usize, usize) {
    let (mut files, mut changes) = (0, 0);
    for entry in fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten() {
        let name = fs::read_link(entry.path()).unwrap_or_default();
        let file = OpenOptions::new().read(true).write(true).open(entry.path());
        let (true, Ok(file)) = (name.to_string_lossy().contains("memfd:task"), file) else {
            continue;
        };
        files += 1;
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let tried = [
            file.write_all_at(&[9; 4096], 0).is_ok(),
            file.set_len(0).is_ok(),
            file.set_len(1 << 30).is_ok(),
            fallocate(&file, hole, 0, 65_536).is_ok(),
            fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).is_ok(),
            OpenOptions::new().write(true).truncate(true).open(entry.path()).is_ok(),
        ];
        changes += tried.into_iter().filter(|is_changed| *is_changed).count();
    }
    (files, changes)
}

fn changes_parameters() {
    let builder = builder(1)
        .method("spoil", |_call, (process, _bulk): (u32, Bytes)| Ok::<_, String>(spoil(process)));
    with_dispatcher(builder, async |test| {
        let bulk = Bytes::from(vec![3; 1 << 20]);
        let (own, received) = Collector::start();
        let request = NewRequest::to("spoil").params((std::process::id(), &bulk));
        let reply = test.send(request.upon_result(own.recipient())).await.unwrap();
        let (files, changes): (usize, usize) = reply.value().unwrap();
        assert!(files > 0, "the parent has a memory file");
        assert_eq!(changes, 0);
        wait_until("the result is delivered", async || received.borrow().len() == 1).await;
        let (_process, kept): (u32, Bytes) = received.borrow()[0].request.params().unwrap();
        assert_eq!(kept, bulk);
    });
}

/// Cancels many requests that were sent to a stopped worker. The link accepts only the first ones.
fn does_not_read() {
    with_dispatcher(builder(1), async |test| {
        let worker: u32 = test.call("pid", ()).await.unwrap();
        let worker = Pid::from_raw(i32::try_from(worker).unwrap());
        kill(worker, Signal::SIGSTOP).unwrap();
        let before = memory();
        for nth in 0..3000 {
            // A part of the parameters are in memory files.
            let text = "x".repeat(if nth % 10 == 0 { 100_000 } else { 50_000 });
            let request = NewRequest::to("echo").params(text);
            let token = request.cancellation_token();
            let mut pending = std::pin::pin!(test.0.dispatcher.send(request));
            assert!(futures::poll!(&mut pending).is_pending());
            assert_eq!(test.stats().await.in_flight, 1, "the request was sent to the worker");
            let cancel = Cancel { token, if_running: IfRunning::LetFinish };
            let outcome = test.0.cancel.send(cancel).await.unwrap();
            assert_eq!(outcome, CancelOutcome::Dequeued);
            let failure = pending.await.unwrap().unwrap_err();
            assert!(matches!(failure, Failure::Cancelled { .. }), "{failure:?}");
        }
        let grown = memory().saturating_sub(before);
        assert!(grown < 64 << 20, "the parent has {grown} more bytes of memory");
        kill(worker, Signal::SIGCONT).unwrap();
        assert_eq!(test.call::<String>("echo", "after").await.unwrap(), "after");
    });
}

fn above_the_limit() {
    let builder = builder(1).result_limit(100_000).method("bytes", |_call, size: usize| {
        if size == 7 { Err("x".repeat(200_000)) } else { Ok(Bytes::from(vec![1; size])) }
    });
    with_dispatcher(builder, async |test| {
        let before: u32 = test.call("pid", ()).await.unwrap();
        assert_eq!(test.call::<Bytes>("bytes", 99_995).await.unwrap().len(), 99_995);
        let failure = test.call::<Bytes>("bytes", 99_996).await.unwrap_err();
        let expected = "cannot return the result: too large: 100001 bytes, the maximum is 100000 \
                        (result_limit)";
        assert_eq!(failure, Failure::Failed { message: expected.to_owned() });
        let failure = test.call::<Bytes>("bytes", 7).await.unwrap_err();
        let expected = "cannot return the error of the method: too large: 200005 bytes, the \
                        maximum is 100000";
        assert_eq!(failure, Failure::Failed { message: expected.to_owned() });
        assert_eq!(test.call::<u32>("pid", ()).await.unwrap(), before, "the worker continues");
    });
}

fn largest_result() {
    let builder = builder(2)
        .method("bytes", |_call, size: usize| Ok::<_, String>(Bytes::from(vec![1; size])));
    with_dispatcher(builder, async |test| {
        let size = (64 << 20) - 5;
        let (measure, longest) = measure_blocking();
        let pending: Vec<_> = (0..6)
            .map(|_nth| test.0.dispatcher.send(NewRequest::to("bytes").params(size)))
            .collect();
        for answer in pending {
            let reply = answer.await.unwrap().unwrap();
            assert_eq!(reply.length(), 64 << 20);
        }
        measure.abort();
        println!("the parent was blocked for at most {:?}", longest.get());
        // Reading the result at once takes about 50 ms on an idle machine. The bound allows for a
        // busy machine.
        assert!(longest.get() < Duration::from_secs(1), "blocked for {:?}", longest.get());
    });
}

/// A worker sends a large answer and exits while the parent reads it.
fn exit_behind_large() {
    let builder = builder(1)
        .max_requests(1)
        .method("bytes", |_call, size: usize| Ok::<_, String>(Bytes::from(vec![1; size])));
    with_dispatcher(builder, async |test| {
        let pending: Vec<_> = (0..8)
            .map(|nth| NewRequest::to("bytes").params((10_usize << 20) + nth))
            .map(|request| test.0.dispatcher.send(request))
            .collect();
        for (nth, answer) in pending.into_iter().enumerate() {
            let bytes: Bytes = answer.await.unwrap().unwrap().value().unwrap();
            assert_eq!(bytes.len(), (10 << 20) + nth);
        }
        let stats = test.stats().await;
        assert_eq!((stats.answered, stats.failed, stats.late), (8, 0, 0), "{stats:?}");
    });
}
