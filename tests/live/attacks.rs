//! Tests that no child, worker or task can take its parent down. Children carry out the attacks of
//! the catalogue (`tests/src/attacks.rs`). After each attack the daemon must be as before, see
//! `target.rs`.
//!
//! In the short form each attack is carried out once by each kind of daemon. In the random form
//! several children attack at once while other clients are served, see `random.rs`.

mod random;
mod target;

use std::panic::{AssertUnwindSafe, catch_unwind};

use live_tests::{Attack, AttackKind, catalogue};

use crate::harness::TestProgram;
use target::{Outcome, Target};

/// A kind of daemon that is attacked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    program: fn() -> TestProgram,
    options: &'static str,
    /// The number of children that wait for requests; 0 if a child is forked for each request.
    children: usize,

    model: Model,
}

/// What the tests know about the processes of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// Children of a fork server. Each client is connected to a child.
    Daemon,
    /// Children of a fork server. The parent forwards each request of a client to one of them.
    Dispatcher,
    /// Children of a manager, which has no control socket.
    Manager,
}

const POOL: Row = Row {
    program: TestProgram::pool,
    options: "start=3 min=3 max_spare=3 max=8 retire_delay=100 grace=2000 control=DIR/control logfile=DIR/pool.log",
    children: 3,
    model: Model::Daemon,
};

const SERVE: Row = Row {
    program: TestProgram::serve,
    options: "start=3 min=3 max_spare=3 max=8 retire_delay=100 grace=2000 control=DIR/control board_file=DIR/board",
    children: 3,
    model: Model::Daemon,
};

const POST_FORKING: Row = Row {
    program: TestProgram::postfork,
    options: "max=8 grace=2000 control=DIR/control logfile=DIR/postfork.log",
    children: 0,
    model: Model::Daemon,
};

const DISPATCHER: Row = Row {
    program: TestProgram::dispatcher,
    options: "start=3 max=3 hard_limit=1000 grace=2000 control=DIR/control",
    children: 3,
    model: Model::Dispatcher,
};

const MANAGER: Row = Row {
    program: TestProgram::workers,
    options: "start=3 grace=2000",
    children: 3,
    model: Model::Manager,
};

/// Carries out each attack of a kind once, on one daemon as long as it is unharmed.
#[track_caller]
fn survives(row: Row, kind: AttackKind) {
    let mut running: Option<Target> = None;
    let mut failures = Vec::new();
    let mut last = "the start";
    for attack in catalogue().filter(|attack| attack.kind == kind && is_chosen(attack)) {
        let mut target = running.take().unwrap_or_else(|| Target::start(row));
        let mut outcome = carry_out(&mut target, &attack);
        if let Outcome::NotPossible(_damaged) = &outcome {
            // An earlier attack may have damaged what this one needs.
            target.kill();
            target = Target::start(row);
            outcome = carry_out(&mut target, &attack);
        }
        match outcome {
            Outcome::Survived => running = Some(target),
            Outcome::NotPossible(reason) => {
                note(&format!("{row}: {attack:?}: not possible: {reason}"));
                running = Some(target);
            }
            Outcome::Harmed(harm) => {
                failures.push(format!("{row}: {attack:?} (after {last}): {harm}"));
                note(&target.description());
                target.kill();
            }
        }
        last = attack.name;
    }
    if let Some(target) = running
        && let Err(harm) = target.finish()
    {
        failures.push(format!("{row}: end after {last}: {harm}"));
    }
    failures.iter().for_each(|failure| note(failure));
    assert!(failures.is_empty(), "{} attacks harmed the daemon:\n{}", failures.len(), {
        failures.join("\n")
    });
}

fn carry_out(target: &mut Target, attack: &Attack) -> Outcome {
    let attacked = AssertUnwindSafe(|| target.attack(attack, attack.name.len() as u64, 100));
    catch_unwind(attacked).unwrap_or_else(|_panic| Outcome::Harmed("see the panic".to_owned()))
}

/// Returns whether `ATTACK` is not set, or is a part of the attack's name.
fn is_chosen(attack: &Attack) -> bool {
    std::env::var("ATTACK").is_ok_and(|part| attack.name.contains(&part))
        || std::env::var("ATTACK").is_err()
}

#[expect(clippy::print_stderr, reason = "a failed test shows it")]
fn note(text: &str) {
    eprintln!("{text}");
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.model {
            Model::Daemon if self.children == 0 => f.write_str("post-forking daemon"),
            Model::Daemon if self.options.contains("board_file") => f.write_str("serve"),
            Model::Daemon => f.write_str("pre-forking daemon"),
            Model::Dispatcher => f.write_str("dispatcher"),
            Model::Manager => f.write_str("prefork manager"),
        }
    }
}

macro_rules! attacks {
    ($($name:ident: $row:expr, $kind:ident;)+) => {
        $(#[test]
        fn $name() {
            survives($row, AttackKind::$kind);
        })+
    };
}

attacks! {
    a_pool_survives_children_that_damage_the_scoreboard: POOL, Board;
    a_pool_survives_children_that_damage_memory: POOL, Memory;
    a_pool_survives_children_that_abuse_descriptors: POOL, Descriptors;
    a_pool_survives_children_that_abuse_processes: POOL, Processes;
    a_pool_survives_children_that_talk_too_much: POOL, Speech;
    serve_survives_children_that_damage_the_scoreboard: SERVE, Board;
    serve_survives_children_that_damage_memory: SERVE, Memory;
    serve_survives_children_that_abuse_descriptors: SERVE, Descriptors;
    serve_survives_children_that_abuse_processes: SERVE, Processes;
    serve_survives_children_that_talk_too_much: SERVE, Speech;
    a_post_forking_daemon_survives_children_that_damage_the_scoreboard: POST_FORKING, Board;
    a_post_forking_daemon_survives_children_that_damage_memory: POST_FORKING, Memory;
    a_post_forking_daemon_survives_children_that_abuse_descriptors: POST_FORKING, Descriptors;
    a_post_forking_daemon_survives_children_that_abuse_processes: POST_FORKING, Processes;
    a_post_forking_daemon_survives_children_that_talk_too_much: POST_FORKING, Speech;
    a_dispatcher_survives_workers_that_damage_the_scoreboard: DISPATCHER, Board;
    a_dispatcher_survives_workers_that_damage_memory: DISPATCHER, Memory;
    a_dispatcher_survives_workers_that_abuse_descriptors: DISPATCHER, Descriptors;
    a_dispatcher_survives_workers_that_abuse_processes: DISPATCHER, Processes;
    a_dispatcher_survives_workers_that_talk_too_much: DISPATCHER, Speech;
    a_dispatcher_survives_workers_that_abuse_their_link: DISPATCHER, WorkerLink;
    a_manager_survives_workers_that_damage_the_scoreboard: MANAGER, Board;
    a_manager_survives_workers_that_damage_memory: MANAGER, Memory;
    a_manager_survives_workers_that_abuse_descriptors: MANAGER, Descriptors;
    a_manager_survives_workers_that_abuse_processes: MANAGER, Processes;
    a_manager_survives_workers_that_talk_too_much: MANAGER, Speech;
}
