//! Runs a program as a daemon that is controlled through actix actors. The daemon forks children
//! for requests, keeps a scoreboard, writes a log, drops privileges, handles signals, reloads, and
//! shuts down gracefully.
//!
//! This crate is a port of the Perl module `POE::Component::Daemon`, which this documentation calls
//! *the original*.
//!
//! # Theory of operation
//!
//! A process that runs an async runtime must not fork, because the parent and the child would share
//! one event queue. Therefore only the *fork server* forks children. The fork server is a process
//! with one thread and no runtime, and is started at the launch. A new child therefore has no
//! runtime either, and creates an actix System of its own.
//!
//! ```text
//! $ mydaemon
//!   |- parent          one actix System: DaemonActor, your sessions
//!   |     |  commands: Fork, Signal, ShutDown    ^ reports: ChildForked, ForkFailed, ChildExited
//!   |- fork server     one thread, no runtime: forks, reaps, signals
//!   |     |- child 0   its own actix System: ChildActor, which has a seat, and your session
//!   |     |- child 1   ...
//!   |- scoreboard      shared memory, one slot for each child: [wr.l  ]
//! ```
//!
//! There are three models, each with its own settings. [`PreFork`] keeps a pool of children that
//! accept connections themselves. [`PostFork`] forks a child for each request that the parent hands
//! over. [`Solo`] has no children.
//!
//! You implement a [`Program`] and bind its listener before the launch.
//! [`launch`](DaemonBuilder::launch) checks all settings, detaches from the terminal, drops
//! privileges and starts the fork server. [`run`](Launched::run) then starts a System with a
//! [`DaemonActor`] in it. Each process has a copy of the program and starts its own part:
//! [`Program::parent`] in the parent, [`Program::child`] in a child.
//!
//! Your actors, the *sessions*, exchange [`messages`] with the daemon. The daemon broadcasts events
//! to the sessions that [`Subscribe`] to them, for example [`DaemonParent`] when the first children
//! are ready, [`DaemonAccept`], [`DaemonPause`], [`DaemonHup`] and [`DaemonShutdown`]. A session in
//! a child sends [`UpdateStatus`] to report what it does. A session in a post-forking parent sends
//! [`HandOver`] to hand over a request. Any session can send [`GetStatus`]. Each message returns a
//! typed result. If no child can handle a request, [`HandOverError`] returns the request to the
//! sender.
//!
//! # Examples
//!
//! A pool of echo servers. When the children are ready, the parent connects to one of them and then
//! stops the daemon:
//!
//! ```standalone_crate
//! use std::io::{Read, Write};
//! use std::net::{SocketAddr, TcpListener, TcpStream};
//!
//! use actix::prelude::*;
//! use actix_daemon::{
//!     Accepted, ChildAcceptor, ChildActor, Daemon, DaemonActor, DaemonChild, DaemonError,
//!     DaemonParent, StopMode, PreFork, Program, Shutdown, Subscribe, UpdateStatus,
//! };
//!
//! struct Echo {
//!     listener: TcpListener, // bound before the launch: each child inherits it
//! }
//!
//! impl Program for Echo {
//!     type Request = (); // the children of a pool accept their requests themselves
//!
//!     fn parent(self, daemon: Addr<DaemonActor<()>>) {
//!         let address = self.listener.local_addr().expect("a bound listener");
//!         let client = Client { daemon: daemon.clone(), address }.start();
//!         daemon.do_send(Subscribe::<DaemonParent>::new("client", client));
//!     }
//!
//!     fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
//!         let listener = Some(self.listener);
//!         Session { daemon, listener }.start().recipient()
//!     }
//! }
//!
//! struct Session {
//!     daemon: Addr<ChildActor>,
//!     listener: Option<TcpListener>,
//! }
//!
//! impl Actor for Session {
//!     type Context = Context<Self>;
//! }
//!
//! /// Handles the first message in a child: prepares the session, then waits for requests.
//! impl Handler<DaemonChild<()>> for Session {
//!     type Result = ();
//!
//!     fn handle(&mut self, _child: DaemonChild<()>, ctx: &mut Context<Self>) {
//!         if let Some(listener) = self.listener.take() {
//!             ChildAcceptor::start(listener, self.daemon.clone(), ctx.address().recipient())
//!                 .expect("the runtime watches the listener");
//!         }
//!         self.daemon.do_send(UpdateStatus::Wait);
//!     }
//! }
//!
//! /// Serves a connection. The acceptor has reported that the request has started. The session
//! /// reports that the request is done.
//! impl Handler<Accepted<TcpStream>> for Session {
//!     type Result = ResponseFuture<()>;
//!
//!     fn handle(&mut self, accepted: Accepted<TcpStream>, _: &mut Context<Self>) -> Self::Result {
//!         let daemon = self.daemon.clone();
//!         Box::pin(async move {
//!             // If the client has disconnected, there is nothing left to do.
//!             let _ = echo(accepted.0).await;
//!             daemon.do_send(UpdateStatus::Done);
//!         })
//!     }
//! }
//!
//! async fn echo(stream: TcpStream) -> std::io::Result<()> {
//!     let stream = tokio::net::TcpStream::from_std(stream)?;
//!     stream.readable().await?;
//!     let mut bytes = [0; 512];
//!     let read = stream.try_read(&mut bytes)?;
//!     stream.writable().await?;
//!     stream.try_write(&bytes[..read]).map(drop)
//! }
//!
//! /// A session of the parent. It may block, because another process serves the connection.
//! struct Client {
//!     daemon: Addr<DaemonActor<()>>,
//!     address: SocketAddr,
//! }
//!
//! impl Actor for Client {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<DaemonParent> for Client {
//!     type Result = ();
//!
//!     fn handle(&mut self, _ready: DaemonParent, _: &mut Context<Self>) {
//!         let mut stream = TcpStream::connect(self.address).expect("connect to a child");
//!         stream.write_all(b"hello").expect("send");
//!         let mut answer = String::new();
//!         stream.read_to_string(&mut answer).expect("receive");
//!         assert_eq!(answer, "hello");
//!         self.daemon.do_send(Shutdown(StopMode::Graceful));
//!     }
//! }
//!
//! fn main() -> Result<(), DaemonError> {
//!     let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
//!     Daemon::builder()
//!         .model(PreFork::new(2).max_children(4).requests(1000))
//!         // Sets up the process and starts the fork server, before any runtime is started.
//!         .launch(Echo { listener })?
//!         .run() // runs a System with a DaemonActor until the daemon has stopped
//! }
//! ```
//!
//! If the program only serves connections, [`serve`](DaemonBuilder#method.serve) is simpler. It
//! takes the listener and an async function. Accepting, pausing and reporting statuses are then
//! automatic.
//!
//! # Overview
//!
//! | items | purpose |
//! | --- | --- |
//! | [`prelude`] | the types that most daemons use; import them together with actix's prelude |
//! | [`Daemon::builder`], [`DaemonBuilder`] | configuration: each setting, its default and its limits |
//! | [`PreFork`], [`PostFork`], [`Solo`] | the models and their settings |
//! | [`Program`], [`Launched`] | the trait that you implement, and the launched program, which runs in a new System or in yours |
//! | [`messages`] | the messages between the daemon and sessions |
//! | [`DaemonEvent`], [`Subscribe`] | all events of the daemon, and subscriptions to all or to one kind of them |
//! | [`DaemonActor`], [`ChildActor`], [`ChildHandle`] | the daemon in the parent and in a child |
//! | [`Babysit`], [`BabysitterActor`] | limits for children, detection of rogue and missing children, the ladder of signals |
//! | [`ChildAcceptor`], [`ParentAcceptor`], [`Listen`], [`Connection`], [`bind_unix`] | accepting and serving TCP and Unix connections |
//! | [`Capability`], [`Environment`], [`InheritedDescriptors`] | what the daemon keeps of the privileges, the variables and the descriptors of its launcher |
//! | [`Report`] | the status of the daemon, as text, table, JSON and OpenMetrics |
//! | [`Evidence`] | what is known about a slow or rogue child, as text and as JSON |
//! | [`control`] | the control socket and its protocol |
//! | [`service`], [`RegisterWith`] | the daemon as a service of systemd or of another service manager |
//! | [`Transfer`], [`Serde`], [`Encoder`], [`Decoder`] | the trait of all types that can be handed to a child, and the types for implementing it |
//! | [`logger`] | the daemon's logger in this process |
//! | [`panics`] | what happens when the program's code panics |
//! | [`dispatching`] | for crates that send tasks to children, as `actix-dispatch` does |
//!
//! # Features
//!
//! | feature | purpose |
//! | --- | --- |
//! | `sandbox` | the type `Sandbox` and the setting `sandbox`, which restrict what children may do (Linux) |
//!
//! # Limitations
//!
//! - The crate supports only Unix. It is built and tested on Linux. Some features are limited on
//!   other systems, see `daemon_sys`.
//! - [`launch`](DaemonBuilder::launch) requires a process with one thread and no runtime. Start
//!   threads, arbiters and other Systems after the launch.
//! - A request is transferred to its child as descriptors and bytes. Other data, for example an
//!   open TLS session, cannot be handed over.
//! - A custom [`logger`](DaemonBuilder::logger) must not use a thread, because forked children do
//!   not inherit threads.
//! - A child is one process with one System. A session that blocks its child also blocks the
//!   child's signal handling, but it does not affect other children. When the daemon stops, such a
//!   child is killed after the [`grace`](DaemonBuilder::grace) period. It is killed earlier if it
//!   exceeds a limit of the babysitter, see [`Babysit`].

mod babysitter;
mod blocking;
mod builder;
mod child;
mod connection_queue;
pub mod control;
pub mod dispatching {
    //! A pool that grows with the length of a queue, for crates that send tasks to children, as
    //! `actix-dispatch` does.
    //!
    //! Most daemons do not need this module. In an [`OnDemand`] pool the parent queues tasks and
    //! sends them to the children over links that it creates itself, for example socket pairs. The
    //! parent uses these items:
    //!
    //! - [`RequestFactory`] makes the request that each child starts with, for example one end of a
    //!   link.
    //! - [`SetQueueDepth`] reports how many tasks wait for a child. The pool grows accordingly.
    //! - [`KillRogue`] kills a child that a session in the parent has found misbehaving.
    //!
    //! In the child, [`ChildHandle::work`](crate::ChildHandle::work) runs the loop that receives
    //! tasks, and a [`RequestReporter`] reports when a task starts and ends, so that the code of a
    //! task cannot.

    use std::time::Duration;

    use actix::Addr;
    use daemon_forkserver::Transfer;

    use crate::builder::DaemonBuilder;
    pub use crate::child::RequestReporter;
    use crate::error::DaemonError;
    use crate::launch::{Launched, Program};
    pub use crate::model::{KillRogue, OnDemand, RequestFactory, SetQueueDepth};
    use crate::panics::Panic;
    use crate::parent::{DaemonActor, Panicked};

    /// Runs the daemon in a new System until it has stopped, as [`Launched::run`] does. `start` is
    /// called in this System. It calls [`Launched::start`], and starts the actors of the parent.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Launched::run`] and of `start`.
    pub fn run<P: Program>(
        launched: Launched<P>,
        start: impl FnOnce(Launched<P>) -> Result<Addr<DaemonActor<P::Request>>, DaemonError>,
    ) -> Result<(), DaemonError> {
        launched.run_with(start)
    }

    /// Stops the daemon gracefully with [`DaemonError::Panicked`],
    /// because a function has panicked whose work nothing else does.
    pub fn fail<R: Transfer + Send>(daemon: &Addr<DaemonActor<R>>, panic: Panic) {
        daemon.do_send(Panicked(panic));
    }

    /// Returns the [boot timeout](DaemonBuilder::boot_timeout) of these settings. The parent should
    /// kill a child that has not taken over its link within this time.
    #[must_use]
    pub fn boot_timeout<M>(settings: &DaemonBuilder<M>) -> Duration {
        settings.settings.boot_timeout
    }
}
mod error;
mod events;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod inheritance;
mod launch;
mod listener;
mod log;
pub mod messages;
mod model;
pub mod panics;
mod parent;
mod peek;
pub mod prelude {
    //! The types that most daemons use. Import this module together with actix's own prelude.
    //!
    //! ```
    //! use actix::prelude::*;
    //! use actix_daemon::prelude::*;
    //! ```

    #[doc(no_inline)]
    pub use crate::{
        Accepted, Babysit, ChildAcceptor, ChildActor, ChildExited, ChildHandle, Connection, Daemon,
        DaemonAccept, DaemonActor, DaemonChild, DaemonError, DaemonHup, DaemonParent, DaemonPause,
        DaemonShutdown, DaemonStart, Detail, ForeignChild, GetStatus, HandOver, OnHup,
        ParentAcceptor, Peek, PostFork, PreFork, Program, RegisterWith, Serde, SetLabel, Shutdown,
        Solo, StopMode, Subscribe, Transfer, UpdateStatus,
    };
}
mod process_table;
#[cfg(test)]
mod sentences;
mod serve;
pub mod service;
mod settings;
mod start_files;
mod supervisor;
mod system;
mod watch;

pub use babysitter::{Babysit, BabysitterActor, MemoryMeasure};
pub use builder::{Daemon, DaemonBuilder};
pub use child::{ChildActor, ChildHandle};
pub use error::{ConfigError, DaemonError};
pub use events::{Broadcast, DaemonEvent};
pub use inheritance::{Environment, InheritedDescriptors};
pub use launch::{Launched, Program};
pub use listener::{
    Accepted, ChildAcceptor, Connection, DeclaredListener, Listen, ListenerOwnership,
    ParentAcceptor, StreamSocket,
};
pub use log::{LogWriter, logger};
pub use messages::*;
#[doc(hidden)]
pub use model::CheckedModel;
pub use model::{Model, PostFork, PreFork, Solo};
pub use parent::DaemonActor;
pub use serve::{HandlerFailure, HandlerResult};
pub use settings::OnHup;

pub use daemon_core::{
    AcceptState, Descendants, Exit, ExitCause, Jitter, KillReason, Ladder, LadderError, LadderStep,
    OperatorPause, Phase, RecycleReason, ReportError, SlotNumber, Status, Violation, format,
};
pub use daemon_forkserver::{ChildId, Decoder, Encoder, Serde, Transfer, TransferError};
pub use daemon_protocol::{
    ChildReport, Counters, Evidence, Frame, ModelKind, ProcessReport, ProcessRole, Report,
    ReportTable, Reporter, Trace, accepting_words,
};
pub use daemon_sys::capabilities::Capability;
pub use daemon_sys::limits::Resource;
pub use daemon_sys::process::Pid;
#[cfg(feature = "sandbox")]
pub use daemon_sys::sandbox::Sandbox;
pub use daemon_sys::socketfile::bind_unix;
