//! What workers print becomes lines with the method's name, and never touches the protocol.

use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;

use super::play::{Notes, builder, play, until};
use crate::scenarios::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("what_a_method_prints_becomes_a_line_with_its_name", printed),
    ("the_output_of_a_task_s_own_processes_does_not_touch_the_protocol", subprocess),
    ("the_protocol_s_descriptors_are_never_those_of_standard_streams", descriptors),
];

fn has(told: &Rc<RefCell<Vec<String>>>, wanted: &str) -> bool {
    told.borrow().iter().any(|line| line == wanted)
}

fn printed() {
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let notes = Rc::clone(&told);
    let builder = builder(1)
        .talkback(move |_| Notes::into(notes).recipient())
        .method("chatty", |_call, word: String| {
            println!("said {word}");
            // Without an end of line it is printed all the same, as part of the next line.
            print!("and ");
            Ok::<_, String>(())
        })
        .method("other", |_call, (): ()| {
            println!("more");
            Ok::<_, String>(())
        });
    play(builder, async move |stage| {
        stage.ask::<()>("chatty", "one").await.unwrap();
        until("the line comes", async || has(&told, "STDOUT:0 chatty: said one")).await;
        stage.ask::<()>("other", ()).await.unwrap();
        until("the line comes", async || has(&told, "STDOUT:0 other: and more")).await;
        assert!(has(&told, "dispatcher started"), "{:?}", told.borrow());
    });
}

fn subprocess() {
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let notes = Rc::clone(&told);
    let builder = builder(1).talkback(move |_| Notes::into(notes).recipient()).method(
        "shell",
        |_call, line: String| {
            let status = Command::new("sh").arg("-c").arg(line).status();
            status.map(|status| status.code()).map_err(|error| error.to_string())
        },
    );
    play(builder, async move |stage| {
        let code: Option<i32> = stage.ask("shell", "echo out; echo err >&2; exit 4").await.unwrap();
        assert_eq!(code, Some(4));
        until("both lines come", async || {
            has(&told, "STDOUT:0 shell: out") && has(&told, "STDERR:0 shell: err")
        })
        .await;
        // It outlives its task, and the worker: the protocol is none of its.
        let _: Option<i32> = stage.ask("shell", "(sleep 0.3; echo late) &").await.unwrap();
        assert_eq!(stage.ask::<String>("echo", "x").await.unwrap(), "x");
        until("it is still heard", async || {
            told.borrow().iter().any(|line| line.ends_with(": late"))
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
    play(builder, async |stage| {
        if !std::path::Path::new("/proc/self/fd").exists() {
            println!("skipped: there is no /proc here");
            return;
        }
        let kinds: Vec<String> = stage.ask("kinds", ()).await.unwrap();
        assert!(kinds.iter().all(|kind| !kind.starts_with("socket:")), "{kinds:?}");
        assert!(kinds[1].starts_with("pipe:") && kinds[2].starts_with("pipe:"), "{kinds:?}");
        assert_ne!(kinds[1], kinds[2]);
    });
}
