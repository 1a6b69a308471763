//! Forwards the output of workers, within limits, so that no worker can keep the parent busy.
//!
//! In each turn of the engine, one chunk of one pipe is read, or a limited number of records of the
//! chunk that was read last is reported. So the time that output takes in a turn does not depend on
//! the number of workers.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::task::{Context, Waker};

use actix_daemon::{ChildId, Pid};
use daemon_core::MonotonicTime;
use daemon_forkserver::now;

use super::{Engine, Input};
use crate::output_limit::{CHUNK, DropReport, DroppedOutput, OutputBudget};
use crate::request::CowStr;
use crate::talkback::{EventLog, LineKind, report};
pub(crate) use crate::worker_output::OutputStream;
use crate::worker_output::{OutputPipe, OutputRead, RecordSplitter, WATCH_RETRY, skip_lines};

/// The maximum number of records that are reported before other tasks of the event loop run.
const RECORDS_PER_TURN: usize = 64;

/// The maximum number of bytes that are read from a pipe after its worker has exited. The pipe is
/// then closed even if another process still writes to it.
const REST_MAX: usize = 1024 * 1024;

const STREAMS: [OutputStream; 2] = [OutputStream::Stdout, OutputStream::Stderr];

type PipeId = (ChildId, OutputStream);

/// The output of all workers.
#[derive(Debug)]
pub(super) struct WorkerOutputs {
    limit: u64,
    /// The limits of all workers together.
    budget: OutputBudget,
    workers: HashMap<ChildId, WorkerOutput>,
    pipes: HashMap<PipeId, Pipe>,
    /// The pipes that may be readable.
    ready: VecDeque<PipeId>,
    buffer: Box<[u8]>,
    /// The pipe of the chunk in the buffer, and the bytes that have not been reported.
    chunk: Option<(PipeId, Range<usize>)>,
    /// The output that was dropped since the start.
    dropped: DroppedOutput,
}

/// What the pipes of a worker share.
#[derive(Debug)]
struct WorkerOutput {
    budget: OutputBudget,
    /// The method that the worker ran last. The output of its last moments, and of its
    /// subprocesses, belongs to this method.
    method: CowStr,
    pid: Option<Pid>,
    has_exited: bool,
}

/// A pipe to which a worker prints.
#[derive(Debug)]
struct Pipe {
    pipe: OutputPipe,
    waker: Waker,
    records: RecordSplitter,
    report: DropReport,
    is_queued: bool,
    /// How much is still read from the pipe after its worker has exited, in bytes.
    rest: usize,
}

impl WorkerOutputs {
    pub(super) fn new(limit: u64) -> WorkerOutputs {
        WorkerOutputs {
            limit,
            budget: OutputBudget::of_all_workers(limit),
            workers: HashMap::new(),
            pipes: HashMap::new(),
            ready: VecDeque::new(),
            buffer: vec![0; CHUNK].into_boxed_slice(),
            chunk: None,
            dropped: DroppedOutput::default(),
        }
    }

    /// Returns the amount of output that was dropped since the start.
    pub(super) fn dropped(&self) -> DroppedOutput {
        self.dropped
    }

    /// Notes that a pipe may be readable.
    fn set_ready(&mut self, child: ChildId, stream: OutputStream) {
        if let Some(pipe) = self.pipes.get_mut(&(child, stream))
            && !std::mem::replace(&mut pipe.is_queued, true)
        {
            self.ready.push_back((child, stream));
        }
    }

    /// Handles the exit of a worker. What it left in its pipes is still forwarded.
    pub(super) fn worker_exited(&mut self, child: ChildId) {
        if let Some(worker) = self.workers.get_mut(&child) {
            worker.has_exited = true;
            for stream in STREAMS {
                self.set_ready(child, stream);
            }
            self.forget_if_closed(child);
        }
    }

    /// Forgets a worker whose pipes have been closed.
    fn forget_if_closed(&mut self, child: ChildId) {
        if !STREAMS.iter().any(|stream| self.pipes.contains_key(&(child, *stream))) {
            self.workers.remove(&child);
        }
    }
}

impl Engine {
    /// Forwards the output of a worker until it has exited, or until all writers have closed the
    /// pipes.
    pub(super) fn add_outputs(&mut self, child: ChildId, out: OwnedFd, err: OwnedFd) {
        let worker = WorkerOutput {
            budget: OutputBudget::of_worker(self.outputs.limit),
            method: CowStr::Borrowed("-"),
            pid: None,
            has_exited: false,
        };
        self.outputs.workers.insert(child, worker);
        for (fd, stream) in [(out, OutputStream::Stdout), (err, OutputStream::Stderr)] {
            match OutputPipe::new(fd) {
                Ok(pipe) => {
                    let pipe = Pipe {
                        pipe,
                        waker: self.sender.waker(move || Input::OutputReady(child, stream)),
                        records: RecordSplitter::default(),
                        report: DropReport::default(),
                        is_queued: false,
                        rest: REST_MAX,
                    };
                    self.outputs.pipes.insert((child, stream), pipe);
                    self.watch_output((child, stream));
                }
                Err(error) => report!(
                    self.events, warn,
                    "cannot read the output of a worker, the output is lost";
                    "slot" => child.slot.get(), "error" => error.to_string()
                ),
            }
        }
    }

    /// Queues a pipe when it is readable.
    pub(super) fn watch_output(&mut self, id: PipeId) {
        let (child, stream) = id;
        let has_exited = self.outputs.workers.get(&child).is_none_or(|worker| worker.has_exited);
        let Some(pipe) = self.outputs.pipes.get_mut(&id) else { return };
        if has_exited {
            self.outputs.set_ready(child, stream);
            return;
        }
        match pipe.pipe.poll_readable(&mut Context::from_waker(&pipe.waker)) {
            Ok(true) => self.outputs.set_ready(child, stream),
            Ok(false) => {}
            // The system is short of memory or of descriptors. Reading an empty pipe is harmless.
            Err(_error) => {
                self.sender.send_later(WATCH_RETRY, Input::OutputReady(child, stream));
            }
        }
    }

    /// Forwards a limited amount of output, if there is any. Returns whether there is more.
    pub(super) fn forward_output(&mut self) -> bool {
        if self.outputs.chunk.is_none() && !self.read_output() {
            return !self.outputs.ready.is_empty();
        }
        let Some((id, range)) = self.outputs.chunk.take() else { return false };
        let rest = self.forward_records(id, range);
        if rest.is_empty() {
            self.watch_output(id);
        } else {
            self.outputs.chunk = Some((id, rest));
        }
        self.outputs.chunk.is_some() || !self.outputs.ready.is_empty()
    }

    /// Reads a chunk from the pipe that has waited longest. Returns whether there is a chunk.
    fn read_output(&mut self) -> bool {
        let Some(id) = self.outputs.ready.pop_front() else { return false };
        let WorkerOutputs { budget: all, workers, pipes, buffer, .. } = &mut self.outputs;
        let (child, stream) = id;
        let Some(pipe) = pipes.get_mut(&id) else { return false };
        let Some(worker) = workers.get_mut(&child) else { return false };
        pipe.is_queued = false;
        let time = now();
        let delay = worker.budget.read_delay(time).max(all.read_delay(time));
        if !delay.is_zero() && !worker.has_exited {
            pipe.pipe.stop_watching();
            self.sender.send_later(delay, Input::OutputReady(child, stream));
            return false;
        }
        worker.budget.count_read(time);
        all.count_read(time);
        let length = match pipe.pipe.read(buffer) {
            OutputRead::Bytes(length) if !worker.has_exited => length,
            OutputRead::Bytes(length) if pipe.rest > 0 => {
                pipe.rest = pipe.rest.saturating_sub(length);
                length
            }
            OutputRead::Nothing if !worker.has_exited => {
                self.watch_output(id);
                return false;
            }
            OutputRead::Bytes(_) | OutputRead::Nothing | OutputRead::Closed => {
                self.finish_output(id);
                return false;
            }
        };
        self.outputs.chunk = Some((id, 0..length));
        true
    }

    /// Reports a limited number of records in a part of the buffer. Returns the rest of this part.
    fn forward_records(&mut self, id: PipeId, range: Range<usize>) -> Range<usize> {
        let (child, _stream) = id;
        let (method, pid) = (self.method_of(child), self.pid_of(child));
        let WorkerOutputs { budget: all, workers, pipes, buffer, dropped, .. } = &mut self.outputs;
        let Some(worker) = workers.get_mut(&child) else { return 0..0 };
        let Some(pipe) = pipes.get_mut(&id) else { return 0..0 };
        worker.method = method.unwrap_or_else(|| worker.method.clone());
        worker.pid = pid.or(worker.pid);
        let time = now();
        let mut bytes = buffer.get(range.clone()).unwrap_or_default();
        let (mut lost, own) = (DroppedOutput::default(), &mut worker.budget);
        for _ in 0..RECORDS_PER_TURN {
            let Some(record) = pipe.records.next_record(&mut bytes) else { break };
            let is_admitted = own.admit(record.len(), time) && all.admit(record.len(), time);
            if !is_admitted || !log_output(&mut self.events, id, &worker.method, record) {
                lost.add(DroppedOutput::line(record.len()));
                // The other lines that were read at the same time would be dropped, too.
                let (lines, length) = skip_lines(&mut bytes);
                lost.add(DroppedOutput { bytes: length, lines });
            }
        }
        let rest = range.end - bytes.len()..range.end;
        dropped.add(lost);
        self.drop_output(id, lost, time);
        rest
    }

    /// Adds dropped output to the next report of its pipe.
    fn drop_output(&mut self, id: PipeId, lost: DroppedOutput, time: MonotonicTime) {
        let Some(pipe) = self.outputs.pipes.get_mut(&id) else { return };
        let is_scheduled = pipe.report.due().is_some();
        pipe.report.add(lost, time);
        if let Some(due) = pipe.report.due()
            && !is_scheduled
        {
            let (child, stream) = id;
            let delay = due.saturating_since(time);
            self.sender.send_later(delay, Input::OutputReportDue(child, stream));
        }
    }

    /// Reports the dropped output of a pipe if the report is due.
    pub(super) fn report_dropped_output(&mut self, child: ChildId, stream: OutputStream) {
        let id = (child, stream);
        let Some(pipe) = self.outputs.pipes.get_mut(&id) else { return };
        let time = now();
        match (pipe.report.take_due(time), pipe.report.due()) {
            (None, Some(due)) => {
                let delay = due.saturating_since(time);
                self.sender.send_later(delay, Input::OutputReportDue(child, stream));
            }
            (dropped, _) => self.log_dropped(id, dropped),
        }
    }

    /// Forwards the last record of a pipe, reports what was dropped, and closes the pipe.
    fn finish_output(&mut self, id: PipeId) {
        let (child, _stream) = id;
        let WorkerOutputs { workers, pipes, dropped, .. } = &mut self.outputs;
        let Some(mut pipe) = pipes.remove(&id) else { return };
        let Some(worker) = workers.get_mut(&child) else { return };
        let time = now();
        if let Some(record) = pipe.records.last_record() {
            let is_admitted = worker.budget.admit(record.len(), time);
            if !is_admitted || !log_output(&mut self.events, id, &worker.method, record) {
                let lost = DroppedOutput::line(record.len());
                dropped.add(lost);
                pipe.report.add(lost, time);
            }
        }
        self.log_dropped(id, pipe.report.take());
        self.outputs.forget_if_closed(child);
    }

    fn log_dropped(&mut self, (child, stream): PipeId, dropped: Option<DroppedOutput>) {
        let Some(DroppedOutput { bytes, lines }) = dropped else { return };
        let pid = self.outputs.workers.get(&child).and_then(|worker| worker.pid);
        let worker = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        report!(
            self.events, warn, "worker output dropped";
            "worker" => worker, "slot" => child.slot.get(),
            "stream" => stream.word(), "bytes" => bytes, "lines" => lines
        );
    }
}

/// Reports a record that a worker printed. Returns `false` if the record was dropped.
fn log_output(events: &mut EventLog, (child, stream): PipeId, method: &str, record: &[u8]) -> bool {
    let (slot, word, line) = (child.slot.index(), stream.word(), String::from_utf8_lossy(record));
    match &mut events.recipient {
        Some(recipient) => {
            recipient.queue.push(LineKind::Output, format_args!("{word}:{slot} {method}: {line}"))
        }
        None => {
            slog::info!(
                events.log, "worker output";
                "slot" => slot, "stream" => word, "method" => method, "line" => line.as_ref()
            );
            true
        }
    }
}
