//! Who is forked and who is retired, while the household lives.

use std::time::Duration;

use daemon_core::{MonotonicTime, Phase, PoolDecision, StopReason};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::{Household, Notice, Strategy};
use crate::demand::Endowment;
use crate::parent::hands::Hands;
use crate::parent::reception::{Guest, Line};
use crate::parent::reload::Step;
use crate::parent::sizing::Sizing;
use crate::told::Told;

impl<R: 'static> Household<R> {
    pub(super) fn staff(&mut self, hands: &mut impl Hands<R>, now: MonotonicTime) {
        if let Some(until) = self.backoff.blocked_until(now) {
            if until > self.delay_told {
                self.delay_told = until;
                self.notices.push(Notice::Delayed(until.saturating_since(now)));
            }
            self.retry = Some(until);
            return;
        }
        match &mut self.strategy {
            Strategy::PostFork(_) => self.serve_the_waiting(hands, now),
            Strategy::PreFork { sizing, endowment } => {
                let endowment = endowment.clone();
                let verdict = sizing.decide(self.registry.census(), now);
                let PoolDecision { fork, retire, recheck_at } = verdict;
                let (most, least) = (sizing.max_children(), sizing.least_idle());
                self.recheck_at = recheck_at;
                let census = self.registry.census();
                let starting = census.starting();
                // A pool that starts is owed its first children, also those that failed to come.
                let owed = match self.phase {
                    Phase::Starting => self.initial.saturating_sub(self.ready + starting),
                    Phase::Running | Phase::Stopping | Phase::Stopped => 0,
                };
                let room = most.saturating_sub(census.children());
                let fork = self.backoff.allowed(fork.max(owed.min(room)), starting, now);
                self.order(fork, &endowment, hands, now);
                self.retire(retire, hands);
                self.tell_the_cap(most, least, now);
                self.roll(&endowment, most, hands, now);
            }
        }
    }

    /// Orders children, and answers how many it could.
    pub(super) fn order(
        &mut self,
        children: u32,
        endowment: &Endowment<R>,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) -> u32 {
        for ordered in 0..children {
            let request = match endowment.endow() {
                Ok(request) => request,
                Err(error) => {
                    let why = format!("cannot make what a child is born with: {error}");
                    self.notices.push(Notice::ForkFailed(why));
                    self.backoff.fork_failed(now);
                    self.retry = self.backoff.blocked_until(now);
                    return ordered;
                }
            };
            match hands.fork(request) {
                Ok(child) => {
                    self.registry.ordered(child, self.reloaded.vintage(), now);
                    endowment.ordered(child);
                }
                Err(unforked) => {
                    self.notices.push(Notice::ForkFailed(unforked.reason.to_string()));
                    return ordered;
                }
            }
        }
        children
    }

    pub(super) fn retire(&mut self, children: u32, hands: &mut impl Hands<R>) {
        if children == 0 {
            return;
        }
        for child in self.registry.longest_idle(hands.board()).into_iter().take(children as usize) {
            self.send_away(child, StopReason::Retired, hands);
        }
    }

    /// Has a child leave after the request in hand; from now on it counts as leaving.
    pub(super) fn send_away(&mut self, child: ChildId, why: StopReason, hands: &mut impl Hands<R>) {
        self.registry.dismiss(child, why);
        hands.signal(child, Signal::Term);
    }

    /// A reload goes on, turn by turn.
    pub(super) fn roll(
        &mut self,
        endowment: &Endowment<R>,
        most: u32,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) {
        loop {
            match self.reloaded.step(&self.registry, most) {
                Step::Fork(children) => {
                    let starting = self.registry.census().starting();
                    let allowed = self.backoff.allowed(children, starting, now);
                    // Less than asked for: the next event goes on from there.
                    if self.order(allowed, endowment, hands, now) < children {
                        return;
                    }
                }
                Step::Retire(children) => {
                    for child in children {
                        self.send_away(child, StopReason::Retired, hands);
                    }
                }
                Step::Done => {
                    self.notices.push(Notice::Reloaded);
                    return;
                }
                Step::Nothing => return,
            }
        }
    }

    /// Tells that the pool is as large as may be, and too small.
    pub(super) fn tell_the_cap(&mut self, most: u32, least: u32, now: MonotonicTime) {
        let census = self.registry.census();
        let spare = census.idle() + census.starting();
        let short = census.children() >= most && spare < least;
        match (short, self.cap_told) {
            (true, Told::No) => {
                self.counters.at_the_cap += 1;
                self.cap_told = Told::Yes;
                match &self.strategy {
                    // Who asks for children has said how many there may be, and knows who is busy:
                    // that none is left is an ordinary state.
                    Strategy::PreFork { sizing: Sizing::Demand { .. }, .. } => {}
                    Strategy::PreFork { sizing: Sizing::Spares(_), .. } | Strategy::PostFork(_) => {
                        self.tell_that_too_few_are_spare(most, spare, least, now);
                    }
                }
            }
            (false, Told::Yes) if census.children() < most => self.cap_told = Told::No,
            (true, Told::Yes) | (false, Told::Yes | Told::No) => {}
        }
    }

    /// On a busy day it comes and goes all the time: the log is told of it as of one thing.
    pub(super) fn tell_that_too_few_are_spare(
        &mut self,
        most: u32,
        spare: u32,
        min_spare: u32,
        now: MonotonicTime,
    ) {
        if self.full.is_news(now) {
            self.notices.push(Notice::AtTheCap { most, spare, min_spare });
        }
    }

    pub(super) fn serve_the_waiting(&mut self, hands: &mut impl Hands<R>, now: MonotonicTime) {
        let Strategy::PostFork(reception) = &mut self.strategy else {
            return;
        };
        loop {
            let census = self.registry.census();
            // After a failure one child tries out whether forks succeed again.
            if self.backoff.allowed(1, census.starting(), now) == 0 {
                return;
            }
            let Some(guest) = reception.next(census.children()) else {
                return;
            };
            let Guest { request, reply, turn } = guest;
            match hands.fork(request) {
                Ok(child) => {
                    self.registry.ordered(child, 0, now);
                    reception.ordered(child, reply, turn);
                }
                Err(unforked) => {
                    self.notices.push(Notice::ForkFailed(unforked.reason.to_string()));
                    if reception.unforked(unforked, reply, turn) == Line::Stops {
                        return;
                    }
                }
            }
        }
    }

    /// Goes from Starting to Running once the initial children are up.
    pub(super) fn come_up(&mut self, now: MonotonicTime) {
        if self.phase != Phase::Starting {
            return;
        }
        if self.ready >= self.initial {
            self.phase = Phase::Running;
            self.notices.push(Notice::Up);
        } else if now >= self.boot_deadline {
            let why = format!(
                "the initial children are not up in time: {} of {} are ready",
                self.ready, self.initial
            );
            self.not_ready.get_or_insert(why);
            self.boot_deadline = now + Duration::from_secs(3600);
        }
    }
}
