//! A worker's life: it takes orders from its link, one at a time, and answers each.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;

use actix_daemon::{ChildHandle, ShutdownReason, UpdateStatus, Updated};
use daemon_core::{FinishResult, StartResult};
use daemon_forkserver::now;
use daemon_sys::link::LinkEnd;
use daemon_sys::watch;
use futures::{FutureExt, select_biased};
use serde::Serialize;
use slog::{Logger, error, warn};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::body::{self, Body};
use crate::call::Call;
use crate::claims::SharedClaims;
use crate::frame::{
    BodyLocation, CompletionKind, FinishedTask, Flushed, FrameReader, FrameWriter, Received,
    SendFailure, TaskOrder, WorkerMessage, retry_delay,
};
use crate::link;
use crate::methods::{Done, Invocation, Methods};
use crate::panics;

/// What a worker is born with: its end of the link, and where its standard output and error go.
pub(crate) type WorkerFds = (OwnedFd, OwnedFd, OwnedFd);

/// Lives a worker's life.
pub(crate) async fn run(
    child: ChildHandle,
    endowed: WorkerFds,
    methods: Rc<Methods>,
    claims: SharedClaims,
    log: Logger,
) {
    let (link, out, err) = endowed;
    if let Err(why) = child.redirect_output(out, err) {
        error!(log, "what is printed stays where it was: {}", why);
    }
    panics::install_hook();
    actix_rt::spawn(body::trim());
    if let Some(init) = &methods.hooks.fork_init {
        init();
    }
    match Worker::new(child, link, methods, claims, log.clone()) {
        Ok(mut worker) => {
            // The parent is gone, or the link is broken: there is nothing to stay for.
            if let Err(error) = worker.work().await {
                error!(log, "the link to the dispatcher is broken: {}", error);
            }
        }
        Err(error) => error!(log, "the link to the dispatcher cannot be used: {}", error),
    }
}

struct Worker {
    child: ChildHandle,
    slot: usize,
    methods: Rc<Methods>,
    claims: SharedClaims,
    end: LinkEnd,
    watch: AsyncFd<OwnedFd>,
    inbox: FrameReader,
    outbox: FrameWriter,
    /// Answers that the parent may still be about to read, by their turns.
    told: VecDeque<(u64, Body)>,
    /// What the scoreboard says that it does.
    label: String,
    farewell: Told,
    log: Logger,
}

/// Whether the parent knows that it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

/// An order that is taken in: what its frame says, apart from the frame.
struct Task {
    turn: u64,
    attempt: u32,
    method: u16,
    call: Call,
    body: Body,
}

/// Why it looks up.
enum Woken {
    /// Something has come over the link.
    Come,
    ToldToLeave(ShutdownReason),
    /// Nothing has come for a while.
    Idle,
}

/// Whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

impl Worker {
    fn new(
        child: ChildHandle,
        link: OwnedFd,
        methods: Rc<Methods>,
        claims: SharedClaims,
        log: Logger,
    ) -> io::Result<Worker> {
        let watch = watch::readable(link.try_clone()?).map_err(broken)?;
        Ok(Worker {
            slot: child.slot().index(),
            child,
            methods,
            claims,
            end: LinkEnd::from(link),
            watch,
            inbox: FrameReader::default(),
            outbox: FrameWriter::default(),
            told: VecDeque::new(),
            label: String::new(),
            farewell: Told::No,
            log,
        })
    }

    async fn work(&mut self) -> io::Result<()> {
        // A seat that is another's by now is found out by the parent.
        let _ = self.child.update_status(UpdateStatus::Wait);
        self.tell(&WorkerMessage::Ready, &Body::EMPTY).await?;
        let child = self.child.clone();
        let mut leaving = pin!(child.wait_for_shutdown().fuse());
        loop {
            while let Some(task) = self.next_task()? {
                if self.serve(task).await? == Next::Leave {
                    return Ok(());
                }
            }
            let woken = {
                let mut come = pin!(self.watch.readable().fuse());
                let mut idle = pin!(self.idle().fuse());
                select_biased! {
                    ready = come => {
                        drop(ready?);
                        Woken::Come
                    }
                    reason = leaving => Woken::ToldToLeave(reason),
                    () = idle => Woken::Idle,
                }
            };
            match woken {
                Woken::Come => {
                    if link::receive(&mut self.inbox, &self.end, &self.watch)? == Received::Closed {
                        return Ok(());
                    }
                }
                // What was accepted is still done, until the parent has no more.
                Woken::ToldToLeave(ShutdownReason::Stopping) => {}
                Woken::ToldToLeave(_) => {
                    self.tell_leaving()?;
                    return self.flush().await;
                }
                Woken::Idle => self.use_again_what_was_heard(),
            }
        }
    }

    /// Ends when nothing has come for a while, if there is something to put away then.
    async fn idle(&self) {
        if self.told.is_empty() {
            std::future::pending::<()>().await;
        } else {
            sleep(body::IDLE_MAX).await;
        }
    }

    /// The next order that was not taken back.
    fn next_task(&mut self) -> io::Result<Option<Task>> {
        loop {
            let Some((order, frame_body)) = self.inbox.next::<TaskOrder<'_>>().map_err(broken)?
            else {
                return Ok(None);
            };
            let TaskOrder { turn, id, attempt, method, name, from, soft, body } = order;
            let begun = now();
            let claimed = self.claims.start(self.slot, turn, begun);
            let (name, from, place) = match claimed {
                StartResult::Started => (name, from, body),
                StartResult::Revoked => {
                    // Its memory, if it has any, is to go too.
                    frame_body.discard(body);
                    continue;
                }
            };
            // A name is short: who has sent it has seen to that.
            let child = Some(self.child.clone());
            let call = Call::new(id, name, from, attempt, soft, begun, child);
            let body = frame_body.read(place).map_err(broken)?;
            return Ok(Some(Task { turn, attempt, method, call, body }));
        }
    }

    async fn serve(&mut self, task: Task) -> io::Result<Next> {
        let Task { turn, attempt, method, call, body } = task;
        let _ = self.child.update_status(UpdateStatus::Req);
        if self.label != call.method_name() {
            call.method_name().clone_into(&mut self.label);
            self.child.label(&self.label);
        }
        if self.child.will_leave().is_some_and(|reason| reason != ShutdownReason::Stopping) {
            self.tell_leaving()?;
            self.flush().await?;
        }
        self.use_again_what_was_heard();
        let done = match self.methods.start(method, &call, body) {
            Invocation::Finished(done) => done,
            Invocation::Pending(running) => self.methods.wait_for(&call, running).await,
        };
        // What is printed without an end of line is printed now, while it is this method's.
        let _ = io::stdout().flush();
        let took = call.elapsed();
        let (end, body) = match told(done) {
            Ok(told) => told,
            // Its words are few.
            Err(error) => (CompletionKind::Error, Body::of(&error.to_string()).map_err(broken)?),
        };
        match self.claims.finish(self.slot, turn) {
            FinishResult::Finished => {}
            // It is being killed for what it did; nobody waits for the answer.
            FinishResult::Aborted => std::future::pending().await,
        }
        let id = call.id().0;
        let answer =
            FinishedTask { turn, id, attempt, took, kind: end, body: BodyLocation::of(&body) };
        self.tell(&WorkerMessage::Finished(answer), &body).await?;
        if body.is_pooled() {
            self.told.push_back((turn, body));
        }
        Ok(match self.child.update_status(UpdateStatus::Done) {
            Ok(Updated::Leaving(reason)) if reason != ShutdownReason::Stopping => Next::Leave,
            Ok(_) => Next::GoOn,
            Err(_the_seat_is_another_s) => Next::Leave,
        })
    }

    /// The parent hears answers in the order in which they were told.
    fn use_again_what_was_heard(&mut self) {
        let is_heard = |(turn, _): &(u64, Body)| self.claims.is_acknowledged(self.slot, *turn);
        let heard = self.told.iter().take_while(|told| is_heard(told)).count();
        drop(self.told.drain(..heard));
    }

    fn tell_leaving(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.farewell, Told::Yes) {
            Told::Yes => Ok(()),
            Told::No => self.push(&WorkerMessage::Leaving, &Body::EMPTY),
        }
    }

    fn push(&mut self, word: &impl Serialize, body: &Body) -> io::Result<()> {
        self.outbox.push(word, body).map_err(broken)
    }

    async fn tell(&mut self, word: &WorkerMessage, body: &Body) -> io::Result<()> {
        self.push(word, body)?;
        self.flush().await
    }

    /// Sends all there is before anything else is begun: what is done is known then, whatever
    /// becomes of what comes next. What the system is short of is waited for.
    async fn flush(&mut self) -> io::Result<()> {
        let mut vain = 0;
        loop {
            let trouble = match self.outbox.flush(&self.end) {
                Ok(Flushed::All) => return Ok(()),
                Ok(Flushed::WouldBlock) => match link::writable(&self.end).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match SendFailure::of(&trouble) {
                SendFailure::PeerClosed => return Err(trouble),
                SendFailure::Transient if vain == 0 => {
                    warn!(
                        self.log,
                        "an answer cannot be sent at present, and it is tried again: {}", trouble
                    );
                }
                SendFailure::Transient => {}
            }
            sleep(retry_delay(vain)).await;
            vain = vain.saturating_add(1);
        }
    }
}

fn told(done: Done) -> Result<(CompletionKind, Body), crate::body::EncodeError> {
    Ok(match done {
        Done::Value(body) => (CompletionKind::Value, body),
        Done::Failed(message) => (CompletionKind::Error, Body::of(&message)?),
        Done::TimedOut(message) => (CompletionKind::TimedOut, Body::of(&message)?),
        Done::InvalidParams(why) => (CompletionKind::BadParams, Body::of(&why)?),
        Done::Panicked { message, backtrace } => {
            (CompletionKind::Panicked, Body::of(&(message, backtrace))?)
        }
    })
}
