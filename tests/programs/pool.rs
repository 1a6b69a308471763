//! A pre-forking test daemon. Its arguments are options, see `src/options.rs`. Its children answer
//! the commands of `src/commands.rs`.

use std::error::Error;
use std::fs::{self, File};
use std::iter;
use std::mem;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use actix::{Actor, Addr, Recipient};
use actix_daemon::{ChildActor, DaemonActor, DaemonChild, Program};
use live_tests::{
    LineSession, Options, hang_at_start, lend, open_command_socket, stuck_call, subscribe,
};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let listener = options.listen()?;
    let model = options.pre_fork_model();
    let program = PoolProgram { listener, options: options.clone() };
    let launched = options.builder().model(model).launch(program)?;
    match options.get("instead_of_run") {
        None => launched.run()?,
        Some("drop") => drop(launched),
        Some(_start) => drop(launched.start()?),
    }
    Ok(())
}

/// Opens descriptors, which children inherit, until this many are free.
fn leave_descriptors(free: usize) {
    let mut open: Vec<File> = iter::from_fn(|| File::open("/dev/null").ok()).collect();
    open.truncate(open.len().saturating_sub(free));
    mem::forget(open);
}

struct PoolProgram {
    listener: TcpListener,
    options: Options,
}

impl Program for PoolProgram {
    type Request = ();

    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        if let Some(file) = self.options.get("preload_waits_for") {
            fs::write(format!("{file}.begun"), "")?;
            while !Path::new(file).exists() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
        if self.options.has("preload_panics") {
            panic!("preload panics");
        }
        if self.options.has("preload_exits") {
            std::process::exit(3);
        }
        if let Some(free) = self.options.get("preload_leaves") {
            leave_descriptors(free.parse()?);
        }
        match self.options.get("preload_fails") {
            None => Ok(()),
            Some(reason) => Err(reason.into()),
        }
    }

    fn parent(self, daemon: Addr<DaemonActor<()>>) {
        subscribe(&daemon);
        if self.options.has("stuck_call") {
            stuck_call();
        }
        open_command_socket(&self.options.command_socket(), daemon, |_daemon, _line| None)
            .expect("the command socket can be opened");
    }

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        if let Some(file) = self.options.get("exit_at_start_while")
            && Path::new(file).exists()
        {
            std::process::exit(7);
        }
        hang_at_start(&self.options);
        if self.options.has("share_listener") {
            lend(self.listener.try_clone().expect("the listener can be duplicated"));
        }
        LineSession::new(daemon, Some(self.listener)).start().recipient()
    }
}
