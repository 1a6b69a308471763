//! Random sequences of attacks by several children at once, while other clients are served.
//!
//! `make attack` runs them for `MINUTES` in all. Without this variable, as in `make test`, they run
//! for a few seconds. The seed is printed; `SEED` repeats a sequence, as far as the order in which
//! the processes run does not change it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use live_tests::{Attack, AttackKind, Random, catalogue};

use super::target::{Client, Target};
use super::{DISPATCHER, MANAGER, Model, POOL, POST_FORKING, Row, SERVE, note};
use crate::harness::Process;

/// The number of children that attack at the same time.
const ATTACKERS: usize = 3;
/// The number of clients that send requests without a pause.
const CLIENTS: usize = 2;
/// How long the attacks on one kind of daemon take by default.
const SHORT: Duration = Duration::from_secs(2);
/// The longest time for which an attack repeats itself, in milliseconds.
const WINDOW: u64 = 1000;
/// The number of rounds after which the daemon is stopped, and another one attacked.
const ROUNDS: usize = 10;

fn duration() -> Duration {
    let minutes = std::env::var("MINUTES").ok().and_then(|minutes| minutes.parse::<f64>().ok());
    minutes.map_or(SHORT, |minutes| Duration::from_secs_f64(minutes * 60.0 / ROWS.len() as f64))
}

fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(1, |since| since.as_nanos() as u64 % 1_000_000)
    })
}

const ROWS: [Row; 5] = [POOL, SERVE, POST_FORKING, DISPATCHER, MANAGER];

#[test]
fn daemons_survive_random_attacks_of_several_children_while_they_serve_clients() {
    let seed = seed();
    note(&format!("SEED={seed}"));
    let mut random = Random(seed);
    let mut failures = Vec::new();
    for row in ROWS {
        let end = Instant::now() + duration();
        let mut attacked = 0;
        while Instant::now() < end {
            let mut target = Target::start(row);
            let (count, survived) = besiege(&target, row, &mut random, end);
            attacked += count;
            let survived = survived.and_then(|()| {
                target.end_left_behind();
                target.stop()
            });
            if let Err(harm) = survived {
                note(&target.description());
                failures.push(format!("{row}: {harm}"));
                note(&format!("SEED={seed}: {row}: {harm}"));
            }
            target.kill();
        }
        note(&format!("{row}: {attacked} attacks"));
    }
    assert!(failures.is_empty(), "SEED={seed}:\n{}", failures.join("\n"));
}

/// Attacks a daemon in several rounds. Returns the number of attacks and whether it survived. The
/// attackers of the last round are still there when the daemon is stopped.
fn besiege(
    target: &Target,
    row: Row,
    random: &mut Random,
    end: Instant,
) -> (usize, Result<(), String>) {
    let attacks: Vec<Attack> = catalogue()
        .filter(|attack| attack.kind != AttackKind::WorkerLink || is_dispatcher(row))
        .collect();
    let load = Load::default();
    let mut count = 0;
    let survived = thread::scope(|scope| {
        for _client in 0..CLIENTS {
            scope.spawn(|| load.send_requests(target.port()));
        }
        let mut rounds = || {
            for round in 0..ROUNDS {
                let chosen: Vec<(Attack, u64, u64)> = (0..ATTACKERS)
                    .filter_map(|_attacker| {
                        let attack = random.one_of(&attacks)?;
                        Some((attack, random.number(), random.below(WINDOW)))
                    })
                    .collect();
                let names: Vec<_> = chosen.iter().map(|(attack, ..)| attack.name).collect();
                let in_round = |harm| format!("round {round}, {names:?}: {harm}");
                let attackers = attack_at_once(target, &chosen).map_err(in_round)?;
                count += chosen.len();
                target.check_serves("while the attackers live").map_err(in_round)?;
                if Instant::now() > end || round + 1 == ROUNDS {
                    return Ok(());
                }
                target.end_attack(attackers);
                let before = load.served.load(Ordering::Relaxed);
                let progress = || load.served.load(Ordering::Relaxed) > before;
                target.check_progress(progress).map_err(in_round)?;
                // Without load, the daemon comes to rest.
                load.paused.store(true, Ordering::Relaxed);
                target.recover(&BTreeMap::new()).map_err(in_round)?;
                load.paused.store(false, Ordering::Relaxed);
            }
            Ok(())
        };
        let survived = rounds();
        load.over.store(true, Ordering::Relaxed);
        survived
    });
    (count, survived)
}

fn is_dispatcher(row: Row) -> bool {
    row.model == Model::Dispatcher
}

/// Has one child carry out each attack, all at the same time. Returns the attackers.
fn attack_at_once(
    target: &Target,
    chosen: &[(Attack, u64, u64)],
) -> Result<BTreeSet<Process>, String> {
    thread::scope(|scope| {
        let running: Vec<_> = chosen
            .iter()
            .map(|(attack, seed, millis)| {
                scope.spawn(move || target.send_attack(attack, *seed, *millis))
            })
            .collect();
        let mut attackers = BTreeSet::new();
        for attack in running {
            let attacked = attack.join().map_err(|_panic| "an attacker's client panicked")?;
            attackers.extend(attacked?.attacker);
        }
        Ok(attackers)
    })
}

/// The clients that send requests during the attacks.
#[derive(Debug, Default)]
struct Load {
    over: AtomicBool,
    paused: AtomicBool,
    served: AtomicU64,
}

impl Load {
    /// Sends requests until it is over, each on a connection of its own. Requests that a hostile
    /// child takes may fail.
    fn send_requests(&self, port: u16) {
        while !self.over.load(Ordering::Relaxed) {
            let send = || Client::connect(port, Duration::from_millis(500))?.pid();
            if !self.paused.load(Ordering::Relaxed) && send().is_ok() {
                self.served.fetch_add(1, Ordering::Relaxed);
            } else {
                thread::park_timeout(Duration::from_millis(10));
            }
        }
    }
}
