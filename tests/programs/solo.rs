//! A test daemon without children. It answers only on its command socket.

use std::error::Error;
use std::net::TcpListener;

use actix::{Addr, Recipient};
use actix_daemon::{ChildActor, DaemonActor, DaemonChild, Program, Solo};
use live_tests::{Options, open_command_socket, subscribe};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let listener = options.listen()?;
    options.builder().model(Solo).launch(SoloProgram { listener, options })?.run()?;
    Ok(())
}

struct SoloProgram {
    listener: TcpListener,
    options: Options,
}

impl Program for SoloProgram {
    type Request = ();

    fn parent(self, daemon: Addr<DaemonActor<()>>) {
        drop(self.listener);
        subscribe(&daemon);
        open_command_socket(&self.options.command_socket(), daemon, |_daemon, _line| None)
            .expect("the command socket can be opened");
    }

    fn child(self, _daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        unreachable!("a daemon without a forking model has no children")
    }
}
