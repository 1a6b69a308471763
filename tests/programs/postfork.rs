//! A test daemon that forks for each connection. Its arguments are options, see `src/options.rs`.
//! Its children answer the commands of `src/commands.rs`.

use std::error::Error;
use std::net::{TcpListener, TcpStream};

use actix::{Actor, Addr, Recipient};
use actix_daemon::{ChildActor, DaemonActor, DaemonChild, ParentAcceptor, Program};
use live_tests::{LineSession, Options, hang_at_start, open_command_socket, subscribe};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let listener = options.listen()?;
    options
        .builder()
        .model(options.post_fork_model())
        .launch(PostForkProgram { listener, options })?
        .run()?;
    Ok(())
}

struct PostForkProgram {
    listener: TcpListener,
    options: Options,
}

impl Program for PostForkProgram {
    type Request = TcpStream;

    fn parent(self, daemon: Addr<DaemonActor<TcpStream>>) {
        subscribe(&daemon);
        open_command_socket(&self.options.command_socket(), daemon.clone(), |_daemon, _line| None)
            .expect("the command socket can be opened");
        ParentAcceptor::start(self.listener, daemon, |stream| stream)
            .expect("the runtime accepts the listener");
    }

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<TcpStream>> {
        hang_at_start(&self.options);
        LineSession::new(daemon, None).start().recipient()
    }
}
