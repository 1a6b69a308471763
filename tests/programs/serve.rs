//! An echo server that uses `serve`, in both forking models and over both kinds of socket. It also
//! answers the lines `pid` and `attack NAME SEED MILLIS`.

use std::error::Error;
use std::os::unix::net::UnixListener;

use actix_daemon::{ChildHandle, Connection, StreamSocket};
use live_tests::{Options, attack};
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
            read if bytes[..read].starts_with(b"pid\n") => {
                stream.write_all(format!("{}\n", std::process::id()).as_bytes()).await?;
            }
            read if bytes[..read].starts_with(b"attack ") => {
                let command = String::from_utf8_lossy(&bytes[b"attack ".len()..read]).into_owned();
                stream.write_all(format!("{}\n", attack(command.trim_end())).as_bytes()).await?;
            }
            read => stream.write_all(&bytes[..read]).await?,
        }
    }
}
