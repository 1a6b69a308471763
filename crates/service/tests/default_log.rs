//! Tests that the default logger loses no record of a service whose standard error accepts nothing
//! until the service has stopped. The service runs in a process of its own, whose standard input is
//! the reader of its standard error.

#![cfg_attr(unix, expect(clippy::unwrap_used, reason = "a failed unwrap fails the test"))]

#[cfg(unix)]
fn main() {
    match std::env::args().nth(1).and_then(|filled| filled.parse().ok()) {
        Some(filled) => unix::run_service(filled),
        None => unix::records_that_wait_are_written_when_the_service_ends(),
    }
}

/// A service of Windows has no standard error.
#[cfg(windows)]
fn main() {}

#[cfg(unix)]
mod unix {
    use std::io::{self, Read, Write};
    use std::os::fd::AsFd;
    use std::process::Command;

    use actix::{Actor, Context, Handler};
    use daemon_service::{
        Callback, Callbacks, Control, ServiceActor, ServiceSettings, StateCallback, run_here,
    };
    use daemon_sys::listen::set_nonblocking;

    /// Reads what fills the pipe, when the service has logged its last record.
    struct Reader {
        filled: usize,
    }

    impl Actor for Reader {
        type Context = Context<Self>;
    }

    impl Handler<StateCallback> for Reader {
        type Result = ();

        fn handle(&mut self, _stopped: StateCallback, _ctx: &mut Context<Self>) {
            io::stdin().read_exact(&mut vec![0; self.filled]).unwrap();
        }
    }

    pub(super) fn run_service(filled: usize) {
        let code = run_here(move || {
            let reader = Reader { filled }.start();
            let callbacks = Callbacks::none().on(Callback::Stopped, reader);
            let service = ServiceActor::spawn(ServiceSettings::new(callbacks))?;
            service.do_send(Control::Stop);
            Ok(service)
        });
        assert_eq!(code.unwrap(), 0);
    }

    pub(super) fn records_that_wait_are_written_when_the_service_ends() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        set_nonblocking(writer.as_fd(), true).unwrap();
        let mut filled = 0;
        while let Ok(written) = writer.write(&[b'.'; 4096]) {
            filled += written;
        }
        let status = Command::new(std::env::current_exe().unwrap())
            .arg(filled.to_string())
            .stdin(reader.try_clone().unwrap())
            .stderr(writer)
            .status()
            .unwrap();
        let mut log = String::new();
        reader.read_to_string(&mut log).unwrap();
        assert!(status.success(), "{status}: {log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.ends_with("state: stopped"), "{log:?}");
    }
}
