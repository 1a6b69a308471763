//! The output of workers is sent to `talkback` as lines with the method's name. This output is
//! never mixed into the messages between workers and dispatcher, which are called the protocol.

use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;

use super::fixture::{Collector, builder, wait_until, with_dispatcher};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("output_of_a_method_is_sent_to_talkback_with_the_method_s_name", printed),
    ("output_of_a_task_s_subprocesses_does_not_affect_the_protocol", subprocess),
    ("the_protocol_never_uses_the_standard_streams", descriptors),
];

fn has(received: &Rc<RefCell<Vec<String>>>, wanted: &str) -> bool {
    received.borrow().iter().any(|line| line == wanted)
}

fn printed() {
    let received: Rc<RefCell<Vec<String>>> = Rc::default();
    let results = Rc::clone(&received);
    let builder = builder(1)
        .talkback(move |_| Collector::into(results).recipient())
        .method("chatty", |_call, word: String| {
            println!("said {word}");
            // Output without a newline is flushed too, and becomes part of the next line.
            print!("and ");
            Ok::<_, String>(())
        })
        .method("other", |_call, (): ()| {
            println!("more");
            Ok::<_, String>(())
        });
    with_dispatcher(builder, async move |test| {
        test.call::<()>("chatty", "one").await.unwrap();
        wait_until("chatty's line is sent", async || has(&received, "STDOUT:0 chatty: said one"))
            .await;
        test.call::<()>("other", ()).await.unwrap();
        wait_until("other's line is sent", async || has(&received, "STDOUT:0 other: and more"))
            .await;
        assert!(has(&received, "dispatcher started"), "{:?}", received.borrow());
    });
}

fn subprocess() {
    let received: Rc<RefCell<Vec<String>>> = Rc::default();
    let results = Rc::clone(&received);
    let builder = builder(1).talkback(move |_| Collector::into(results).recipient()).method(
        "shell",
        |_call, line: String| {
            let status = Command::new("sh").arg("-c").arg(line).status();
            status.map(|status| status.code()).map_err(|error| error.to_string())
        },
    );
    with_dispatcher(builder, async move |test| {
        let code: Option<i32> = test.call("shell", "echo out; echo err >&2; exit 4").await.unwrap();
        assert_eq!(code, Some(4));
        wait_until("both lines are sent", async || {
            has(&received, "STDOUT:0 shell: out") && has(&received, "STDERR:0 shell: err")
        })
        .await;
        // This subprocess outlives its task, and the worker serves the next request meanwhile.
        let _: Option<i32> = test.call("shell", "(sleep 0.3; echo late) &").await.unwrap();
        assert_eq!(test.call::<String>("echo", "x").await.unwrap(), "x");
        wait_until("the line of the subprocess is sent", async || {
            received.borrow().iter().any(|line| line.ends_with(": late"))
        })
        .await;
    });
}

fn descriptors() {
    let builder = builder(1).method("kinds", |_call, (): ()| {
        let kind = |number| std::fs::read_link(format!("/proc/self/fd/{number}"));
        let kinds: Result<Vec<_>, _> = (0..3).map(kind).collect();
        kinds.map_err(|error| error.to_string())
    });
    with_dispatcher(builder, async |test| {
        if !std::path::Path::new("/proc/self/fd").exists() {
            println!("skipped: no /proc on this system");
            return;
        }
        let kinds: Vec<String> = test.call("kinds", ()).await.unwrap();
        assert!(kinds.iter().all(|kind| !kind.starts_with("socket:")), "{kinds:?}");
        assert!(kinds[1].starts_with("pipe:") && kinds[2].starts_with("pipe:"), "{kinds:?}");
        assert_ne!(kinds[1], kinds[2]);
    });
}
