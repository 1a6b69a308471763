//! An echo server that uses `serve`, in both forking models and over both kinds of socket.

use std::error::Error;
use std::os::unix::net::UnixListener;

use actix_daemon::{ChildHandle, Connection, StreamSocket};
use live_tests::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let tcp = options.listen()?;
    let unix = options.get("unix").map(UnixListener::bind).transpose()?;
    let builder = options.builder();
    match (options.has("postfork"), unix) {
        (true, None) => builder.model(options.post_fork_model()).serve(tcp, echo)?,
        (true, Some(unix)) => builder.model(options.post_fork_model()).serve(unix, echo)?,
        (false, None) => builder.model(options.pre_fork_model()).serve(tcp, echo)?,
        (false, Some(unix)) => builder.model(options.pre_fork_model()).serve(unix, echo)?,
    }
    Ok(())
}

async fn echo<S: StreamSocket>(
    mut stream: Connection<S>,
    child: ChildHandle,
) -> std::io::Result<()> {
    child.label("echo");
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes).await? {
            0 => return Ok(()),
            read if bytes[..read].starts_with(b"exit") => std::process::exit(7),
            read => stream.write_all(&bytes[..read]).await?,
        }
    }
}
