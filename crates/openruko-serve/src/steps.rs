//! What the steps of a push take. They follow each other, so the time from one mark to the next is that of the step
//! that has ended.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ruko_api_client::ApiClient;
use ruko_api_types::Committed;
use ruko_api_types::push_log::{Step, StepTime, Steps};
use ruko_core::PushId;

/// The clock of one push.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Mutex<Marks>>);

struct Marks {
    last: Instant,
    times: Vec<(Step, Duration)>,
}

impl Clock {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(Marks { last: Instant::now(), times: Vec::new() })))
    }

    /// A step has ended. One that goes on later, or that comes after others, gets the time all the same.
    pub(crate) fn ended(&self, step: Step) {
        self.marks().add(step, Instant::now());
    }

    /// The push has ended, in the midst of the step after the last one that ended, unless that was the last of all.
    fn finish(&self) -> Steps {
        let mut marks = self.marks();
        let last = marks.times.iter().map(|(step, _)| *step).max();
        if let Some(next) = Step::ALL.into_iter().find(|step| Some(*step) > last) {
            marks.add(next, Instant::now());
        }
        marks.steps()
    }

    /// Tells the API of a push that was committed, beside whatever else there is to do.
    pub(crate) fn tell_committed(&self, api: &ApiClient, push: &PushId, committed: &Committed) -> Told {
        Told::of(api, push, self.committed(committed.release.is_some()))
    }

    /// The same of one that came to nothing, once that is recorded.
    pub(crate) fn tell_failed(&self, api: &ApiClient, push: &PushId) -> Told {
        Told::of(api, push, self.finish())
    }

    fn committed(&self, with_release: bool) -> Steps {
        self.ended(if with_release { Step::Release } else { Step::Commit });
        self.marks().steps()
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Marks {
    fn add(&mut self, step: Step, now: Instant) {
        let time = now.saturating_duration_since(self.last);
        self.last = now;
        match self.times.iter_mut().find(|(known, _)| *known == step) {
            Some((_, sum)) => *sum += time,
            None => self.times.push((step, time)),
        }
    }

    fn steps(&self) -> Steps {
        let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let time = |(step, time): &(Step, Duration)| StepTime { step: *step, ms: ms(time) };
        let mut steps: Vec<_> = self.times.iter().map(time).collect();
        steps.sort_by_key(|time| time.step);
        Steps { steps }
    }
}

/// Being told. Waited for when dropped: the process ends then.
pub(crate) struct Told(Option<JoinHandle<()>>);

impl Told {
    /// It is not worth a failed push.
    fn of(api: &ApiClient, push: &PushId, steps: Steps) -> Self {
        let (api, push) = (api.clone(), push.clone());
        Self(Some(thread::spawn(move || drop(api.tell_steps(&push, &steps)))))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.take().map(JoinHandle::join);
    }
}

/// A source whose end is the end of a step.
pub(crate) struct Until<R> {
    pub(crate) from: R,
    pub(crate) clock: Clock,
    pub(crate) step: Step,
}

impl<R: Read> Read for Until<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.clock.ended(self.step);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &Steps) -> Vec<&'static str> {
        steps.steps.iter().map(|time| time.step.name()).collect()
    }

    #[test]
    fn a_push_that_fails_did_so_in_the_step_that_had_not_ended() {
        let clock = Clock::start();
        for step in [
            Step::Authorize,
            Step::Lease,
            Step::Slot,
            Step::Container,
            Step::Fetch,
            Step::Receive,
            Step::Checkout,
        ] {
            clock.ended(step);
        }
        assert_eq!(names(&clock.finish()).last(), Some(&"compile"));
    }

    #[test]
    fn a_step_that_goes_on_is_one_step() {
        let clock = Clock::start();
        clock.ended(Step::Authorize);
        clock.ended(Step::Release);
        clock.ended(Step::Release);
        assert_eq!(names(&clock.committed(true)), ["authorize", "release"]);
    }

    #[test]
    fn the_end_of_a_source_is_the_end_of_its_step() {
        let clock = Clock::start();
        let mut source = Until { from: &b"bytes"[..], clock: clock.clone(), step: Step::Fetch };
        io::copy(&mut source, &mut io::sink()).unwrap();
        assert_eq!(clock.marks().times[0].0, Step::Fetch);
    }
}
