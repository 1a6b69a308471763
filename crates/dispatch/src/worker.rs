//! The main loop of a worker: it receives tasks from its link, runs one at a time, and sends the
//! results.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use actix_daemon::dispatching::RequestReporter;
use actix_daemon::{ChildHandle, ShutdownReason, UpdateStatus, Updated};
use daemon_core::{FinishResult, StartResult};
use daemon_forkserver::channel::{Channel, Received};
use daemon_forkserver::now;
use daemon_sys::link::LinkEnd;
use daemon_sys::watch;
use futures::{FutureExt, select_biased};
use serde::Serialize;
use slog::{Logger, error, warn};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::body::{self, Body, SHARED_FROM};
use crate::call::Call;
use crate::claims::SharedClaims;
use crate::frame::{
    self, ANSWER_LIMITS, BodyLocation, CompletionKind, FAILED_SENDS_MAX, FinishedTask, LinkChannel,
    ORDER_LIMITS, SendFailure, TaskOrder, WorkerMessage, retry_delay,
};
use crate::link;
use crate::methods::{self, HandlerOutcome, Invocation, Methods};

/// How long a worker whose task was aborted waits to be killed. Then it exits by itself.
const ABORTED_MAX: Duration = Duration::from_secs(10);

/// How long a worker waits for its next task in the receive itself, before it waits for other
/// events as well. Tasks that come one at a time then need one system call less.
const RECEIVE_WAIT: Duration = Duration::from_millis(1);

/// How long a worker runs tasks and waits for them before its runtime handles other events, such as
/// signals. Only a longer task delays them for longer.
const TURN_MAX: Duration = Duration::from_millis(5);

/// The descriptors of a worker: its ends of the link, for its messages and for its tasks, and the
/// pipes for standard output and error.
pub(crate) type WorkerFds = (OwnedFd, OwnedFd, OwnedFd, OwnedFd);

/// Runs the worker until it is shut down or its link is closed.
pub(crate) async fn run(
    child: ChildHandle,
    fds: WorkerFds,
    methods: Rc<Methods>,
    claims: SharedClaims,
    log: Logger,
) {
    let (answers, orders, out, err) = fds;
    if let Err(error) = child.redirect_output(out, err) {
        error!(log, "cannot redirect worker output"; "error" => error.to_string());
    }
    methods::install_panic_hook();
    actix_rt::spawn(body::trim());
    if let Some(init) = &methods.hooks.fork_init {
        init();
    }
    match WorkerLoop::new(child, (answers, orders), methods, claims, log.clone()) {
        Ok(mut worker) => {
            // An error means that the parent has exited or the link is broken, so the worker exits.
            if let Err(error) = worker.work().await {
                error!(log, "link to the dispatcher broken"; "error" => error.to_string());
            }
        }
        Err(error) => {
            error!(log, "cannot use the link to the dispatcher"; "error" => error.to_string());
        }
    }
}

struct WorkerLoop {
    child: ChildHandle,
    /// Reports tasks on the scoreboard, which methods cannot.
    requests: RequestReporter,
    slot: usize,
    methods: Rc<Methods>,
    claims: SharedClaims,
    /// The tasks arrive here.
    orders: LinkChannel,
    /// The worker sends its messages here.
    answers: LinkChannel,
    watch: AsyncFd<OwnedFd>,
    /// Results in pooled memory that the parent has not acknowledged yet, each with the turn of its
    /// task, which is the number of the task among the tasks of this slot.
    unacknowledged: VecDeque<(u64, Body)>,
    /// The label on the scoreboard.
    label: String,
    /// Whether the worker has reported that it is leaving.
    has_announced_leaving: bool,
    log: Logger,
}

/// A decoded task that this worker has claimed.
struct ClaimedTask {
    turn: u64,
    attempt: u32,
    method: u16,
    call: Call,
    body: Body,
}

/// Why the loop was woken.
enum WakeReason {
    /// The link is readable.
    Readable,
    Shutdown(ShutdownReason),
    /// Results are unacknowledged, and no data has arrived for [`body::IDLE_MAX`].
    Idle,
}

fn io_error(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

impl WorkerLoop {
    fn new(
        child: ChildHandle,
        (answers, orders): (OwnedFd, OwnedFd),
        methods: Rc<Methods>,
        claims: SharedClaims,
        log: Logger,
    ) -> io::Result<WorkerLoop> {
        let watch = watch::readable(orders.try_clone()?).map_err(io_error)?;
        let mut orders = LinkEnd::from(orders);
        orders.wait_in_receive(RECEIVE_WAIT)?;
        Ok(WorkerLoop {
            slot: child.slot().index(),
            requests: child.take_over_requests(),
            child,
            methods,
            claims,
            orders: Channel::new(orders, ORDER_LIMITS),
            answers: Channel::new(LinkEnd::from(answers), ANSWER_LIMITS),
            watch,
            unacknowledged: VecDeque::new(),
            label: String::new(),
            has_announced_leaving: false,
            log,
        })
    }

    async fn work(&mut self) -> io::Result<()> {
        // This fails if the slot already belongs to another child. The parent detects that itself.
        let _ = self.requests.update(UpdateStatus::Wait);
        self.send(&WorkerMessage::Ready, &Body::EMPTY).await?;
        let child = self.child.clone();
        let mut shutdown = pin!(child.wait_for_shutdown().fuse());
        let mut turn = now();
        loop {
            let mut has_served = false;
            while let Some(task) = self.next_task()? {
                if self.serve(task).await?.is_break() {
                    self.announce_leaving()?;
                    return self.flush().await.map(drop);
                }
                has_served = true;
            }
            if has_served && now().saturating_since(turn) < TURN_MAX {
                match self.orders.receive()? {
                    Received::More | Received::Drained => continue,
                    Received::Closed => return Ok(()),
                }
            }
            let reason = {
                let mut readable = pin!(self.watch.readable().fuse());
                let mut idle = pin!(self.idle().fuse());
                select_biased! {
                    ready = readable => {
                        drop(ready?);
                        WakeReason::Readable
                    }
                    reason = shutdown => WakeReason::Shutdown(reason),
                    () = idle => WakeReason::Idle,
                }
            };
            turn = now();
            match reason {
                WakeReason::Readable => match self.orders.receive()? {
                    Received::More => {}
                    Received::Drained => link::clear_readable(&self.watch),
                    Received::Closed => return Ok(()),
                },
                // On a graceful shutdown, the worker runs the requests that the dispatcher has
                // already accepted, until the parent closes the link.
                WakeReason::Shutdown(ShutdownReason::Stopping) => {}
                WakeReason::Shutdown(_) => {
                    self.announce_leaving()?;
                    return self.flush().await.map(drop);
                }
                WakeReason::Idle => self.recycle_acknowledged(),
            }
        }
    }

    /// Completes after [`body::IDLE_MAX`] if there are buffers to recycle. Never completes
    /// otherwise.
    async fn idle(&self) {
        if self.unacknowledged.is_empty() {
            std::future::pending::<()>().await;
        } else {
            sleep(body::IDLE_MAX).await;
        }
    }

    /// Returns the next task that has not been revoked. Returns `None` if no complete task has been
    /// received.
    fn next_task(&mut self) -> io::Result<Option<ClaimedTask>> {
        loop {
            let Some((order, rest)) = self.orders.next::<TaskOrder<'_>>()? else {
                return Ok(None);
            };
            let TaskOrder { turn, id, attempt, method, name, from, soft, body } = order;
            let started = now();
            let claimed = self.claims.start(self.slot, turn, started);
            let (name, from, location) = match claimed {
                StartResult::Started => (name, from, body),
                StartResult::Revoked => {
                    // Release the shared memory of the task, if it has any.
                    drop(body.discard(rest));
                    continue;
                }
            };
            let child = Some(self.child.clone());
            let call = Call::new(id, name, from, attempt, soft, started, child);
            let body = location.read(rest)?;
            return Ok(Some(ClaimedTask { turn, attempt, method, call, body }));
        }
    }

    /// Runs a task and sends its result. Breaks if the worker must leave.
    async fn serve(&mut self, task: ClaimedTask) -> io::Result<ControlFlow<()>> {
        let ClaimedTask { turn, attempt, method, call, body } = task;
        let _ = self.requests.update(UpdateStatus::Req);
        if self.label != call.method_name() {
            call.method_name().clone_into(&mut self.label);
            self.child.label(&self.label);
        }
        if self.child.will_leave().is_some_and(|reason| reason != ShutdownReason::Stopping) {
            self.announce_leaving()?;
            self.flush().await?;
        }
        self.recycle_acknowledged();
        let outcome = match self.methods.start(method, &call, body) {
            Invocation::Finished(outcome) => outcome,
            Invocation::Pending(running) => self.methods.wait_for(&call, running).await,
        };
        // Flush the output now, so that a last line without a newline is attributed to this method.
        let _ = io::stdout().flush();
        let took = call.elapsed();
        let (kind, body) = match encode(outcome, self.methods.result_limit.max(SHARED_FROM)) {
            Ok(encoded) => encoded,
            // The error's text is short, so it can be encoded.
            Err(error) => {
                let text = format!("cannot return the error of the method: {error}");
                (CompletionKind::Error, Body::of(&text).map_err(io_error)?)
            }
        };
        match self.claims.finish(self.slot, turn) {
            FinishResult::Finished => {}
            // The parent is killing this worker, and has already answered the request. If the claim
            // is damaged instead, the worker must end too, because it cannot answer.
            FinishResult::Aborted => {
                sleep(ABORTED_MAX).await;
                return Err(io::Error::other("the claim of the running task is not valid"));
            }
        }
        let id = call.id().0;
        let answer = FinishedTask { turn, id, attempt, took, kind, body: BodyLocation::of(&body) };
        self.send_answer(answer, &body).await?;
        if body.is_pooled() {
            self.unacknowledged.push_back((turn, body));
        }
        let done = self.requests.update(UpdateStatus::Done);
        // The parent sends no more tasks to a worker that has announced that it leaves, also if the
        // daemon has begun to stop since.
        if self.has_announced_leaving {
            return Ok(ControlFlow::Break(()));
        }
        Ok(match done {
            Ok(Updated::Leaving(reason)) if reason != ShutdownReason::Stopping => {
                ControlFlow::Break(())
            }
            Ok(_) => ControlFlow::Continue(()),
            Err(_slot_taken_over) => ControlFlow::Break(()),
        })
    }

    /// Returns buffers to the pool after the parent has read them. The parent reads the buffers in
    /// order.
    fn recycle_acknowledged(&mut self) {
        let is_acknowledged =
            |(turn, _): &(u64, Body)| self.claims.is_acknowledged(self.slot, *turn);
        let count = self.unacknowledged.iter().take_while(|sent| is_acknowledged(sent)).count();
        drop(self.unacknowledged.drain(..count));
    }

    fn announce_leaving(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_announced_leaving, true) {
            return Ok(());
        }
        self.push(&WorkerMessage::Leaving, &Body::EMPTY)
    }

    fn push(&mut self, message: &impl Serialize, body: &Body) -> io::Result<()> {
        // The worker never removes frames, so they need no numbers.
        frame::queue(&mut self.answers, 0, message, body).map_err(io_error)
    }

    async fn send(&mut self, message: &WorkerMessage, body: &Body) -> io::Result<()> {
        self.push(message, body)?;
        self.flush().await.map(drop)
    }

    /// Sends an answer. If its body finds no free descriptor, sends this as the error of the method.
    async fn send_answer(&mut self, answer: FinishedTask, body: &Body) -> io::Result<()> {
        self.push(&WorkerMessage::Finished(answer.clone()), body)?;
        let Some(error) = self.flush().await? else { return Ok(()) };
        // Nothing of the answer has been sent.
        self.answers.retain(|_number| false);
        let text = format!("cannot return the result of the method: {error}");
        let body = Body::of(&text).map_err(io_error)?;
        let (kind, location) = (CompletionKind::Error, BodyLocation::of(&body));
        let answer = FinishedTask { kind, body: location, ..answer };
        self.send(&WorkerMessage::Finished(answer), &body).await
    }

    /// Sends all unsent messages. The next task starts only after that, so that no result is lost
    /// if the next task crashes. A failed send is retried until it succeeds or the link is closed.
    /// Returns the error if the body of a message finds no free descriptor for long.
    async fn flush(&mut self) -> io::Result<Option<io::Error>> {
        let mut failures = 0;
        loop {
            let error = match self.answers.flush() {
                Ok(()) if !self.answers.has_unsent() => return Ok(None),
                Ok(()) => match link::writable(&self.answers).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match SendFailure::of(&error) {
                SendFailure::PeerClosed | SendFailure::Permanent => return Err(error),
                SendFailure::Transient if failures == 0 => {
                    warn!(
                        self.log, "cannot send to the dispatcher, retrying";
                        "error" => error.to_string()
                    );
                }
                SendFailure::Transient => {}
            }
            if failures >= FAILED_SENDS_MAX && self.answers.next_attached().is_some() {
                return Ok(Some(error));
            }
            sleep(retry_delay(failures)).await;
            failures = failures.saturating_add(1);
        }
    }
}

/// Encodes an outcome. A text of more than `limit` bytes is an error.
fn encode(
    outcome: HandlerOutcome,
    limit: usize,
) -> Result<(CompletionKind, Body), crate::body::EncodeError> {
    let text = |text: String| Body::within(&text, limit);
    Ok(match outcome {
        HandlerOutcome::Value(body) => (CompletionKind::Value, body),
        HandlerOutcome::Failed(message) => (CompletionKind::Error, text(message)?),
        HandlerOutcome::TimedOut(message) => (CompletionKind::TimedOut, text(message)?),
        HandlerOutcome::InvalidParams(reason) => (CompletionKind::BadParams, text(reason)?),
        HandlerOutcome::Panicked { message, backtrace } => {
            (CompletionKind::Panicked, Body::within(&(message, backtrace), limit)?)
        }
    })
}
