//! A fake service manager, which sends SHUTDOWN and PRESHUTDOWN to a service. The real service
//! manager sends these controls only when the system shuts down, and does not accept them from
//! clients. The fake manager uses the protocol of the pipe on which wine's service manager sends
//! controls to a service (`svcctl.idl` of sechost).

use std::process::{Child, Command};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};

use super::harness::{Installed, output, program};

const KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\ServiceCurrent";
/// The start of each message.
const MAGIC: u32 = 0x5749_4e45;
const START: u32 = 0;

/// Takes the place of the service manager for a service that the test itself has started.
pub(crate) struct FakeManager {
    name: String,
    pipe: NamedPipeServer,
    pub(crate) child: Child,
}

/// Returns the number of the pipe that the next service opens.
fn current() -> u32 {
    let output = output(Command::new("reg").args(["query", KEY, "/ve"])).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().find_map(|word| word.strip_prefix("0x"));
    number.and_then(|number| u32::from_str_radix(number, 16).ok()).unwrap_or(0)
}

fn set_current(number: u32) {
    let number = number.to_string();
    let arguments = ["add", KEY, "/ve", "/t", "REG_DWORD", "/d", &number, "/f"];
    let output = output(Command::new("reg").args(arguments)).unwrap();
    assert!(output.status.success(), "{output:?}");
}

impl FakeManager {
    /// Starts the program and makes it start the service.
    pub(crate) async fn start(installed: &Installed, log: &str) -> FakeManager {
        let before = current();
        let number = 900_000 + std::process::id();
        let path = format!(r"\\.\pipe\net\NtControlPipe{number}");
        let pipe = ServerOptions::new().first_pipe_instance(true).create(path).unwrap();
        set_current(number);
        let child = Command::new(program())
            .args(["run", "--name", &installed.name, "--step", "200", "--log", log])
            .spawn()
            .unwrap();
        pipe.connect().await.unwrap();
        set_current(before);
        let mut fake = FakeManager { name: installed.name.clone(), pipe, child };
        let mut arguments = wide(&installed.name);
        arguments.push(0);
        assert_eq!(fake.send(START, &arguments).await, 0);
        fake
    }

    /// Sends a control, and returns the answer of the service's handler.
    pub(crate) async fn send(&mut self, control: u32, data: &[u16]) -> u32 {
        let name = wide(&self.name);
        let units = u32::try_from(name.len() + data.len()).unwrap();
        let header = [MAGIC, 16 + 2 * units, u32::try_from(name.len()).unwrap(), control];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(name.iter().chain(data).flat_map(|unit| unit.to_le_bytes()));
        self.pipe.write_all(&bytes).await.unwrap();
        self.pipe.read_u32_le().await.unwrap()
    }
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
