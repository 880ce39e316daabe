//! The state machine in a world that is played: processes that start, listen, crash and end, and an API that promotes,
//! refuses and tells what it knows late.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ruko_api_types::host::{AppToRun, Attach, ReleaseToRun};
use ruko_api_types::platform::DynoState;

use super::sample::{app, one_off, release};
use super::*;
use crate::dyno::wire::{Failed, Stage as Told, State};

const TIMES: Times = Times { boot: 60, stop: 30, drain: 5, release: 600, one_off: 3600 };

fn address() -> SocketAddr {
    "10.0.0.2:5000".parse().unwrap()
}

/// How far a process of the played world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Real {
    Wanted,
    Launched,
    Started,
    Proved,
    Stopping,
}

struct World {
    app: App,
    now: Millis,
    ids: u64,
    real: BTreeMap<String, (Real, Start)>,
    /// What the API knows.
    api: AppToRun,
    /// What it told last.
    told: AppToRun,
    routed: Route,
    failed: Vec<(u64, String)>,
    switching: Option<Route>,
    again: Option<Millis>,
    said: Vec<String>,
    gone: bool,
    /// Every action, shortly.
    log: Vec<String>,
    /// Web dynos crash in this world.
    may_be_empty: bool,
}

impl World {
    fn new(api: AppToRun) -> Self {
        let mut world = Self {
            app: App::new("app"),
            now: 1_000_000,
            ids: 0,
            real: BTreeMap::new(),
            told: api.clone(),
            api,
            routed: Route::default(),
            failed: Vec::new(),
            switching: None,
            again: None,
            said: Vec::new(),
            gone: false,
            log: Vec::new(),
            may_be_empty: false,
        };
        world.tell();
        world
    }

    /// The API's wishes come here.
    fn tell(&mut self) {
        self.told = self.api.clone();
        self.app.want(self.api.clone());
        self.plan();
    }

    fn plan(&mut self) {
        let mut ids = self.ids;
        let plan = self.app.plan(self.now, &TIMES, &mut || next(&mut ids));
        self.ids = ids;
        self.carry_out(plan);
    }

    fn event(&mut self, event: Event) {
        let mut ids = self.ids;
        let plan = self.app.happened(event, self.now, &TIMES, &mut || next(&mut ids));
        self.ids = ids;
        self.carry_out(plan);
    }

    fn carry_out(&mut self, plan: Plan) {
        self.again = plan.again;
        for action in plan.actions {
            match action {
                Action::Prefetch(_) | Action::Up(_) => {}
                Action::Say(_, text) => self.said.push(text),
                Action::Start(start) => {
                    self.log.push(format!("start {} v{}", start.name, start.release.version));
                    assert!(self.real.insert(start.id.clone(), (Real::Wanted, *start)).is_none());
                }
                Action::Stop(id, seconds) => {
                    let routed = self.routed.dynos.contains(&id);
                    assert!(!routed || self.gone, "stopped a dyno that gets requests: {:?}", self.log);
                    let (real, start) = self.real.get_mut(&id).expect("it was started");
                    let kill = if seconds == 0 { "kill" } else { "stop" };
                    self.log.push(format!("{kill} {} v{}", start.name, start.release.version));
                    *real = Real::Stopping;
                }
                Action::Switch(route) => {
                    assert!(self.switching.is_none(), "two switches at a time");
                    for id in &route.dynos {
                        let dyno = self.app.dyno(id).expect("it is there");
                        assert!(dyno.stage == Stage::Up && dyno.is_web() && dyno.release == route.release);
                    }
                    // By what it was told: somebody may have changed their mind since.
                    let web = |release: &ReleaseToRun| {
                        targets(release).iter().any(Target::is_web) && release.version == route.release
                    };
                    let wanted = [&self.told.current, &self.told.candidate];
                    let should = wanted.into_iter().flatten().any(web) && !self.told.asleep;
                    let emptied = !self.routed.dynos.is_empty() && route.dynos.is_empty();
                    assert!(!emptied || !should || self.may_be_empty, "nobody gets requests: {:?}", self.log);
                    self.switching = Some(route);
                }
                Action::Fail(version, reason) => {
                    self.log.push(format!("fail v{version}"));
                    self.failed.push((version, reason));
                    if self.api.candidate.as_ref().is_some_and(|c| c.version == version) {
                        self.api.candidate = None;
                    }
                }
            }
        }
    }

    /// The API answers a switch.
    fn answer(&mut self, refuse: bool) {
        self.answer_to(refuse, false);
    }

    /// Where the answer is lost, the API may have done what it was asked or not.
    fn answer_to(&mut self, refuse: bool, lost: bool) {
        let Some(route) = self.switching.take() else { return };
        let version = |release: &Option<ReleaseToRun>| release.as_ref().map(|r| r.version);
        let reports: BTreeMap<_, _> = self.app.reports().map(|r| (r.id.clone(), r)).collect();
        let up =
            |id: &String| reports.get(id).is_some_and(|r| r.state == DynoState::Up && r.address.is_some());
        let answer = if refuse || !route.dynos.iter().all(up) {
            Answer::Refused
        } else if version(&self.api.candidate) == Some(route.release) {
            self.api.current = self.api.candidate.take();
            Answer::Done
        } else if version(&self.api.current) == Some(route.release) {
            Answer::Done
        } else {
            Answer::TooLate
        };
        if answer == Answer::Done {
            let shown: Vec<&str> = route.dynos.iter().map(String::as_str).collect();
            self.log.push(format!("switch v{} [{}]", route.release, shown.join(" ")));
            self.routed = route.clone();
        }
        let answer = if lost { Answer::Refused } else { answer };
        self.event(Event::Switched(route, answer));
    }

    fn set(&mut self, id: &str, real: Real) {
        self.real.get_mut(id).expect("it is there").0 = real;
    }

    /// The next thing that happens to a process by itself.
    fn advance(&mut self, id: &str) {
        let Some((real, start)) = self.real.get(id).cloned() else { return };
        match real {
            Real::Wanted => {
                self.set(id, Real::Launched);
                self.event(Event::Launched(id.to_owned()));
            }
            Real::Launched => {
                self.set(id, Real::Started);
                self.event(Event::Started(id.to_owned(), address(), None));
            }
            Real::Started if start.name.process_type.as_str() == WEB => {
                self.set(id, Real::Proved);
                self.event(Event::Proved(id.to_owned()));
            }
            Real::Started if start.role == Role::Release => self.end(id, Some(0)),
            Real::Started | Real::Proved => {}
            Real::Stopping => self.end(id, Some(143)),
        }
    }

    fn end(&mut self, id: &str, status: Option<u8>) {
        if self.real.remove(id).is_some() {
            // The router finds that out by itself.
            self.routed.dynos.remove(id);
            let end = End { at: self.now, status, ..End::default() };
            self.event(Event::Ended(id.to_owned(), end));
        }
    }

    /// One that has no container yet gets none for now.
    fn find_no_room(&mut self, id: &str) {
        if matches!(self.real.get(id), Some((Real::Wanted | Real::Launched, _))) {
            self.real.remove(id);
            let failed = Some(Failed { message: "all 64 slots are taken".into(), try_again: true });
            self.event(Event::Ended(id.to_owned(), End { at: self.now, failed, ..End::default() }));
        }
    }

    /// Everything goes well until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..2000 {
            let before = (self.log.len(), self.real.values().map(|(real, _)| *real).collect::<Vec<_>>());
            self.tell();
            self.answer(false);
            self.real.keys().cloned().collect::<Vec<_>>().iter().for_each(|id| self.advance(id));
            self.answer(false);
            let after = (self.log.len(), self.real.values().map(|(real, _)| *real).collect::<Vec<_>>());
            if before == after {
                match self.again {
                    // A one-off dyno's limit is far away.
                    Some(again) if again < self.now + 1_300_000 => self.now = self.now.max(again),
                    _ => return,
                }
            }
        }
        panic!("it never ends: {:?}", self.log);
    }

    fn settled(api: AppToRun) -> Self {
        let mut world = Self::new(api);
        world.settle();
        world.log.clear();
        world.said.clear();
        world
    }

    /// What happened since the last time.
    fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn id(&self, name: &str, version: u64) -> String {
        let of = |(_, (_, start)): &(&String, &(Real, Start))| {
            start.name.to_string() == name && start.release.version == version
        };
        self.real
            .iter()
            .find(of)
            .map(|(id, _)| id.clone())
            .unwrap_or_else(|| panic!("{name} v{version} is not there"))
    }

    fn states(&self) -> Vec<String> {
        let mut states: Vec<_> =
            self.app.reports().map(|r| format!("{} v{} {}", r.name, r.release, r.state.as_str())).collect();
        states.sort();
        states
    }
}

fn next(ids: &mut u64) -> String {
    *ids += 1;
    format!("{:04}", *ids)
}

fn count(log: &[String], what: &str) -> usize {
    log.iter().filter(|line| line.starts_with(what)).count()
}

#[test]
fn a_first_release_starts_proves_itself_and_gets_requests() {
    let mut world = World::new(app(None, Some(release(1, &[("web", 1), ("worker", 1)], 1))));
    world.settle();
    assert_eq!(world.news(), ["start web.1 v1", "switch v1 [0001]", "start worker.1 v1"]);
    assert_eq!(world.states(), ["web.1 v1 up", "worker.1 v1 up"]);
}

#[test]
fn a_deploy_starts_beside_switches_then_drains_then_stops() {
    let mut world = World::settled(app(Some(release(1, &[("web", 2), ("worker", 1)], 1)), None));
    world.api.candidate = Some(release(2, &[("web", 2), ("worker", 1)], 1));
    world.settle();
    let news = world.news();
    let at =
        |what: &str| news.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what}: {news:?}"));
    let switch = news.iter().position(|line| line.starts_with("switch v2")).unwrap();
    assert!(at("start web.1 v2") < switch && at("start web.2 v2") < switch);
    assert!(switch < at("stop web.1 v1") && switch < at("stop web.2 v1"));
    // Of workers never two.
    assert!(switch < at("stop worker.1 v1") && at("stop worker.1 v1") < at("start worker.1 v2"));
    assert_eq!(world.states(), ["web.1 v2 up", "web.2 v2 up", "worker.1 v2 up"]);
}

#[test]
fn an_old_web_dyno_is_left_to_its_requests_for_a_while() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    world.api.candidate = Some(release(2, &[("web", 1)], 1));
    world.tell();
    let (new, old) = (world.id("web.1", 2), world.id("web.1", 1));
    (0..3).for_each(|_| world.advance(&new));
    world.answer(false);
    assert_eq!(world.real[&old].0, Real::Proved);
    assert_eq!(world.again, Some(world.now + 5000));
    world.now += 5000;
    world.plan();
    assert_eq!(world.real[&old].0, Real::Stopping);
}

#[test]
fn a_candidate_that_crashes_fails_and_the_current_release_is_not_touched() {
    let mut world = World::settled(app(Some(release(1, &[("web", 2), ("worker", 1)], 1)), None));
    let before = world.states();
    world.api.candidate = Some(release(2, &[("web", 2), ("worker", 1)], 1));
    world.tell();
    let id = world.id("web.1", 2);
    world.advance(&id);
    world.advance(&id);
    world.end(&id, Some(1));
    assert_eq!(world.failed, [(2, "web.1: H10 (App crashed): exited with status 1".to_owned())]);
    world.settle();
    assert_eq!(world.states(), before);
    assert_eq!(count(&world.news(), "switch"), 0);
}

#[test]
fn a_candidate_that_does_not_listen_fails_in_time() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    world.api.candidate = Some(release(2, &[("web", 1)], 1));
    world.tell();
    let id = world.id("web.1", 2);
    world.advance(&id);
    world.advance(&id);
    assert_eq!(world.again, Some(world.now + 60_000));
    world.now += 60_000;
    world.plan();
    let reason = "web.1: R10 (Boot timeout): Web process failed to bind to $PORT within 60 seconds of launch";
    assert_eq!(world.failed, [(2, reason.to_owned())]);
    assert!(world.said.iter().any(|line| line.starts_with("Error R10")), "{:?}", world.said);
    assert_eq!(world.real[&id].0, Real::Stopping);
}

#[test]
fn a_check_that_fails_is_told_with_its_last_answer() {
    let mut world = World::new(app(None, Some(release(1, &[("web", 1)], 1))));
    world.api.web.check_path = Some("/up".into());
    world.tell();
    let id = world.id("web.1", 1);
    world.advance(&id);
    world.advance(&id);
    world.event(Event::Unproved(id.clone(), "status 500".into()));
    world.now += 60_000;
    world.plan();
    assert!(
        world.failed[0].1.contains("`/up`") && world.failed[0].1.contains("status 500"),
        "{:?}",
        world.failed
    );
}

#[test]
fn a_newer_candidate_overtakes() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    world.api.candidate = Some(release(2, &[("web", 1)], 1));
    world.tell();
    let overtaken = world.id("web.1", 2);
    (0..2).for_each(|_| world.advance(&overtaken));
    world.api.candidate = Some(release(3, &[("web", 1)], 1));
    world.tell();
    assert_eq!(world.real[&overtaken].0, Real::Stopping);
    world.settle();
    assert_eq!(world.states(), ["web.1 v3 up"]);
    assert!(world.failed.is_empty());
}

#[test]
fn a_switch_that_crosses_the_news_does_not_bring_the_old_release_back() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1), ("worker", 1)], 1)), None));
    world.api.candidate = Some(release(2, &[("web", 1), ("worker", 1)], 1));
    let stale = world.api.clone();
    world.tell();
    let id = world.id("web.1", 2);
    (0..3).for_each(|_| world.advance(&id));
    world.answer(false);
    world.news();
    world.app.want(stale);
    world.plan();
    assert_eq!(count(&world.news(), "start web"), 0);
    world.settle();
    assert_eq!(world.states(), ["web.1 v2 up", "worker.1 v2 up"]);
}

#[test]
fn the_release_phase_comes_first() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    let mut candidate = release(2, &[("web", 1)], 1);
    candidate.release_phase = Some("migrate".into());
    world.api.candidate = Some(candidate.clone());
    world.tell();
    assert_eq!(world.news(), ["start release.2 v2"]);
    let id = world.id("release.2", 2);
    assert_eq!(world.real[&id].1.command, "migrate");
    (0..2).for_each(|_| world.advance(&id));
    world.end(&id, Some(3));
    assert_eq!(world.failed, [(2, "release command exited with status 3".to_owned())]);
    world.settle();
    assert_eq!(world.states(), ["web.1 v1 up"]);
    world.news();

    candidate.version = 3;
    world.api.candidate = Some(candidate);
    world.settle();
    let news = world.news();
    assert_eq!(news[..2], ["start release.3 v3", "start web.1 v3"]);
    assert_eq!(count(&news, "start release"), 1);
    assert_eq!(world.states(), ["web.1 v3 up"]);
}

#[test]
fn a_release_phase_has_an_end() {
    let mut candidate = release(1, &[("web", 1)], 1);
    candidate.release_phase = Some("sleep".into());
    let mut world = World::new(app(None, Some(candidate)));
    let id = world.id("release.1", 1);
    (0..2).for_each(|_| world.advance(&id));
    world.now += 600_000;
    world.plan();
    assert_eq!(world.failed, [(1, "release command did not end within 600 seconds".to_owned())]);
    assert_eq!(world.real[&id].0, Real::Stopping);
}

#[test]
fn without_web_dynos_the_others_prove_a_release() {
    let mut world = World::new(app(None, Some(release(1, &[("worker", 2)], 1))));
    world.settle();
    assert_eq!(world.news(), ["start worker.1 v1", "start worker.2 v1", "switch v1 []"]);
    // And where there is nothing at all, nothing has to be proved.
    let mut world = World::new(app(None, Some(release(1, &[], 1))));
    world.settle();
    assert_eq!(world.news(), ["switch v1 []"]);
}

#[test]
fn a_restart_of_web_dynos_is_rolling_and_replaces_before_it_ends() {
    let mut world = World::settled(app(Some(release(1, &[("web", 8)], 1)), None));
    world.api.current = Some(release(1, &[("web", 8)], 2));
    world.tell();
    assert_eq!(count(&world.log, "start"), 2, "a quarter at a time");
    assert_eq!(count(&world.log, "stop"), 0);
    let least = world.routed.dynos.len();
    world.settle();
    assert_eq!((least, world.routed.dynos.len()), (8, 8));
    let news = world.news();
    assert_eq!((count(&news, "start"), count(&news, "stop")), (8, 8));
}

#[test]
fn a_restart_of_workers_ends_before_it_starts() {
    let mut world = World::settled(app(Some(release(1, &[("worker", 1)], 1)), None));
    world.api.current = Some(release(1, &[("worker", 1)], 2));
    world.settle();
    assert_eq!(world.news(), ["stop worker.1 v1", "start worker.1 v1"]);
}

#[test]
fn scaling_routes_what_comes_and_unroutes_what_goes() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    world.api.current = Some(release(1, &[("web", 3)], 1));
    world.settle();
    assert_eq!(world.routed.dynos.len(), 3);
    world.news();
    world.api.current = Some(release(1, &[("web", 1)], 1));
    world.settle();
    let news = world.news();
    assert!(news[0].starts_with("switch v1 ["), "{news:?}");
    assert_eq!((count(&news, "stop"), world.routed.dynos.len()), (2, 1));
    world.api.current = Some(release(1, &[("web", 0)], 1));
    world.settle();
    assert!(world.routed.dynos.is_empty() && world.real.is_empty());
}

#[test]
fn another_size_is_a_restart() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    let mut current = release(1, &[("web", 1)], 1);
    current.processes[0].size.name = "Standard-2X".into();
    world.api.current = Some(current);
    world.settle();
    let news = world.news();
    assert_eq!((news[0].as_str(), news.last().unwrap().as_str()), ("start web.1 v1", "stop web.1 v1"));
}

#[test]
fn a_crash_is_unrouted_and_restarted_at_once_then_later_and_later() {
    let mut world = World::settled(app(Some(release(1, &[("web", 2)], 1)), None));
    world.may_be_empty = true;
    let id = world.id("web.1", 1);
    world.end(&id, Some(1));
    let switching = world.switching.clone().unwrap();
    assert_eq!(switching.dynos.len(), 1);
    assert_eq!(count(&world.log, "start web.1"), 1, "{:?}", world.log);
    assert!(world.said.contains(&"State changed from up to crashed".to_owned()), "{:?}", world.said);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        world.answer(false);
        let id = world.id("web.1", 1);
        world.end(&id, Some(1));
        assert!(world.states().contains(&"web.1 v1 crashed".to_owned()), "{:?}", world.states());
        pauses.push(world.again.unwrap() - world.now);
        world.now = world.again.unwrap();
        world.plan();
    }
    assert_eq!(pauses[..4], [5000, 10_000, 20_000, 40_000]);
    assert_eq!(pauses[11], 20 * 60 * 1000);
    // Who runs for long is forgiven.
    world.settle();
    world.now += 11 * 60 * 1000;
    let id = world.id("web.1", 1);
    world.news();
    world.end(&id, Some(1));
    assert_eq!(count(&world.news(), "start web.1"), 1);
}

#[test]
fn an_end_that_is_told_twice_is_one_crash() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    world.may_be_empty = true;
    for _ in 0..2 {
        let id = world.id("web.1", 1);
        world.end(&id, Some(1));
    }
    let (again, said) = (world.again, world.said.len());
    let place = world.app.dynos().next().unwrap().id.clone();
    world.event(Event::Ended(place, End { status: Some(1), ..End::default() }));
    assert_eq!((world.again, world.said.len()), (again, said));
    assert_eq!(world.states(), ["web.1 v1 crashed"]);
}

#[test]
fn when_the_last_one_crashes_the_router_knows() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    world.may_be_empty = true;
    let id = world.id("web.1", 1);
    world.end(&id, Some(1));
    assert!(world.switching.as_ref().unwrap().dynos.is_empty());
    world.settle();
    assert_eq!(world.routed.dynos.len(), 1);
}

#[test]
fn a_current_dyno_that_does_not_listen_is_killed_and_counts_as_a_crash() {
    let mut world = World::new(app(Some(release(1, &[("web", 1)], 1)), None));
    let id = world.id("web.1", 1);
    (0..2).for_each(|_| world.advance(&id));
    world.now += 60_000;
    world.plan();
    assert!(world.log.contains(&"kill web.1 v1".to_owned()) && world.failed.is_empty());
    assert_eq!(world.states(), ["web.1 v1 crashed"]);
    world.end(&id, Some(137));
    assert_eq!(world.log.last().unwrap(), "start web.1 v1");
}

#[test]
fn an_app_that_sleeps_has_no_dynos_and_wakes_at_once() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1), ("worker", 1)], 1)), None));
    world.api.asleep = true;
    world.settle();
    assert_eq!(world.states(), ["web.1 v1 idle", "worker.1 v1 up"]);
    assert!(world.said.contains(&words_idling()), "{:?}", world.said);
    assert!(world.routed.dynos.is_empty());
    world.news();
    world.api.asleep = false;
    world.tell();
    assert_eq!(world.news(), ["start web.1 v1"]);
    assert_eq!(world.states(), ["web.1 v1 starting", "worker.1 v1 up"]);
    world.settle();
    assert_eq!(world.routed.dynos.len(), 1);
}

fn words_idling() -> String {
    crate::words::IDLING.to_owned()
}

#[test]
fn who_wakes_while_it_falls_asleep_goes_on() {
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    world.api.asleep = true;
    world.tell();
    world.answer(false);
    assert!(world.routed.dynos.is_empty());
    world.api.asleep = false;
    world.tell();
    world.answer(false);
    assert_eq!(world.routed.dynos.len(), 1);
    world.settle();
    assert_eq!(count(&world.log, "start") + count(&world.log, "stop"), 0, "{:?}", world.log);
}

#[test]
fn a_one_off_dyno_runs_once() {
    let current = release(1, &[], 1);
    let mut world = World::settled(app(Some(current.clone()), None));
    world.api.one_offs.push(one_off("run-1", current));
    world.tell();
    (0..3).for_each(|_| world.advance("run-1"));
    assert_eq!(world.states(), ["run.1 v1 up"]);
    world.end("run-1", Some(7));
    assert!(world.states().is_empty());
    world.settle();
    assert_eq!(world.news(), ["start run.1 v1"]);
}

#[test]
fn a_one_off_dyno_is_stopped_when_told_when_nobody_comes_and_when_its_time_is_over() {
    let current = release(1, &[], 1);
    let mut told = one_off("told", current.clone());
    let mut alone = one_off("alone", current.clone());
    alone.attach = Some(Attach { secret_sha256: "x".into(), terminal: None });
    let mut visited = one_off("visited", current.clone());
    visited.attach.clone_from(&alone.attach);
    let mut world = World::settled(app(Some(current), None));
    world.api.one_offs = vec![told.clone(), alone, visited];
    world.tell();
    for id in ["told", "alone", "visited"] {
        (0..2).for_each(|_| world.advance(id));
    }
    world.event(Event::Attached("visited".into()));
    told.stopped = true;
    world.api.one_offs[0] = told;
    world.tell();
    assert_eq!(world.real["told"].0, Real::Stopping);
    world.now += 60_000;
    world.plan();
    assert_eq!((world.real["alone"].0, world.real["visited"].0), (Real::Stopping, Real::Started));
    world.now += 3_540_000;
    world.plan();
    assert_eq!(world.real["visited"].0, Real::Stopping);
}

#[test]
fn of_an_app_that_is_gone_nothing_is_left() {
    let current = release(1, &[("web", 2), ("worker", 1)], 1);
    let mut world = World::settled(app(Some(current.clone()), None));
    world.api.one_offs.push(one_off("run-1", current));
    world.api.candidate = Some(release(2, &[("web", 2)], 1));
    world.tell();
    world.gone = true;
    world.app.want_nothing();
    world.plan();
    world.real.keys().cloned().collect::<Vec<_>>().iter().for_each(|id| world.advance(id));
    assert!(world.app.is_over() && world.real.is_empty());
}

/// Of a candidate's dyno no start finds room, and each is tried again when it is due: how many starts there were until
/// the candidate failed.
fn starts_without_room(world: &mut World, name: &str) -> usize {
    for starts in 1..100 {
        let id = world.id(name, 1);
        world.find_no_room(&id);
        if !world.failed.is_empty() {
            return starts;
        }
        assert_eq!(world.states(), [format!("{name} v1 starting")]);
        assert!(world.real.is_empty(), "it is not started again at once");
        world.now = world.again.expect("it will be tried again");
        world.plan();
    }
    panic!("it is tried for ever: {:?}", world.log);
}

#[test]
fn a_machine_without_room_is_asked_again_and_a_candidate_waits_for_it_a_while() {
    let mut world = World::new(app(None, Some(release(1, &[("web", 1)], 1))));
    let starts = starts_without_room(&mut world, "web.1");
    assert!((6..9).contains(&starts), "{starts}");
    assert!(world.failed[0].1.contains("could not be started: all 64 slots"), "{:?}", world.failed);
}

#[test]
fn a_release_phase_waits_for_room_as_a_dyno_does() {
    let mut candidate = release(1, &[("web", 1)], 1);
    candidate.release_phase = Some("migrate".into());
    let mut world = World::new(app(None, Some(candidate.clone())));
    let starts = starts_without_room(&mut world, "release.1");
    assert!((6..9).contains(&starts), "{starts}");
    let reason = "release command could not be started: all 64 slots are taken";
    assert_eq!(world.failed, [(1, reason.to_owned())]);
    assert!(world.states().is_empty(), "{:?}", world.states());

    // Where there is room in time, it runs once, and nothing is left of its place.
    let mut world = World::new(app(None, Some(candidate)));
    let id = world.id("release.1", 1);
    world.find_no_room(&id);
    world.settle();
    assert_eq!(count(&world.log, "start release.1"), 2);
    assert_eq!(world.states(), ["web.1 v1 up"]);
}

#[test]
fn what_an_agent_finds_it_keeps() {
    let api = app(Some(release(1, &[("web", 2), ("worker", 1)], 1)), None);
    let before = World::settled(api.clone());
    let mut world = World::settled(app(None, None));
    world.api = api;
    world.routed = before.routed.clone();
    for dyno in before.app.dynos() {
        let state = State {
            stage: Told::Running { address: "10.0.0.2".parse().unwrap() },
            begun: true,
            up: Some(5),
            lines: 0,
        };
        world.app.adopt(dyno.clone(), Some(&state), world.now);
    }
    world.real = before.real;
    world.ids = before.ids;
    world.settle();
    assert_eq!((count(&world.log, "start"), count(&world.log, "stop")), (0, 0), "{:?}", world.log);
    assert_eq!(world.routed, before.routed);
}

/// The world of an agent that starts an hour after the one before had launched a web dyno.
fn an_hour_later(state: Option<&State>) -> (World, String) {
    let api = app(Some(release(1, &[("web", 1)], 1)), None);
    let mut before = World::new(api.clone());
    let id = before.id("web.1", 1);
    (0..2).for_each(|_| before.advance(&id));
    let mut world = World::new(app(None, None));
    (world.api, world.real, world.ids) = (api, before.real, before.ids);
    world.now = before.now + 3_600_000;
    let mut dyno = before.app.dyno(&id).unwrap().clone();
    dyno.address = dyno.address.filter(|_| state.is_some());
    world.app.adopt(dyno, state, world.now);
    world.tell();
    (world, id)
}

fn running(up: Option<Millis>) -> State {
    State { stage: Told::Running { address: "10.0.0.2".parse().unwrap() }, begun: true, up, lines: 0 }
}

#[test]
fn a_web_dyno_that_boots_has_its_time_from_its_adoption_on() {
    let (mut world, id) = an_hour_later(Some(&running(None)));
    assert_eq!((world.news().len(), world.again), (0, Some(world.now + 60_000)));
    world.now += 59_999;
    world.advance(&id);
    world.settle();
    assert_eq!(world.routed.dynos, BTreeSet::from([id]));
    assert_eq!(world.states(), ["web.1 v1 up"]);

    let (mut world, id) = an_hour_later(Some(&running(None)));
    world.now += 60_000;
    world.plan();
    assert_eq!(world.real[&id].0, Real::Stopping);
}

#[test]
fn a_supervisor_that_is_silent_for_a_while_says_nothing_against_its_dyno() {
    let (mut world, id) = an_hour_later(None);
    world.now += 600_000;
    world.plan();
    assert_eq!(world.news().len(), 0);
    // It was up all the time.
    world.event(Event::Started(id.clone(), address(), Some(5)));
    let report = world.app.reports().next().unwrap();
    assert_eq!((report.state, report.since, report.address), (DynoState::Up, 5, Some(address())));
    world.settle();
    assert_eq!(world.routed.dynos, BTreeSet::from([id]));

    // It was not: from now on its time counts.
    for news in [|id| Event::Launched(id), |id| Event::Started(id, address(), None)] {
        let (mut world, id) = an_hour_later(None);
        world.event(news(id));
        assert_eq!((world.news().len(), world.again), (0, Some(world.now + 60_000)));
    }
}

#[test]
fn a_phase_that_went_well_is_not_run_again_by_the_next_agent() {
    let mut candidate = release(2, &[("web", 1)], 1);
    candidate.release_phase = Some("migrate".into());
    let mut other = World::new(app(None, Some(candidate.clone())));
    let id = other.id("release.2", 2);
    let dyno = other.app.dyno(&id).unwrap().clone();
    other.tell();
    let mut next = App::new("app");
    let stage = Told::Ended(End { status: Some(0), ..End::default() });
    next.adopt(dyno, Some(&State { stage, begun: true, up: Some(1), lines: 0 }), 1);
    assert!(next.remembers_phase(2));
    next.want(app(None, Some(candidate)));
    let plan = next.plan(2, &TIMES, &mut || "x".into());
    let starts: Vec<_> = plan.actions.iter().filter(|action| matches!(action, Action::Start(_))).collect();
    assert!(matches!(starts[..], [Action::Start(start)] if start.name.to_string() == "web.1"), "{starts:?}");
}

#[test]
fn a_switch_that_is_refused_is_tried_again_and_one_too_late_waits_for_news() {
    let mut world = World::new(app(None, Some(release(1, &[("web", 1)], 1))));
    let id = world.id("web.1", 1);
    (0..3).for_each(|_| world.advance(&id));
    world.answer(true);
    assert_eq!((world.switching.is_none(), world.again), (true, Some(world.now + 1000)));
    world.now += 1000;
    world.plan();
    let route = world.switching.take().unwrap();
    world.event(Event::Switched(route, Answer::TooLate));
    assert!(world.switching.is_none());
    world.settle();
    assert_eq!(world.states(), ["web.1 v1 up"]);
}

#[test]
fn a_switch_whose_answer_was_lost_is_made_again_whatever_should_be_by_then() {
    // An app that falls asleep and wakes.
    let mut world = World::settled(app(Some(release(1, &[("web", 1)], 1)), None));
    let before = world.routed.clone();
    world.api.asleep = true;
    world.tell();
    world.answer_to(false, true);
    assert!(world.routed.dynos.is_empty());
    world.api.asleep = false;
    world.settle();
    assert_eq!(world.routed, before);
    assert_eq!(count(&world.log, "start") + count(&world.log, "stop"), 0, "{:?}", world.log);

    // A dyno that the API has heard of, and that is not wanted any more.
    world.api.current = Some(release(1, &[("web", 2)], 1));
    world.tell();
    let second = world.id("web.2", 1);
    (0..3).for_each(|_| world.advance(&second));
    world.answer_to(false, true);
    assert!(world.routed.dynos.contains(&second));
    world.api.current = Some(release(1, &[("web", 1)], 1));
    world.settle();
    assert_eq!(world.routed, before);

    // The last one crashes, and what was asked for then is not known to have been done.
    world.may_be_empty = true;
    let first = world.id("web.1", 1);
    world.end(&first, Some(1));
    world.answer(true);
    world.now += 1000;
    world.plan();
    assert!(world.switching.as_ref().unwrap().dynos.is_empty(), "{:?}", world.switching);
}

/// What a test may do to the world.
#[derive(Clone, Debug)]
enum Step {
    Advance(usize),
    Crash(usize),
    NoRoom(usize),
    Answer {
        refuse: bool,
        lost: bool,
    },
    Tell,
    /// Later news, which come late or never.
    Formation(u32, u32),
    Restart,
    Deploy(u32),
    Sleep(bool),
    Wait(Millis),
}

fn step(crashes: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..8_usize).prop_map(Step::Advance),
        if crashes { 2 } else { 0 } => (0..8_usize).prop_map(Step::Crash),
        if crashes { 1 } else { 0 } => (0..8_usize).prop_map(Step::NoRoom),
        4 => (prop::bool::weighted(0.2), prop::bool::weighted(0.1))
            .prop_map(|(refuse, lost)| Step::Answer { refuse, lost }),
        4 => Just(Step::Tell),
        2 => (0..4_u32, 0..3_u32).prop_map(|(web, worker)| Step::Formation(web, worker)),
        2 => Just(Step::Restart),
        3 => (0..3_u32).prop_map(Step::Deploy),
        1 => any::<bool>().prop_map(Step::Sleep),
        3 => prop_oneof![Just(1000), Just(6000), Just(61_000)].prop_map(Step::Wait),
    ]
}

fn play(steps: Vec<Step>, crashes: bool) {
    let mut formation = (1, 1);
    let (mut generation, mut version) = (1, 1);
    let made = |version, (web, worker): (u32, u32), generation| {
        release(version, &[("web", web), ("worker", worker)], generation)
    };
    let mut world = World::new(app(Some(made(1, formation, 1)), None));
    world.may_be_empty = crashes;
    for step in steps {
        let ids: Vec<String> = world.real.keys().cloned().collect();
        match step {
            Step::Advance(index) => ids.get(index).into_iter().for_each(|id| world.advance(id)),
            Step::Crash(index) => ids.get(index).into_iter().for_each(|id| world.end(id, Some(1))),
            Step::NoRoom(index) => ids.get(index).into_iter().for_each(|id| world.find_no_room(id)),
            Step::Answer { refuse, lost } => world.answer_to(refuse, lost),
            Step::Tell => world.tell(),
            Step::Formation(web, worker) => formation = (web, worker),
            Step::Restart => generation += 1,
            Step::Deploy(phase) => {
                version += 1;
                let mut candidate = made(version, formation, generation);
                candidate.release_phase = (phase == 0).then(|| "migrate".to_owned());
                world.api.candidate = Some(candidate);
            }
            Step::Sleep(asleep) => world.api.asleep = asleep,
            // A boot that takes too long is a crash of its kind.
            Step::Wait(time) if time > 10_000 && !crashes => {}
            Step::Wait(time) => {
                world.now += time;
                world.plan();
            }
        }
        let current = world.api.current.as_ref().map_or(1, |c| c.version);
        world.api.current = Some(made(current, formation, generation));
        if let Some(candidate) = &mut world.api.candidate {
            let phase = candidate.release_phase.take();
            *candidate =
                ReleaseToRun { release_phase: phase, ..made(candidate.version, formation, generation) };
        }
    }
    world.settle();
    // What should be is, and nothing else.
    let version = world.api.current.as_ref().unwrap().version;
    assert!(world.api.candidate.is_none());
    let web = if world.api.asleep { "idle" } else { "up" };
    let mut should: Vec<_> = (1..=formation.0).map(|n| format!("web.{n} v{version} {web}")).collect();
    should.extend((1..=formation.1).map(|n| format!("worker.{n} v{version} up")));
    assert_eq!(world.states(), should);
    let up: BTreeSet<_> = world
        .app
        .dynos()
        .filter(|dyno| dyno.is_web() && dyno.stage == Stage::Up)
        .map(|dyno| dyno.id.clone())
        .collect();
    assert_eq!(world.routed.dynos, up);
    let alive: BTreeSet<_> = world.app.dynos().filter(|dyno| dyno.is_alive()).map(|dyno| &dyno.id).collect();
    assert_eq!(alive, world.real.keys().collect());
    assert!(world.app.dynos().filter(|dyno| dyno.is_alive()).all(|dyno| dyno.generation >= generation));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, requests never go to nobody, and in the end all is as it should be.
    #[test]
    fn without_crashes_somebody_always_serves(steps in prop::collection::vec(step(false), 0..120)) {
        play(steps, false);
    }

    /// The same where processes crash, too.
    #[test]
    fn with_crashes_it_still_ends_well(steps in prop::collection::vec(step(true), 0..120)) {
        play(steps, true);
    }
}
