//! The state machine of an app.

use std::collections::BTreeSet;

use ruko_api_types::host::{AppToRun, DynoReport, OneOff, ReleaseToRun, SizeToRun};
use ruko_core::AppName;
use ruko_core::dyno::DynoName;

use super::{
    ATTACH_SECONDS, Action, Answer, App, Crashes, Dyno, Event, Millis, Phase, Plan, Route, Stage, Start,
    Target, Times, WEB, Wanted, one_off_start, targets,
};
use crate::dyno::file::Role;
use crate::dyno::wire::{End, Stage as Told, State};
use crate::words;

/// The longest pause between a crash and the next start, in milliseconds.
const LONGEST_PAUSE: Millis = 20 * 60 * 1000;

/// The pause after the second crash in a row.
const FIRST_PAUSE: Millis = 5000;

/// Who ran so long before it crashed is restarted at once again.
const LONG: Millis = 10 * 60 * 1000;

/// The pause after a start that the machine had no room for.
const ROOM_PAUSE: Millis = 1000;

/// And the longest.
const LONGEST_ROOM_PAUSE: Millis = 30_000;

/// The pause after a switch that the API refused.
const REFUSED_PAUSE: Millis = 1000;

/// How long a switch that came too late is not tried again, in case the news of why does not come.
const TOO_LATE_PAUSE: Millis = 10_000;

impl App {
    /// An app of which nothing is known yet.
    pub(crate) fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            wanted: Wanted::Unknown,
            dynos: Default::default(),
            crashes: Default::default(),
            routed: None,
            switching: None,
            in_doubt: None,
            switch_after: 0,
            phase: None,
            failed: None,
            promoted: None,
            prefetched: None,
            finished: BTreeSet::new(),
        }
    }

    /// What should run, as the API says now.
    pub(crate) fn want(&mut self, mut wanted: AppToRun) {
        // Said before it had heard of our switch.
        if wanted.candidate.is_some() && wanted.candidate.as_ref().map(|c| c.version) == self.promoted {
            wanted.current = wanted.candidate.take();
        }
        let candidate = wanted.candidate.as_ref().map(|c| c.version);
        self.failed = self.failed.filter(|failed| Some(*failed) == candidate);
        self.phase = self.phase.filter(|(version, _)| Some(*version) == candidate);
        self.finished.retain(|id| wanted.one_offs.iter().any(|one| one.id == *id));
        self.switch_after = 0;
        self.wanted = Wanted::This(Box::new(wanted));
    }

    /// The app is gone.
    pub(crate) fn want_nothing(&mut self) {
        self.wanted = Wanted::Nothing;
    }

    /// Nobody knows what the API knows of the app: it may have forgotten what it was told.
    pub(crate) fn doubt(&mut self) {
        let routed = self.routed.iter().flat_map(|route| route.dynos.iter().cloned());
        self.in_doubt.get_or_insert_default().extend(routed);
        self.failed = None;
    }

    /// Whether the API has said what it wants of the app.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.wanted, Wanted::Unknown)
    }

    /// Whether nothing is left of an app that is gone.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.wanted, Wanted::Nothing) && self.dynos.is_empty()
    }

    /// The app's name, for people.
    pub(crate) fn name(&self) -> Option<&AppName> {
        match &self.wanted {
            Wanted::This(wanted) => Some(&wanted.app.name),
            _ => None,
        }
    }

    /// What a web dyno must answer before it is up.
    pub(crate) fn check_path(&self) -> Option<&str> {
        match &self.wanted {
            Wanted::This(wanted) => wanted.web.check_path.as_deref(),
            _ => None,
        }
    }

    /// Whether the release phase of this version has gone well and that has to be remembered.
    pub(crate) fn remembers_phase(&self, version: u64) -> bool {
        self.phase == Some((version, Phase::Done))
    }

    /// What there is, for the API.
    pub(crate) fn reports(&self) -> impl Iterator<Item = DynoReport> {
        self.dynos.values().map(|dyno| dyno.report(&self.id))
    }

    /// The dynos.
    pub(crate) fn dynos(&self) -> impl Iterator<Item = &Dyno> {
        self.dynos.values()
    }

    /// The dyno with this id.
    pub(crate) fn dyno(&self, id: &str) -> Option<&Dyno> {
        self.dynos.get(id)
    }

    /// The one-off dynos that somebody may attach to: ids and the digests of their secrets.
    pub(crate) fn attachable(&self) -> Vec<(String, String, bool)> {
        let Wanted::This(wanted) = &self.wanted else { return Vec::new() };
        let open = |one: &&OneOff| !self.finished.contains(&one.id) && !one.stopped;
        let place = |one: &OneOff| {
            let attach = one.attach.as_ref()?;
            Some((attach.secret_sha256.clone(), one.id.clone(), attach.terminal.is_some()))
        };
        wanted.one_offs.iter().filter(open).filter_map(place).collect()
    }

    /// Takes over a dyno that ran before the agent did. No state: its supervisor has not said yet how it is.
    pub(crate) fn adopt(&mut self, mut dyno: Dyno, state: Option<&State>, now: Millis) {
        dyno.stage = Stage::Starting;
        if dyno.is_web() {
            // For as long as nobody asked whether it listens its time is not over.
            dyno.launched = state.map(|_| now);
        }
        if let Some(State { stage: Told::Running { .. }, up: Some(since), .. }) = state {
            (dyno.stage, dyno.since) = (Stage::Up, *since);
        }
        let id = dyno.id.clone();
        self.dynos.insert(id.clone(), dyno);
        if let Some(State { stage: Told::Ended(end), .. }) = state {
            self.ended(&id, end, now, &mut Plan::default());
        }
    }

    /// A one-off dyno ran here before, and is no more.
    pub(crate) fn lost_one_off(&mut self, id: String) {
        self.finished.insert(id);
    }

    /// One-off dynos that have ended and that the API may still want.
    pub(crate) fn ended_one_offs(&self) -> impl Iterator<Item = String> {
        self.finished.iter().cloned()
    }

    /// Takes note of what happened, and says what is to be done.
    pub(crate) fn happened(
        &mut self,
        event: Event,
        now: Millis,
        times: &Times,
        new_id: &mut dyn FnMut() -> String,
    ) -> Plan {
        let mut plan = Plan::default();
        self.note(event, now, &mut plan);
        self.go_on(now, times, new_id, &mut plan);
        plan
    }

    /// Says what is to be done.
    pub(crate) fn plan(&mut self, now: Millis, times: &Times, new_id: &mut dyn FnMut() -> String) -> Plan {
        let mut plan = Plan::default();
        self.go_on(now, times, new_id, &mut plan);
        plan
    }

    fn note(&mut self, event: Event, now: Millis, plan: &mut Plan) {
        match event {
            Event::Launched(id) => self.with(&id, |dyno| dyno.launched = dyno.launched.or(Some(now))),
            Event::Started(id, address, up) => self.with(&id, |dyno| {
                dyno.address = Some(address);
                dyno.launched = dyno.launched.or(Some(now));
                if let Some(since) = up
                    && dyno.stage == Stage::Starting
                {
                    (dyno.stage, dyno.since) = (Stage::Up, since);
                }
            }),
            Event::Proved(id) => {
                if let Some(dyno) = self.dynos.get_mut(&id)
                    && dyno.stage == Stage::Starting
                {
                    (dyno.stage, dyno.since) = (Stage::Up, now);
                    plan.actions.push(Action::Up(id));
                }
            }
            Event::Unproved(id, why) => self.with(&id, |dyno| dyno.unproved = Some(why)),
            Event::Attached(id) => self.with(&id, |dyno| dyno.unattached = false),
            Event::Ended(id, end) => self.ended(&id, &end, now, plan),
            Event::Switched(route, answer) => self.switched(route, answer, now),
        }
    }

    fn with(&mut self, id: &str, change: impl FnOnce(&mut Dyno)) {
        if let Some(dyno) = self.dynos.get_mut(id) {
            change(dyno);
        }
    }

    fn switched(&mut self, route: Route, answer: Answer, now: Millis) {
        self.switching = None;
        match answer {
            Answer::Done => {
                if let Wanted::This(wanted) = &mut self.wanted
                    && wanted.candidate.as_ref().is_some_and(|c| c.version == route.release)
                {
                    wanted.current = wanted.candidate.take();
                    self.promoted = Some(route.release);
                    self.phase = None;
                    self.crashes.clear();
                }
                (self.routed, self.in_doubt) = (Some(route), None);
            }
            Answer::TooLate => self.switch_after = now + TOO_LATE_PAUSE,
            Answer::Refused => {
                self.switch_after = now + REFUSED_PAUSE;
                let in_doubt = self.in_doubt.get_or_insert_default();
                in_doubt.extend(route.dynos);
                in_doubt.retain(|id| self.dynos.contains_key(id));
            }
        }
    }

    fn current(&self) -> Option<&ReleaseToRun> {
        match &self.wanted {
            Wanted::This(wanted) => wanted.current.as_ref(),
            _ => None,
        }
    }

    /// The candidate, unless it has failed.
    fn candidate(&self) -> Option<&ReleaseToRun> {
        match &self.wanted {
            Wanted::This(wanted) => wanted.candidate.as_ref().filter(|c| self.failed != Some(c.version)),
            _ => None,
        }
    }

    fn is_asleep(&self) -> bool {
        matches!(&self.wanted, Wanted::This(wanted) if wanted.asleep)
    }

    /// A dyno has ended. What is told of its end later concerns its place no more.
    fn ended(&mut self, id: &str, end: &End, now: Millis, plan: &mut Plan) {
        if !self.dynos.get(id).is_some_and(Dyno::is_alive) {
            return;
        }
        let Some(dyno) = self.dynos.remove(id) else { return };
        match dyno.role {
            Role::OneOff => {
                self.finished.insert(dyno.id);
            }
            Role::Release => self.phase_ended(&dyno, end, now, plan),
            Role::Formation => self.formation_ended(dyno, end, now, plan),
        }
    }

    fn phase_ended(&mut self, dyno: &Dyno, end: &End, now: Millis, plan: &mut Plan) {
        // Adopted before anything is known of the app, its success is kept.
        let known = self.is_known();
        let is_candidates = self.candidate().is_some_and(|c| c.version == dyno.release);
        if known && !is_candidates {
            return;
        }
        let told_to_end = matches!(dyno.stage, Stage::Stopping { .. });
        match (end.status, &end.failed) {
            (Some(0), None) if !told_to_end => self.phase = Some((dyno.release, Phase::Done)),
            _ if !known || self.waits_for_room(dyno, end, now) => self.phase = None,
            (_, Some(failed)) if dyno.address.is_none() => {
                let reason = format!("release command could not be started: {}", failed.message);
                self.fail(dyno.release, reason, plan);
            }
            (_, Some(failed)) => {
                self.fail(dyno.release, format!("release command: {}", failed.message), plan);
            }
            (Some(status), None) => {
                self.fail(dyno.release, format!("release command exited with status {status}"), plan);
            }
            (None, None) => self.fail(dyno.release, "release command was lost".to_owned(), plan),
        }
    }

    fn formation_ended(&mut self, dyno: Dyno, end: &End, now: Millis, plan: &mut Plan) {
        if dyno.stage == (Stage::Stopping { crash: false }) {
            return;
        }
        let current = self.current().map(|c| c.version);
        if self.candidate().is_some_and(|c| c.version == dyno.release) {
            if !self.waits_for_room(&dyno, end, now) {
                let reason = reason(&dyno, end);
                self.fail(dyno.release, reason, plan);
            }
            return;
        }
        if self.is_known() && current != Some(dyno.release) {
            return;
        }
        let no_room = had_no_room(&dyno, end);
        let pause = if no_room { self.pause_for_room(&dyno, now) } else { self.pause(&dyno, now) };
        if !no_room {
            let was = if dyno.stage == Stage::Up { "up" } else { "starting" };
            plan.actions.push(Action::Say(dyno.id.clone(), words::changed(was, "crashed")));
        }
        self.keep_place(dyno, now + pause, end, now, no_room);
    }

    /// Whether a candidate's dyno had not begun and will be tried again, from its place. For so long only as the machine
    /// may have no room for a candidate.
    fn waits_for_room(&mut self, dyno: &Dyno, end: &End, now: Millis) -> bool {
        if !had_no_room(dyno, end) {
            return false;
        }
        let pause = self.pause_for_room(dyno, now);
        let waits = self.crashes_of(dyno, now).first + 1000 * PATIENCE > now;
        if waits {
            self.keep_place(dyno.clone(), now + pause, end, now, true);
        }
        waits
    }

    /// The crashes of dynos in this one's place; none yet when it ran for long or is another one than before.
    fn crashes_of(&mut self, dyno: &Dyno, now: Millis) -> &mut Crashes {
        let (release, generation) = (dyno.release, dyno.generation);
        let new = Crashes { release, generation, count: 0, no_room: 0, first: now };
        let crashes = self.crashes.entry(dyno.name.clone()).or_insert_with(|| new.clone());
        let ran = if dyno.stage == Stage::Up { now.saturating_sub(dyno.since) } else { 0 };
        if crashes.release != release || crashes.generation != generation || ran >= LONG {
            *crashes = new;
        }
        crashes
    }

    /// At once the first time, then longer and longer.
    fn pause(&mut self, dyno: &Dyno, now: Millis) -> Millis {
        let crashes = self.crashes_of(dyno, now);
        (crashes.count, crashes.no_room) = (crashes.count + 1, 0);
        match crashes.count {
            1 => 0,
            count => FIRST_PAUSE.saturating_mul(1 << (count - 2).min(20)).min(LONGEST_PAUSE),
        }
    }

    fn pause_for_room(&mut self, dyno: &Dyno, now: Millis) -> Millis {
        let crashes = self.crashes_of(dyno, now);
        crashes.no_room += 1;
        (ROOM_PAUSE << (crashes.no_room - 1).min(10)).min(LONGEST_ROOM_PAUSE)
    }

    /// The dyno is no more, and its place is shown.
    fn keep_place(&mut self, mut dyno: Dyno, retry: Millis, end: &End, now: Millis, starting: bool) {
        self.dynos.retain(|_, other| {
            let same = other.role == dyno.role && other.name == dyno.name && other.release == dyno.release;
            other.is_alive() || !same
        });
        dyno.stage = Stage::Crashed { retry, status: end.status, starting };
        (dyno.since, dyno.address, dyno.drain) = (now, None, None);
        self.dynos.insert(dyno.id.clone(), dyno);
    }

    fn fail(&mut self, version: u64, reason: String, plan: &mut Plan) {
        if self.failed != Some(version) {
            self.failed = Some(version);
            plan.actions.push(Action::Fail(version, reason));
        }
    }

    fn go_on(&mut self, now: Millis, times: &Times, new_id: &mut dyn FnMut() -> String, plan: &mut Plan) {
        match &self.wanted {
            Wanted::Unknown => return,
            Wanted::Nothing => {
                self.end_everything(times, plan);
                return;
            }
            Wanted::This(_) => {}
        }
        self.mark_up(now, plan);
        self.look_at_the_clock(now, times, plan);
        self.run_candidate(now, new_id, plan);
        self.run_others(now, times, new_id, plan);
        self.run_web(now, new_id, plan);
        self.route(now, plan);
        self.retire(now, times, plan);
        self.run_one_offs(now, times, plan);
        self.forget_places();
    }

    /// What has nothing to prove is up as soon as its container runs.
    fn mark_up(&mut self, now: Millis, plan: &mut Plan) {
        for dyno in self.dynos.values_mut() {
            if dyno.stage == Stage::Starting && dyno.address.is_some() && !dyno.is_web() {
                (dyno.stage, dyno.since) = (Stage::Up, now);
                plan.actions.push(Action::Up(dyno.id.clone()));
            }
        }
    }

    fn end_everything(&mut self, times: &Times, plan: &mut Plan) {
        self.dynos.retain(|_, dyno| dyno.is_alive());
        for dyno in self.dynos.values_mut().filter(|dyno| dyno.stays()) {
            stop(dyno, times.stop, plan);
        }
    }

    /// Whose time is over.
    fn look_at_the_clock(&mut self, now: Millis, times: &Times, plan: &mut Plan) {
        let mut late = Vec::new();
        for dyno in self.dynos.values_mut().filter(|dyno| dyno.stays()) {
            let (Some(launched), role) = (dyno.launched, dyno.role) else { continue };
            let limit = match role {
                Role::Formation if dyno.is_web() && dyno.stage == Stage::Starting => times.boot,
                Role::Formation => continue,
                Role::Release => times.release,
                Role::OneOff if dyno.unattached => times.one_off.min(ATTACH_SECONDS),
                Role::OneOff => times.one_off,
            };
            let end = launched.saturating_add(limit.saturating_mul(1000));
            if now < end {
                plan.at(end);
                continue;
            }
            match role {
                Role::Formation => late.push(dyno.id.clone()),
                Role::Release => {
                    let why = format!("release command did not end within {limit} seconds");
                    plan.actions.push(Action::Say(dyno.id.clone(), why));
                    late.push(dyno.id.clone());
                }
                Role::OneOff => {
                    let why = match dyno.unattached {
                        true => format!("Nobody attached within {limit} seconds"),
                        false => format!("The time limit of {limit} seconds was reached"),
                    };
                    plan.actions.push(Action::Say(dyno.id.clone(), why));
                    stop(dyno, times.stop, plan);
                }
            }
        }
        late.iter().for_each(|id| self.is_late(id, now, times, plan));
    }

    fn is_late(&mut self, id: &str, now: Millis, times: &Times, plan: &mut Plan) {
        let path = self.check_path().map(str::to_owned);
        let candidate = self.candidate().map(|c| c.version);
        let Some(dyno) = self.dynos.get_mut(id) else { return };
        let (release, name) = (dyno.release, dyno.name.clone());
        if dyno.role == Role::Release {
            stop(dyno, times.stop, plan);
            let seconds = times.release;
            self.fail(release, format!("release command did not end within {seconds} seconds"), plan);
            return;
        }
        let line = match (&path, &dyno.unproved) {
            (Some(path), Some(last)) => words::no_answer(path, times.boot, last),
            _ => words::boot_timeout(times.boot),
        };
        plan.actions.push(Action::Say(id.to_owned(), line.clone()));
        plan.actions.push(Action::Stop(id.to_owned(), 0));
        (dyno.stage, dyno.since) = (Stage::Stopping { crash: candidate != Some(release) }, now);
        if candidate == Some(release) {
            let what = line.split_once(" -> ").map_or(line.as_str(), |(_, what)| what);
            self.fail(release, format!("{name}: R10 (Boot timeout): {what}"), plan);
        }
    }

    /// Brings a candidate up beside what serves.
    fn run_candidate(&mut self, now: Millis, new_id: &mut dyn FnMut() -> String, plan: &mut Plan) {
        let Some(candidate) = self.candidate().cloned() else { return };
        let version = candidate.version;
        if let Some(slug) = &candidate.slug
            && self.prefetched != Some(version)
        {
            self.prefetched = Some(version);
            plan.actions.push(Action::Prefetch(slug.clone()));
        }
        if !self.phase_is_over(&candidate, now, new_id, plan) {
            return;
        }
        let all = targets(&candidate);
        let has_web = all.iter().any(Target::is_web);
        // Where nothing answers the web, the others prove the release.
        let proving: Vec<_> = all.iter().filter(|target| target.is_web() == has_web).collect();
        let mut ready = Some(BTreeSet::new());
        for target in proving {
            let met = |dyno: &&Dyno| dyno.stays() && dyno.release == version && dyno.name == *target.name;
            match self.dynos.values().filter(|d| d.role == Role::Formation).find(met) {
                Some(dyno) if dyno.stage == Stage::Up => {
                    ready.iter_mut().for_each(|ready| ready.extend([dyno.id.clone()]));
                }
                Some(_) => ready = None,
                None => {
                    ready = None;
                    if !self.waits_for_retry(target.name, version, now, plan) {
                        self.start(&candidate, target, now, new_id, plan);
                    }
                }
            }
        }
        if let Some(ready) = ready {
            let dynos = if has_web { ready } else { BTreeSet::new() };
            self.switch(Route { release: version, dynos }, now, plan);
        }
    }

    /// Runs the release phase, if there is one.
    fn phase_is_over(
        &mut self,
        candidate: &ReleaseToRun,
        now: Millis,
        new_id: &mut dyn FnMut() -> String,
        plan: &mut Plan,
    ) -> bool {
        let version = candidate.version;
        let Some(command) = candidate.release_phase.clone().filter(|_| candidate.slug.is_some()) else {
            return true;
        };
        match self.phase {
            Some((of, Phase::Done)) if of == version => return true,
            Some((of, Phase::Running)) if of == version => return false,
            _ => {}
        }
        let of_it = |dyno: &Dyno| dyno.role == Role::Release && dyno.release == version;
        if !self.dynos.values().any(|dyno| of_it(dyno) && dyno.is_alive()) {
            let Some(name) = phase_name(version) else { return true };
            if self.waits_for_retry(&name, version, now, plan) {
                return false;
            }
            self.dynos.retain(|_, dyno| !of_it(dyno));
            let start = Start {
                id: new_id(),
                name,
                role: Role::Release,
                release: candidate.clone(),
                generation: 0,
                command,
                size: release_size(candidate),
                env: Default::default(),
                attach: false,
                terminal: None,
            };
            self.begin(start, now, plan);
        }
        self.phase = Some((version, Phase::Running));
        false
    }

    /// Whether a dyno of this name crashed and is not to be started yet.
    fn waits_for_retry(&self, name: &DynoName, release: u64, now: Millis, plan: &mut Plan) -> bool {
        let retry = self.dynos.values().find_map(|dyno| match dyno.stage {
            Stage::Crashed { retry, .. } if dyno.name == *name && dyno.release == release => Some(retry),
            _ => None,
        });
        let waits = retry.filter(|retry| now < *retry);
        waits.into_iter().for_each(|retry| plan.at(retry));
        waits.is_some()
    }

    /// Dynos of the current release that nobody sends requests to: of each name one at a time.
    fn run_others(
        &mut self,
        now: Millis,
        times: &Times,
        new_id: &mut dyn FnMut() -> String,
        plan: &mut Plan,
    ) {
        let Some(current) = self.current().cloned() else { return };
        for target in targets(&current).iter().filter(|target| !target.is_web()) {
            let mut there = false;
            let candidate = self.candidate().map(|c| c.version);
            for dyno in self.dynos.values_mut().filter(|dyno| of_name(dyno, target.name)) {
                if Some(dyno.release) == candidate {
                    continue;
                }
                there |= dyno.is_alive();
                if dyno.stays() && !target.is_met_by(current.version, dyno) {
                    stop(dyno, times.stop, plan);
                }
            }
            if !there && !self.crashed_waits(target, &current, now, plan) {
                self.start(&current, target, now, new_id, plan);
            }
        }
    }

    /// As [`App::waits_for_retry`], of a dyno that is as it should be: another one is started at once.
    fn crashed_waits(
        &self,
        target: &Target<'_>,
        release: &ReleaseToRun,
        now: Millis,
        plan: &mut Plan,
    ) -> bool {
        let same = |dyno: &&Dyno| target.is_met_by(release.version, dyno);
        let placed = self.dynos.values().filter(same).any(|dyno| matches!(dyno.stage, Stage::Crashed { .. }));
        placed && self.waits_for_retry(target.name, release.version, now, plan)
    }

    /// The web dynos of the current release: new ones beside old ones, a few at a time.
    fn run_web(&mut self, now: Millis, new_id: &mut dyn FnMut() -> String, plan: &mut Plan) {
        let Some(current) = self.current().cloned() else { return };
        let all = targets(&current);
        let web: Vec<_> = all.iter().filter(|target| target.is_web()).collect();
        if self.is_asleep() {
            web.iter().for_each(|target| self.show_idle(&current, target, now, new_id));
            return;
        }
        let version = current.version;
        let met = |app: &Self, target: &Target<'_>| {
            app.dynos.values().any(|dyno| dyno.stays() && target.is_met_by(version, dyno))
        };
        let outdated = |app: &Self, target: &Target<'_>| {
            let old = |dyno: &Dyno| {
                dyno.stays()
                    && dyno.release == version
                    && of_name(dyno, target.name)
                    && !target.is_met_by(version, dyno)
            };
            app.dynos.values().any(old)
        };
        let replaced = |target: &&&Target<'_>| outdated(self, target) && met(self, target);
        let mut at_once = (web.len().div_ceil(4)).saturating_sub(web.iter().filter(replaced).count());
        let killed = |app: &Self, target: &Target<'_>| {
            let late = |dyno: &Dyno| {
                dyno.stage == Stage::Stopping { crash: true } && target.is_met_by(version, dyno)
            };
            app.dynos.values().any(late)
        };
        for target in &web {
            // Of one that was too late the end is waited for: it is its crash.
            if met(self, target) || killed(self, target) {
                continue;
            }
            let replaces = outdated(self, target);
            if replaces && at_once == 0 || self.crashed_waits(target, &current, now, plan) {
                continue;
            }
            at_once -= usize::from(replaces);
            self.start(&current, target, now, new_id, plan);
        }
    }

    /// The place of a dyno that sleeps.
    fn show_idle(
        &mut self,
        current: &ReleaseToRun,
        target: &Target<'_>,
        now: Millis,
        new_id: &mut dyn FnMut() -> String,
    ) {
        let candidate = self.candidate().map(|c| c.version);
        let of_it = |dyno: &Dyno| of_name(dyno, target.name) && Some(dyno.release) != candidate;
        let place = self.dynos.values().find(|dyno| of_it(dyno) && !dyno.is_alive());
        let place = place.map(|dyno| dyno.id.clone());
        // A candidate that failed may have left another one.
        self.dynos.retain(|id, dyno| !of_it(dyno) || dyno.is_alive() || place.as_ref() == Some(id));
        if let Some(place) = place.and_then(|id| self.dynos.get_mut(&id)) {
            if place.stage != Stage::Idle {
                (place.stage, place.since) = (Stage::Idle, now);
            }
            (place.release, place.generation) = (current.version, target.generation);
            place.command = target.command.to_owned();
            place.size.clone_from(&target.size.name);
            return;
        }
        if !self.dynos.values().any(of_it) {
            let start = Self::formation_start(current, target, new_id());
            let mut dyno = begun(&start, now);
            dyno.stage = Stage::Idle;
            self.dynos.insert(dyno.id.clone(), dyno);
        }
    }

    fn formation_start(release: &ReleaseToRun, target: &Target<'_>, id: String) -> Start {
        Start {
            id,
            name: target.name.clone(),
            role: Role::Formation,
            release: release.clone(),
            generation: target.generation,
            command: target.command.to_owned(),
            size: target.size.clone(),
            env: Default::default(),
            attach: false,
            terminal: None,
        }
    }

    /// Starts a dyno of the formation, in the place of one that crashed or slept.
    fn start(
        &mut self,
        release: &ReleaseToRun,
        target: &Target<'_>,
        now: Millis,
        new_id: &mut dyn FnMut() -> String,
        plan: &mut Plan,
    ) {
        let start = Self::formation_start(release, target, new_id());
        let id = start.id.clone();
        let place =
            |dyno: &Dyno| of_name(dyno, target.name) && !dyno.is_alive() && dyno.release <= release.version;
        let before = self.dynos.values().find(|dyno| place(dyno)).map(|dyno| dyno.stage);
        self.dynos.retain(|_, dyno| !place(dyno));
        self.begin(start, now, plan);
        match before {
            Some(Stage::Idle) => {
                plan.actions.push(Action::Say(id.clone(), words::UNIDLING.to_owned()));
                plan.actions.push(Action::Say(id, words::changed("down", "starting")));
            }
            Some(Stage::Crashed { starting: false, .. }) => {
                plan.actions.push(Action::Say(id, words::changed("crashed", "starting")));
            }
            _ => {}
        }
    }

    fn begin(&mut self, start: Start, now: Millis, plan: &mut Plan) {
        self.dynos.insert(start.id.clone(), begun(&start, now));
        plan.actions.push(Action::Start(Box::new(start)));
    }

    /// The dynos of the current release that should get requests.
    fn serving(&self) -> Option<Route> {
        let current = self.current()?;
        let release = current.version;
        let all = targets(current);
        let web: Vec<_> = all.iter().filter(|target| target.is_web()).collect();
        let mut dynos = BTreeSet::new();
        if !self.is_asleep() {
            let ups: Vec<_> = self
                .dynos
                .values()
                .filter(|d| d.is_web() && d.stage == Stage::Up && d.release == release)
                .collect();
            for target in &web {
                let of_it = ups.iter().filter(|dyno| dyno.name == *target.name);
                let best =
                    of_it.max_by_key(|dyno| (target.is_met_by(release, dyno), dyno.generation, &dyno.id));
                dynos.extend(best.map(|dyno| dyno.id.clone()));
            }
            if dynos.is_empty() && !web.is_empty() {
                // None of those that should is up: those that should not any more go on for a while.
                let routed = |dyno: &&&Dyno| {
                    self.routed.as_ref().is_some_and(|route| route.dynos.contains(&dyno.id))
                        || self.is_in_doubt(dyno)
                };
                dynos.extend(ups.iter().filter(routed).map(|dyno| dyno.id.clone()));
            }
        }
        Some(Route { release, dynos })
    }

    /// Tells the API when requests should go elsewhere.
    fn route(&mut self, now: Millis, plan: &mut Plan) {
        let Some(serving) = self.serving() else { return };
        // Nothing was ever routed, as far as is known, and nothing could be.
        let nothing = self.routed.is_none()
            && self.in_doubt.is_none()
            && serving.dynos.is_empty()
            && !self
                .dynos
                .values()
                .any(|d| d.is_web() && d.stage == Stage::Up && d.release <= serving.release);
        let is_routed = self.in_doubt.is_none() && self.routed.as_ref() == Some(&serving);
        if !is_routed && !nothing {
            self.switch(serving, now, plan);
        }
    }

    fn switch(&mut self, route: Route, now: Millis, plan: &mut Plan) {
        if self.switching.is_some() {
            return;
        }
        if now < self.switch_after {
            plan.at(self.switch_after);
            return;
        }
        self.switching = Some(route.clone());
        plan.actions.push(Action::Switch(route));
    }

    /// Whether requests may come to a dyno.
    fn may_be_routed(&self, dyno: &Dyno) -> bool {
        let in_route =
            |route: &Option<Route>| route.as_ref().is_some_and(|route| route.dynos.contains(&dyno.id));
        let current = self.current().map(|c| c.version);
        let unknown = self.routed.is_none() && current.is_some_and(|current| dyno.release <= current);
        in_route(&self.routed)
            || in_route(&self.switching)
            || self.is_in_doubt(dyno)
            || (unknown && dyno.stage == Stage::Up)
    }

    fn is_in_doubt(&self, dyno: &Dyno) -> bool {
        self.in_doubt.as_ref().is_some_and(|dynos| dynos.contains(&dyno.id))
    }

    /// Whether a dyno of the formation is what somebody wants.
    fn is_wanted(&self, dyno: &Dyno, serving: &BTreeSet<String>) -> bool {
        let by = |release: &ReleaseToRun, any: bool| {
            let version = release.version;
            let mut targets = targets(release).into_iter();
            let met = |target: Target<'_>| match any {
                // Whatever is changed of a candidate's formation waits until it is the current release.
                true => dyno.release == version && of_name(dyno, target.name),
                false => target.is_met_by(version, dyno),
            };
            targets.any(met)
        };
        let awake = !(dyno.is_web() && self.is_asleep());
        serving.contains(&dyno.id)
            || self.candidate().is_some_and(|candidate| by(candidate, true))
            || awake && self.current().is_some_and(|current| by(current, false))
    }

    /// Lets go of what nobody wants: web dynos when no more requests come and the old ones had their time.
    fn retire(&mut self, now: Millis, times: &Times, plan: &mut Plan) {
        let serving = self.serving().map(|route| route.dynos).unwrap_or_default();
        let candidate = self.candidate().map(|c| c.version);
        let of_formation = self.dynos.values().filter(|dyno| dyno.role == Role::Formation && dyno.stays());
        let mut wanted = BTreeSet::new();
        let mut routed = BTreeSet::new();
        for dyno in of_formation {
            if self.is_wanted(dyno, &serving) {
                wanted.insert(dyno.id.clone());
            }
            if dyno.is_web() && self.may_be_routed(dyno) {
                routed.insert(dyno.id.clone());
            }
        }
        let asleep = self.is_asleep();
        for dyno in self.dynos.values_mut().filter(|dyno| dyno.stays()) {
            match dyno.role {
                Role::OneOff => continue,
                Role::Release => {
                    if candidate != Some(dyno.release) {
                        stop(dyno, times.stop, plan);
                    }
                    continue;
                }
                Role::Formation => {}
            }
            if wanted.contains(&dyno.id) {
                dyno.drain = None;
            } else if routed.contains(&dyno.id) {
                // Until the API has confirmed that no more requests come.
            } else if dyno.is_web() && dyno.stage == Stage::Up {
                let until = *dyno.drain.get_or_insert_with(|| {
                    if asleep {
                        plan.actions.push(Action::Say(dyno.id.clone(), words::IDLING.to_owned()));
                    }
                    now + 1000 * times.drain
                });
                if now >= until {
                    stop(dyno, times.stop, plan);
                } else {
                    plan.at(until);
                }
            } else {
                stop(dyno, times.stop, plan);
            }
        }
    }

    fn run_one_offs(&mut self, now: Millis, times: &Times, plan: &mut Plan) {
        let Wanted::This(wanted) = &self.wanted else { return };
        let one_offs = wanted.one_offs.clone();
        for one_off in &one_offs {
            match self.dynos.get_mut(&one_off.id) {
                Some(dyno) if one_off.stopped && dyno.stays() => stop(dyno, times.stop, plan),
                Some(_) => {}
                None if one_off.stopped || self.finished.contains(&one_off.id) => {}
                None => self.begin(one_off_start(one_off), now, plan),
            }
        }
        // One that the API does not know any more was told to stop.
        let unknown = |dyno: &&mut Dyno| {
            dyno.role == Role::OneOff && dyno.stays() && !one_offs.iter().any(|one| one.id == dyno.id)
        };
        self.dynos.values_mut().filter(unknown).for_each(|dyno| stop(dyno, times.stop, plan));
    }

    /// Places of dynos that crashed or sleep are there only while there should be one.
    fn forget_places(&mut self) {
        let mut names = BTreeSet::new();
        let mut releases = BTreeSet::new();
        for release in self.current().into_iter().chain(self.candidate()) {
            releases.insert(release.version);
            names.extend(targets(release).iter().map(|target| target.name.clone()));
            names.extend(release.release_phase.as_ref().and_then(|_| phase_name(release.version)));
        }
        // Nor where there is one.
        let current = self.current().map(|current| (current.version, targets(current)));
        let (version, all) = current.unwrap_or_default();
        let met = |target: &&Target<'_>| {
            self.dynos.values().any(|dyno| dyno.stays() && target.is_met_by(version, dyno))
        };
        let there: BTreeSet<_> = all.iter().filter(met).map(|target| target.name.clone()).collect();
        let asleep = self.is_asleep();
        self.dynos.retain(|_, dyno| {
            if !dyno.is_alive() && there.contains(&dyno.name) && dyno.release == version {
                return false;
            }
            let idle = dyno.stage == Stage::Idle;
            dyno.is_alive()
                || names.contains(&dyno.name) && (idle && asleep || !idle && releases.contains(&dyno.release))
        });
        self.crashes.retain(|name, _| names.contains(name));
    }
}

/// How long the machine may have no room for a candidate, in seconds.
const PATIENCE: u64 = 60;

fn of_name(dyno: &Dyno, name: &DynoName) -> bool {
    dyno.role == Role::Formation && dyno.name == *name
}

fn stop(dyno: &mut Dyno, seconds: u64, plan: &mut Plan) {
    dyno.stage = Stage::Stopping { crash: false };
    plan.actions.push(Action::Stop(dyno.id.clone(), seconds));
}

fn begun(start: &Start, now: Millis) -> Dyno {
    Dyno {
        id: start.id.clone(),
        name: start.name.clone(),
        role: start.role,
        release: start.release.version,
        generation: start.generation,
        command: start.command.clone(),
        size: start.size.name.clone(),
        stage: Stage::Starting,
        since: now,
        launched: None,
        address: None,
        unattached: start.attach,
        unproved: None,
        drain: None,
    }
}

/// What the release phase of this version is called.
fn phase_name(version: u64) -> Option<DynoName> {
    let process_type = "release".parse().ok()?;
    Some(DynoName { process_type, number: u32::try_from(version).unwrap_or(u32::MAX) })
}

/// A release phase is as large as the web dynos are, or the first others.
fn release_size(release: &ReleaseToRun) -> SizeToRun {
    let web = release.processes.iter().find(|process| process.process_type.as_str() == WEB);
    let size = web.or(release.processes.first()).map(|process| process.size.clone());
    size.unwrap_or_else(|| SizeToRun {
        name: "Basic".to_owned(),
        memory_bytes: 512 << 20,
        shares: 1,
        pids: 256,
    })
}

/// Whether it could not even begin, for now.
fn had_no_room(dyno: &Dyno, end: &End) -> bool {
    dyno.address.is_none() && end.failed.as_ref().is_some_and(|failed| failed.try_again)
}

/// Why a candidate's dyno did not do.
fn reason(dyno: &Dyno, end: &End) -> String {
    let name = &dyno.name;
    match (&end.failed, end.status) {
        (Some(failed), _) if dyno.address.is_none() => {
            format!("{name}: could not be started: {}", failed.message)
        }
        _ if end.out_of_memory => {
            format!("{name}: R15 (Memory quota vastly exceeded): the kernel killed it for want of memory")
        }
        (Some(failed), _) => format!("{name}: H10 (App crashed): {}", failed.message),
        (None, Some(status)) => format!("{name}: H10 (App crashed): exited with status {status}"),
        (None, None) => format!("{name}: H10 (App crashed): it was lost"),
    }
}
