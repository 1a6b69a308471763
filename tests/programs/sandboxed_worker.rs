//! A dispatcher whose workers are in a sandbox: `sandboxed_worker DIRECTORY ACTION ARGUMENT...`. A
//! worker tries each action of `src/attempts.rs`, and the parent prints each answer. Workers may
//! read and write only DIRECTORY.

use std::error::Error;

use actix_daemon::{Daemon, Sandbox, Shutdown, StopMode};
use actix_dispatch::{Dispatcher, NewRequest, RunningDispatcher};
use live_tests::attempt;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("a directory is required")?;
    let rest: Vec<String> = arguments.collect();
    let actions =
        rest.chunks(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone())));
    let actions: Vec<(String, String)> = actions.collect();
    let sandbox = Sandbox::new().write(directory).no_new_connections().no_exec();
    Dispatcher::builder()
        .max_forks(1)
        .daemon(Daemon::builder().sandbox(sandbox))
        .method("try", |_call, (action, argument): (String, String)| {
            Ok::<_, String>(attempt(&action, &argument))
        })
        .run(move |running| {
            actix_rt::spawn(async move {
                for (action, argument) in actions {
                    print(&running, action, argument).await;
                }
                running.daemon.do_send(Shutdown(StopMode::Graceful));
            });
        })?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the test reads it")]
async fn print(running: &RunningDispatcher, action: String, argument: String) {
    let request = NewRequest::to("try").params((&action, argument));
    let answer = match running.dispatcher.send(request).await {
        Ok(Ok(done)) => done.value().unwrap_or_else(|error| error.to_string()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    println!("{action}: {answer}");
}
