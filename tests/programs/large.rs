//! A test daemon whose requests are byte strings. The command `bytes N` on its command socket hands
//! over N bytes to a child, which logs how many bytes it received and how many of them are wrong.

use std::error::Error;

use actix::{Actor, Addr, Context, Handler, Recipient};
use actix_daemon::{ChildActor, DaemonActor, DaemonChild, HandOver, Program, UpdateStatus, logger};
use live_tests::{Options, open_command_socket, subscribe};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    // No client connects to the port, but the harness waits until the program prints it.
    drop(options.listen()?);
    options
        .builder()
        .model(options.post_fork_model())
        .launch(LargeRequestsProgram { options })?
        .run()?;
    Ok(())
}

struct LargeRequestsProgram {
    options: Options,
}

/// Returns the byte of a request at this index. Neighbouring bytes differ.
fn byte_at(index: usize) -> u8 {
    (index.wrapping_mul(31) ^ (index >> 8)).to_le_bytes()[0]
}

impl Program for LargeRequestsProgram {
    type Request = Vec<u8>;

    fn parent(self, daemon: Addr<DaemonActor<Vec<u8>>>) {
        subscribe(&daemon);
        open_command_socket(&self.options.command_socket(), daemon, |_daemon, line| {
            let size: usize = line.strip_prefix("bytes ")?.parse().ok()?;
            Some(HandOver((0..size).map(byte_at).collect()))
        })
        .expect("the command socket can be opened");
    }

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<Vec<u8>>> {
        ByteReader { daemon }.start().recipient()
    }
}

struct ByteReader {
    daemon: Addr<ChildActor>,
}

impl Actor for ByteReader {
    type Context = Context<Self>;
}

impl Handler<DaemonChild<Vec<u8>>> for ByteReader {
    type Result = ();

    fn handle(&mut self, child: DaemonChild<Vec<u8>>, _ctx: &mut Context<Self>) {
        let wrong = child
            .request
            .iter()
            .enumerate()
            .filter(|(index, byte)| byte_at(*index) != **byte)
            .count();
        slog::info!(logger(), "received {} bytes, {} wrong", child.request.len(), wrong);
        self.daemon.do_send(UpdateStatus::Done);
    }
}
