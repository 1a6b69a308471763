//! Tasks to pre-forked workers.

mod answer;
mod body;
mod builder;
mod call;
mod claims;
mod dispatcher;
mod engine;
mod frame;
mod ledger;
mod link;
mod methods;
mod panics;
mod printed;
mod reply;
mod request;
mod talkback;
mod task;
mod transaction;
mod worker;

pub use answer::{Failure, Limit, Outcome, Rejection, Reply, When};
pub use body::Bytes;
pub use builder::{Builder, Dispatcher, Launched, Started};
pub use call::Call;
pub use dispatcher::{Aside, Cancel, DispatcherActor, Running, Tallied};
pub use engine::PutAside;
pub use ledger::{Cancelling, Lane, Tally};
pub use methods::{Class, OwnMethod};
pub use request::{NewRequest, Request, RequestDone, RequestId};
pub use talkback::Talkback;
pub use task::{Do, Task};
pub use transaction::Transaction;
