//! The protocol between a daemon and its operators: what the control socket of `actix-daemon`
//! carries, as values that can be encoded, decoded and printed.
//!
//! Both directions of the socket carry one JSON object per line. The client sends
//! [`ControlRequest`]s and receives one [`ControlMessage`] for each, in order. After
//! [`ControlCommand::Events`] the daemon handles no more requests of this client. It sends each
//! event as a [`ResponseBody::Event`] until either side closes the connection.
//!
//! The crate contains values only: it opens no socket, starts no process and reads no clock, and
//! it needs no async runtime. The daemon creates the values, and `daemonctl` shows them.
//!
//! # Examples
//!
//! The line of a request, and the answer of a daemon:
//!
//! ```standalone_crate
//! use daemon_protocol::{
//!     ControlCommand, ControlMessage, ControlReply, ControlRequest, ResponseBody,
//! };
//!
//! fn main() -> Result<(), serde_json::Error> {
//!     let request = ControlRequest::new(ControlCommand::Resize { to: 8 });
//!     let line = serde_json::to_string(&request)?;
//!     assert_eq!(line, r#"{"version":1,"command":"resize","to":8}"#);
//!
//!     let answer = r#"{"version":1,"ok":{"reply":"done","text":"8 to 12 spare children now"}}"#;
//!     match serde_json::from_str::<ControlMessage>(answer)?.body {
//!         ResponseBody::Ok(ControlReply::Done { text }) => println!("{text}"),
//!         other => println!("an unexpected answer: {other:?}"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Overview
//!
//! | items | purpose |
//! | --- | --- |
//! | [`ControlRequest`], [`ControlCommand`] | what a client asks for |
//! | [`ControlMessage`], [`ResponseBody`], [`ControlReply`], [`ControlError`] | what the daemon answers |
//! | [`DaemonEvent`] | what happens in a daemon, for clients and for the daemon's own actors |
//! | [`Report`], [`ReportTable`] | the status of a daemon as JSON, text, table and OpenMetrics |
//! | [`Evidence`] | what is known about a slow or rogue child, as JSON and text |
//! | [`mod@format`] | durations, sizes and foreign text, as all screens and logs show them |
//!
//! # Features
//!
//! | feature | purpose |
//! | --- | --- |
//! | `actix` | implements `actix::Message` for [`DaemonEvent`] and its parts |
//!
//! # Limitations
//!
//! - The text of a report or of evidence contains what children have written, for example their
//!   labels. `Display` replaces or escapes control characters; the fields and the JSON contain
//!   them unchanged.

mod command;
mod event;
mod evidence;
mod reply;
mod report;
mod seconds;

pub use command::{ControlCommand, ControlRequest, REQUEST_MAX, VERSION};
pub use event::{
    ChildExited, ChildForked, DaemonEvent, DaemonReload, ForeignExited, RogueChild, RogueStep,
    ShutdownReason,
};
pub use evidence::{Evidence, Frame, Trace};
pub use reply::{ControlError, ControlErrorKind, ControlMessage, ControlReply, ResponseBody};
pub use report::{
    ChildReport, Counters, ModelKind, ProcessReport, ProcessRole, ProcessUsage, Report,
    ReportTable, Reporter, accepting_words,
};

pub use daemon_core::format;
