//! A pool under test: its options are its arguments, its children talk.

use std::error::Error;
use std::net::TcpListener;

use actix::{Actor, Addr, Recipient};
use actix_daemon::{ChildActor, DaemonActor, DaemonChild, Program};
use live_tests::{Options, Session, lend, open_desk, subscribe};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let listener = options.listen()?;
    options.builder().model(options.pool()).launch(Pool { listener, options })?.run()?;
    Ok(())
}

struct Pool {
    listener: TcpListener,
    options: Options,
}

impl Program for Pool {
    type Request = ();

    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        match self.options.get("preload_fails") {
            None => Ok(()),
            Some(why) => Err(why.into()),
        }
    }

    fn parent(self, daemon: Addr<DaemonActor<()>>) {
        subscribe(&daemon);
        open_desk(&self.options.desk(), daemon, |_daemon, _line| None).expect("a place for a desk");
    }

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        if let Some(file) = self.options.get("stillborn_while")
            && std::path::Path::new(file).exists()
        {
            std::process::exit(7);
        }
        if self.options.has("lend_listener") {
            lend(self.listener.try_clone().expect("a descriptor is left"));
        }
        Session::new(daemon, Some(self.listener)).start().recipient()
    }
}
