//! A daemon under test without children: only its desk answers.

use std::error::Error;
use std::net::TcpListener;

use actix::{Addr, Recipient};
use actix_daemon::{ChildActor, DaemonActor, DaemonChild, Program, Solo};
use live_tests::{Options, open_desk, subscribe};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let listener = options.listen()?;
    options.builder().model(Solo).launch(Alone { listener, options })?.run()?;
    Ok(())
}

struct Alone {
    listener: TcpListener,
    options: Options,
}

impl Program for Alone {
    type Request = ();

    fn parent(self, daemon: Addr<DaemonActor<()>>) {
        drop(self.listener);
        subscribe(&daemon);
        open_desk(&self.options.desk(), daemon, |_daemon, _line| None).expect("a place for a desk");
    }

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        unreachable!("a daemon without a forking model has no children")
    }
}
