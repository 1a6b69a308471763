//! Tests that the preludes of `actix` and `actix-daemon`, and all names of `actix-dispatch`, can be
//! imported with `*` in the same module.

/// The imports of a program that uses everything. A name that several of these imports define is
/// ambiguous.
mod program {
    pub(super) use actix::prelude::*;
    pub(super) use actix_daemon::dispatching::*;
    pub(super) use actix_daemon::prelude::*;
    pub(super) use actix_daemon::*;
    pub(super) use actix_dispatch::*;
}

// An import by name fails to compile if the name is ambiguous.
#[expect(unused_imports, reason = "the imports themselves are the test")]
use program::{
    AnonymousMethod, Bytes, Call, Cancel, CancelOutcome, CancellationToken, Class, DeadLetter,
    Dispatcher, DispatcherActor, DispatcherBuilder, Failure, FallbackRequest, GetDeadLetters,
    GetStats, IdleOrder, IfRunning, Lane, LaunchedDispatcher, LimitKind, NewRequest, Rejection,
    Reply, RequestDone, RequestId, RequestInfo, RequestState, RunTask, RunningDispatcher, Stats,
    Talkback, Task, TaskResult, WorkerDaemon,
};

#[expect(unused_imports, reason = "the imports themselves are the test")]
use program::{
    AcceptState, Accepted, Babysit, BabysitterActor, ChildAcceptor, ChildActor, ChildExited,
    ChildForked, ChildHandle, ChildId, ChildReport, CommandError, ConfigError, Connection,
    Counters, Daemon, DaemonAccept, DaemonActor, DaemonBuilder, DaemonChild, DaemonError,
    DaemonHup, DaemonOperatorPause, DaemonParent, DaemonPause, DaemonPhase, DaemonReload,
    DaemonShutdown, DaemonStart, Decoder, Detail, Encoder, Evidence, Exit, ExitCause, ForeignChild,
    ForeignChildError, ForeignExited, Frame, GetStatus, HandOver, HandOverError,
    HandOverErrorReason, HandedOver, HandlerResult, Jitter, Kill, KillReason, KillRogue, Ladder,
    LadderError, LadderStep, Launched, Listen, MemoryMeasure, Model, ModelKind, OnDemand, OnHup,
    OperatorPause, ParentAcceptor, Pause, PauseOutcome, Peek, Phase, Pid, PostFork, PreFork,
    ProcessReport, ProcessRole, Program, RecycleReason, RegisterWith, Reload, ReloadStarted,
    Reopen, ReopenError, Report, ReportError, ReportTable, Reporter, RequestFactory, Resize,
    Resized, Resource, Resume, Retire, RogueChild, RogueStep, Serde, SessionId, SetLabel,
    SetQueueDepth, SetSize, Shutdown, ShutdownReason, ShutdownStarted, SlotNumber, Solo,
    StatusError, StopMode, StreamSocket, Subscribe, Trace, TraceChild, TraceError, Transfer,
    TransferError, UpdateStatus, Updated, Violation, WaitUntilStopped,
};

#[expect(unused_imports, reason = "the imports themselves are the test")]
use program::{
    Actor, ActorContext, ActorFutureExt, Addr, Arbiter, AsyncContext, Context, Handler,
    MailboxError, Message, MessageResult, Recipient, Request, Response, ResponseFuture, Running,
    SendError, SpawnHandle, StreamHandler, Supervised, Supervisor, System, WrapFuture,
};

#[test]
fn daemon_and_dispatch_can_be_imported_together() {
    // The test is that this file compiles. The assertion proves that the names are those of the two
    // crates.
    let names = [std::any::type_name::<Dispatcher>(), std::any::type_name::<Daemon>()];
    assert!(names[0].starts_with("actix_dispatch::") && names[1].starts_with("actix_daemon::"));
}
