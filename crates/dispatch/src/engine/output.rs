//! Forwards the output of workers, within limits, so that no worker can keep the parent busy.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;

use actix_daemon::{ChildId, Pid};
use daemon_core::MonotonicTime;
use daemon_forkserver::now;
use futures::channel::oneshot;
use futures::future::Shared;
use futures::{FutureExt, select_biased};
use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::{Engine, SharedEngine};
use crate::output_limit::{CHUNK, DropReport, DroppedOutput, OutputBudget};
use crate::request::CowStr;
use crate::talkback::{LineKind, QueueResult, report};
use crate::worker_output::{OutputPipe, OutputRead, OutputStream, RecordSplitter, skip_lines};

/// The maximum number of records that are reported before other tasks of the event loop run.
const RECORDS_PER_TURN: usize = 64;

/// The maximum number of bytes that are read from a pipe after its worker has exited. The pipe is
/// then closed even if another process still writes to it.
const REST_MAX: usize = 1024 * 1024;

/// Completes when the worker has exited.
pub(super) type WorkerExit = Shared<oneshot::Receiver<()>>;

/// What the tasks for all pipes share.
#[derive(Debug)]
pub(super) struct OutputShare {
    limit: u64,
    budget: RefCell<OutputBudget>,
    /// Only one pipe is read at a time, and only one chunk is read in each turn of the event loop.
    /// So the time that output takes in a turn does not depend on the number of workers.
    buffer: Mutex<Box<[u8]>>,
}

impl OutputShare {
    pub(super) fn new(limit: u64) -> Rc<OutputShare> {
        Rc::new(OutputShare {
            limit,
            budget: RefCell::new(OutputBudget::of_all_workers(limit)),
            buffer: Mutex::new(vec![0; CHUNK].into_boxed_slice()),
        })
    }
}

/// The pipes of one worker.
pub(super) struct WorkerPipes {
    pub(super) child: ChildId,
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
    pub(super) exit: oneshot::Receiver<()>,
}

/// Forwards the output of a worker until it has exited, or until all writers have closed the pipes.
pub(super) fn forward_output(engine: &SharedEngine, pipes: WorkerPipes) {
    let WorkerPipes { child, out, err, exit } = pipes;
    let share = Rc::clone(&engine.borrow().output);
    let budget = Rc::new(RefCell::new(OutputBudget::of_worker(share.limit)));
    let exit = exit.shared();
    for (pipe, stream) in [(out, OutputStream::Stdout), (err, OutputStream::Stderr)] {
        match OutputPipe::new(pipe) {
            Ok(pipe) => {
                let forwarding = Forwarding {
                    engine: Rc::clone(engine),
                    share: Rc::clone(&share),
                    budget: Rc::clone(&budget),
                    pipe,
                    printed: Printed {
                        child,
                        stream,
                        records: RecordSplitter::default(),
                        report: DropReport::default(),
                        method: CowStr::Borrowed("-"),
                        worker: None,
                    },
                };
                actix_rt::spawn(forwarding.run(exit.clone()));
            }
            Err(error) => report!(
                engine.borrow().events, warn,
                "cannot read the output of a worker, the output is lost";
                "slot" => child.slot.get(), "error" => error.to_string()
            ),
        }
    }
}

/// Why a task that forwards output continues.
enum Wakeup {
    MayHaveData,
    ReportDue,
    Exited,
}

/// Whether there is more output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// This number of bytes was read.
    Read(usize),
    /// The pipe is empty.
    Empty,
    /// All writers have closed the pipe.
    Closed,
}

/// The task that forwards the output of one pipe.
struct Forwarding {
    engine: SharedEngine,
    share: Rc<OutputShare>,
    budget: Rc<RefCell<OutputBudget>>,
    pipe: OutputPipe,
    printed: Printed,
}

/// The output of a stream, and what became of it.
struct Printed {
    child: ChildId,
    stream: OutputStream,
    records: RecordSplitter,
    report: DropReport,
    /// The method that the worker ran last. The output of its last moments, and of its
    /// subprocesses, belongs to this method.
    method: CowStr,
    worker: Option<Pid>,
}

impl Forwarding {
    async fn run(mut self, mut exit: WorkerExit) {
        loop {
            match self.wait(&mut exit).await {
                Wakeup::MayHaveData => match self.read().await {
                    Progress::Read(_) | Progress::Empty => {}
                    Progress::Closed => break,
                },
                Wakeup::ReportDue => {}
                Wakeup::Exited => {
                    self.read_rest().await;
                    break;
                }
            }
            let dropped = self.printed.report.take_due(now());
            self.printed.log_dropped(&self.engine.borrow(), dropped);
        }
        self.finish();
    }

    async fn wait(&mut self, mut exit: &mut WorkerExit) -> Wakeup {
        let time = now();
        let delay = self.budget.borrow().read_delay(time);
        let delay = delay.max(self.share.budget.borrow().read_delay(time));
        let due = self.printed.report.due();
        let pipe = &mut self.pipe;
        let mut may_have_data = pin!(
            async {
                if !delay.is_zero() {
                    pipe.stop_watching();
                    sleep(delay).await;
                }
                pipe.readable().await;
            }
            .fuse()
        );
        let mut report_due = pin!(wait_until(due).fuse());
        select_biased! {
            // An error means that the sender was dropped, which is what happens to it.
            _ = exit => Wakeup::Exited,
            () = report_due => Wakeup::ReportDue,
            () = may_have_data => Wakeup::MayHaveData,
        }
    }

    /// Reads once from the pipe and forwards what was read.
    async fn read(&mut self) -> Progress {
        let share = Rc::clone(&self.share);
        let mut buffer = share.buffer.lock().await;
        let time = now();
        self.budget.borrow_mut().count_read(time);
        share.budget.borrow_mut().count_read(time);
        let length = match self.pipe.read(&mut buffer) {
            OutputRead::Bytes(length) => length,
            OutputRead::Nothing => return Progress::Empty,
            OutputRead::Closed => return Progress::Closed,
        };
        let mut bytes = buffer.get(..length).unwrap_or_default();
        while !bytes.is_empty() {
            self.forward(&mut bytes);
            yield_now().await;
        }
        Progress::Read(length)
    }

    /// Forwards a limited number of records.
    fn forward(&mut self, bytes: &mut &[u8]) {
        let mut engine = self.engine.borrow_mut();
        let mut own = self.budget.borrow_mut();
        let mut all = self.share.budget.borrow_mut();
        self.printed.identify(&mut engine);
        self.printed.forward(&mut engine, &mut own, &mut all, bytes);
    }

    /// Forwards what a worker left in its pipe when it exited.
    async fn read_rest(&mut self) {
        let mut read = 0;
        while read < REST_MAX {
            match self.read().await {
                Progress::Read(length) => read += length,
                Progress::Empty | Progress::Closed => return,
            }
        }
    }

    /// Forwards the last record, and reports what was dropped.
    fn finish(self) {
        let Forwarding { engine, budget, mut printed, .. } = self;
        printed.finish(&mut engine.borrow_mut(), &mut budget.borrow_mut());
    }
}

impl Printed {
    fn identify(&mut self, engine: &mut Engine) {
        if let Some(method) = engine.method_of(self.child) {
            self.method = method;
        }
        self.worker = engine.pid_of(self.child).or(self.worker);
    }

    fn forward(
        &mut self,
        engine: &mut Engine,
        own: &mut OutputBudget,
        all: &mut OutputBudget,
        bytes: &mut &[u8],
    ) {
        let time = now();
        for _ in 0..RECORDS_PER_TURN {
            let Some(record) = self.records.next_record(bytes) else { return };
            let is_admitted = own.admit(record.len(), time) && all.admit(record.len(), time);
            let sent = if is_admitted {
                engine.log_output(self.child, self.stream, &self.method, record)
            } else {
                QueueResult::Dropped
            };
            match sent {
                QueueResult::Queued => {}
                QueueResult::Dropped => {
                    let mut dropped = DroppedOutput::line(record.len());
                    // The other lines that were read at the same time would be dropped, too.
                    let (lines, length) = skip_lines(bytes);
                    dropped.add(DroppedOutput { bytes: length, lines });
                    self.drop_output(engine, dropped, time);
                }
            }
        }
    }

    fn drop_output(&mut self, engine: &mut Engine, dropped: DroppedOutput, time: MonotonicTime) {
        self.report.add(dropped, time);
        engine.dropped_output.add(dropped);
    }

    fn finish(&mut self, engine: &mut Engine, budget: &mut OutputBudget) {
        let time = now();
        if let Some(record) = self.records.last_record() {
            let dropped = DroppedOutput::line(record.len());
            let sent = if budget.admit(record.len(), time) {
                engine.log_output(self.child, self.stream, &self.method, record)
            } else {
                QueueResult::Dropped
            };
            if sent == QueueResult::Dropped {
                self.drop_output(engine, dropped, time);
            }
        }
        let dropped = self.report.take();
        self.log_dropped(engine, dropped);
    }

    fn log_dropped(&self, engine: &Engine, dropped: Option<DroppedOutput>) {
        let Some(DroppedOutput { bytes, lines }) = dropped else { return };
        report!(
            engine.events, warn, "worker output dropped";
            "worker" => self.worker.map_or_else(|| "-".to_owned(), |worker| worker.to_string()), "slot" => self.child.slot.get(),
            "stream" => self.stream.word(), "bytes" => bytes, "lines" => lines
        );
    }
}

/// Completes at this time, or never.
async fn wait_until(due: Option<MonotonicTime>) {
    match due {
        Some(due) => sleep(due.saturating_since(now())).await,
        None => std::future::pending().await,
    }
}

impl Engine {
    /// Reports a record that a worker printed.
    fn log_output(
        &self,
        child: ChildId,
        stream: OutputStream,
        method: &str,
        record: &[u8],
    ) -> QueueResult {
        let (slot, word, line) =
            (child.slot.index(), stream.word(), String::from_utf8_lossy(record));
        match &self.events.recipient {
            Some(recipient) => {
                recipient.push(LineKind::Output, format_args!("{word}:{slot} {method}: {line}"))
            }
            None => {
                slog::info!(
                    self.events.log, "worker output";
                    "slot" => slot, "stream" => word, "method" => method, "line" => line.as_ref()
                );
                QueueResult::Queued
            }
        }
    }
}
