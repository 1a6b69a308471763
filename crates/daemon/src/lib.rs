//! All the housework of a daemon, as actix actors: processes for requests, a scoreboard, logs,
//! privileges, signals, reload and an orderly stop.
//!
//! # Theory of operation
//!
//! A process that runs an async runtime must not fork: parent and child would share one event
//! queue. So nothing forks but the *fork server*, a process with one thread and no runtime that is born
//! at the launch. Every child is born clean from it and makes an actix System of its own.
//!
//! ```text
//! $ mydaemon
//!   |- parent        one actix System: DaemonActor, your sessions
//!   |     |  orders: Fork, Signal, ShutDown      ^ reports: ChildBorn, ForkFailed, ChildGone
//!   |- fork server       one thread, no runtime: forks, reaps, signals
//!   |     |- child 0   a fresh actix System: ChildActor on its seat, your session
//!   |     |- child 1   ...
//!   |- scoreboard    shared memory, a line for each child: [wr.l  ]
//! ```
//!
//! There are three models, each a value that carries its own numbers. [`PreFork`] keeps a pool of
//! standing children that accept connections themselves. [`PostFork`] has a child forked for each
//! request that the parent hands over. [`Solo`] has no children: the housework alone.
//!
//! A [`Program`] is bound to its listener before the launch; [`launch`](DaemonBuilder::launch) checks
//! everything, detaches, drops privileges and founds the fork server, and then
//! [`run`](Launched::run) makes a System with a [`DaemonActor`] in it. Each process has its copy
//! of the program, and starts its part of it: [`Program::parent`] here, [`Program::child`] there.
//!
//! Sessions and daemon talk in [`messages`]. The daemon broadcasts what happens to those who
//! [`Subscribe`]: [`DaemonParent`] when the first children are up, [`DaemonAccept`] and
//! [`DaemonPause`], [`DaemonHup`], [`DaemonShutdown`]. Sessions ask: a child tells what it does
//! with [`UpdateStatus`], a post-forking parent sends [`HandOver`] with a request, anyone asks for
//! [`Status`]. Every request is answered with a typed result, and a request that no child can take
//! comes back in the error.
//!
//! # Examples
//!
//! A pool of echo servers, whose parent talks to one of them once they are up, and then stops:
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
//!     listener: TcpListener, // bound before the launch: every child has it
//! }
//!
//! impl Program for Echo {
//!     type Request = (); // nothing is handed to a standing child
//!
//!     fn parent(self, daemon: Addr<DaemonActor<()>>) {
//!         let address = self.listener.local_addr().expect("it is bound");
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
//! /// We are a child: prepare, then wait for requests.
//! impl Handler<DaemonChild<()>> for Session {
//!     type Result = ();
//!
//!     fn handle(&mut self, _child: DaemonChild<()>, ctx: &mut Context<Self>) {
//!         if let Some(listener) = self.listener.take() {
//!             ChildAcceptor::start(listener, self.daemon.clone(), ctx.address().recipient())
//!                 .expect("the runtime can watch a listener");
//!         }
//!         self.daemon.do_send(UpdateStatus::Wait);
//!     }
//! }
//!
//! /// A connection. It is on the scoreboard already; say when it is done.
//! impl Handler<Accepted<TcpStream>> for Session {
//!     type Result = ResponseFuture<()>;
//!
//!     fn handle(&mut self, accepted: Accepted<TcpStream>, _: &mut Context<Self>) -> Self::Result {
//!         let daemon = self.daemon.clone();
//!         Box::pin(async move {
//!             // A client that is gone needs no answer; the next one waits.
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
//! /// A session of the parent. It may block here: a child answers, another process.
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
//!     fn handle(&mut self, _children_are_up: DaemonParent, _: &mut Context<Self>) {
//!         let mut stream = TcpStream::connect(self.address).expect("somebody listens");
//!         stream.write_all(b"hello").expect("it takes a word");
//!         let mut answer = String::new();
//!         stream.read_to_string(&mut answer).expect("it answers");
//!         assert_eq!(answer, "hello");
//!         self.daemon.do_send(Shutdown(StopMode::Graceful));
//!     }
//! }
//!
//! fn main() -> Result<(), DaemonError> {
//!     let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
//!     Daemon::builder()
//!         .model(PreFork::new(2).max_children(4).requests(1000))
//!         .launch(Echo { listener })? // housework, scoreboard, fork server: before any runtime
//!         .run() // a System with a DaemonActor in it, until it has stopped
//! }
//! ```
//!
//! Where a connection is all there is to it, [`serve`](DaemonBuilder#method.serve) takes the listener
//! and an async function, and does accepting, pausing and reporting by itself.
//!
//! # Map
//!
//! | rooms | for |
//! | --- | --- |
//! | [`prelude`] | what most daemons use, to be imported beside actix's |
//! | [`Daemon::builder`], [`DaemonBuilder`] | configuring: every setting, its default and refusal |
//! | [`PreFork`], [`PostFork`], [`Solo`] | the models and their numbers |
//! | [`OnDemand`], [`RequestFactory`], [`Demand`] | a pool whose work the parent gives to it, as `actix-dispatch` does |
//! | [`Program`], [`Launched`] | what you write, and how it is run, here or in a System of yours |
//! | [`messages`] | all that is said between the daemon and sessions |
//! | [`DaemonActor`], [`ChildActor`], [`ChildHandle`] | the daemon in the parent and in a child |
//! | [`Babysit`], [`BabysitterActor`] | rogue and missing children: limits, the ladder |
//! | [`ChildAcceptor`], [`ParentAcceptor`], [`Listen`], [`Connection`] | accepting and serving TCP and Unix connections |
//! | [`Report`] | the state of the daemon, as text, table, JSON and OpenMetrics |
//! | [`Evidence`] | what is known of a child that is slow or out of hand, as text and as JSON |
//! | [`control`] | the operator's socket, and what is said there |
//! | [`service`], [`RegisterWith`] | the daemon as a service of systemd |
//! | [`Transfer`], [`Serde`], [`Encoder`], [`Decoder`] | what can be handed to a child, and how a type of yours is |
//! | [`logger`] | the daemon's log in this process |
//!
//! # Limitations
//!
//! - Unix only, and built and tested on Linux. Elsewhere some housework is plainer, see
//!   `daemon_sys`.
//! - [`launch`](DaemonBuilder::launch) wants a process with one thread and no runtime. Threads, arbiters
//!   and other Systems come after it.
//! - A request crosses to its child as descriptors and bytes. A value that is neither, an open
//!   TLS session say, cannot be handed over.
//! - A [`logger`](DaemonBuilder::logger) of yours must not have a thread of its own: children would
//!   inherit it without.
//! - A child is one process with one System; a session that blocks, blocks its own child only,
//!   and the child's signals with it. It is killed when a stop outlasts its
//!   [`grace`](DaemonBuilder::grace), and before that only by limits that are set: see [`Babysit`].

mod acceptor;
mod babysitter;
mod blocking;
mod builder;
mod child;
mod connection;
pub mod control;
pub mod dispatching;
mod error;
mod evidence;
mod launch;
mod listen;
mod log;
mod log_throttle;
pub mod messages;
mod model;
mod parent;
mod peek;
pub mod prelude;
mod process_table;
mod program;
#[cfg(test)]
mod sentences;
mod serve;
pub mod service;
mod sessions;
mod settings;
mod signals;
mod status;
mod watch;

pub use acceptor::{Accepted, ChildAcceptor, ParentAcceptor};
pub use babysitter::{Babysit, BabysitterActor, MemoryMeasure};
pub use builder::{Daemon, DaemonBuilder};
pub use child::{ChildActor, ChildHandle};
pub use connection::{Connection, StreamSocket};
pub use error::{ConfigError, DaemonError};
pub use evidence::{Evidence, Frame, Trace};
pub use launch::Launched;
pub use listen::Listen;
pub use log::logger;
pub use messages::*;
#[doc(hidden)]
pub use model::CheckedModel;
pub use model::{Model, ModelKind, PostFork, PreFork, Solo};
pub use parent::DaemonActor;
pub use program::Program;
pub use serve::HandlerResult;
pub use sessions::Broadcast;
pub use settings::OnHup;
pub use status::{
    ChildReport, Counters, ProcessReport, ProcessRole, Report, ReportTable, Reporter,
    accepting_words,
};

pub use daemon_core::{
    AcceptState, Exit, ExitCause, Jitter, KillReason, Ladder, LadderError, LadderStep,
    OperatorPause, Phase, RecycleReason, ReportError, SlotNumber, Violation,
};
pub use daemon_forkserver::{ChildId, Decoder, Encoder, Serde, Transfer, TransferError};
pub use daemon_sys::limits::Resource;
pub use daemon_sys::process::Pid;
