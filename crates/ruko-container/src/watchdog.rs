//! Decides from samples which bounds a container met, and when it has to be stopped.

use ruko_core::container::{Limit, LimitMet, RunLimits};
use ruko_lxc::cgroup::Counts;

/// In so many ticks in a row new forks must have been refused before it counts as a fork bomb. A build
/// that asks for too much parallelism meets the bound too, but its forks succeed again in between.
const RISING_TICKS: u32 = 3;

/// What is seen of a container at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) counts: Counts,
    pub(crate) disk_full: bool,
}

/// What was seen of a container so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watchdog {
    limits: RunLimits,
    last: Counts,
    rising: u32,
    disk_was_full: bool,
}

impl Watchdog {
    pub(crate) fn new(limits: RunLimits) -> Self {
        Self { limits, last: Counts::default(), rising: 0, disk_was_full: false }
    }

    /// A sample outside the regular ticks: it counts for what was met, not for a decision.
    pub(crate) fn note(&mut self, sample: Sample) {
        self.disk_was_full |= sample.disk_full;
        self.last.oom_kills = self.last.oom_kills.max(sample.counts.oom_kills);
        self.last.forks_refused = self.last.forks_refused.max(sample.counts.forks_refused);
    }

    /// A sample of a regular tick, and the bound for which the container has to be stopped.
    pub(crate) fn tick(&mut self, sample: Sample) -> Option<LimitMet> {
        let rises = sample.counts.forks_refused > self.last.forks_refused;
        self.rising = if rises { self.rising + 1 } else { 0 };
        self.note(sample);
        (self.rising >= RISING_TICKS).then(|| self.met_of(Limit::Pids))
    }

    /// Every bound that was met, once.
    pub(crate) fn met(&self) -> Vec<LimitMet> {
        let seen = [
            (Limit::Memory, self.last.oom_kills > 0),
            (Limit::Pids, self.last.forks_refused > 0),
            (Limit::Disk, self.disk_was_full),
        ];
        seen.into_iter().filter(|(_, met)| *met).map(|(limit, _)| self.met_of(limit)).collect()
    }

    /// How many processes the kernel killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.last.oom_kills
    }

    /// A bound with its value.
    pub(crate) fn met_of(&self, limit: Limit) -> LimitMet {
        let value = match limit {
            Limit::Time => self.limits.seconds.unwrap_or(u64::MAX),
            Limit::Memory => self.limits.memory_bytes,
            Limit::Pids => self.limits.pids,
            Limit::Disk => self.limits.disk_bytes,
        };
        LimitMet { limit, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RunLimits = RunLimits { seconds: Some(9), memory_bytes: 64, pids: 100, disk_bytes: 32 };

    fn forks(forks_refused: u64) -> Sample {
        Sample { counts: Counts { forks_refused, oom_kills: 0 }, disk_full: false }
    }

    /// At which tick the container is stopped.
    fn stopped_at(samples: &[u64]) -> Option<usize> {
        let mut watchdog = Watchdog::new(LIMITS);
        samples.iter().position(|count| watchdog.tick(forks(*count)).is_some())
    }

    #[test]
    fn refusals_that_rise_in_three_ticks_in_a_row_are_a_fork_bomb() {
        assert_eq!(stopped_at(&[10, 20, 30]), Some(2));
        assert_eq!(stopped_at(&[0, 0, 1, 2, 3]), Some(4));
    }

    #[test]
    fn refusals_that_pause_are_a_busy_build() {
        assert_eq!(stopped_at(&[10, 20, 20, 30, 40, 40, 50]), None);
        assert_eq!(stopped_at(&[0; 20]), None);
    }

    #[test]
    fn a_question_in_between_hides_no_tick() {
        let mut watchdog = Watchdog::new(LIMITS);
        assert_eq!(watchdog.tick(forks(1)), None);
        assert_eq!(watchdog.tick(forks(2)), None);
        assert_eq!(watchdog.tick(forks(3)), Some(LimitMet { limit: Limit::Pids, value: 100 }));
    }

    #[test]
    fn what_was_met_once_stays_met_and_is_named_once() {
        let mut watchdog = Watchdog::new(LIMITS);
        assert_eq!(watchdog.met(), []);
        watchdog.note(Sample { counts: Counts { forks_refused: 0, oom_kills: 2 }, disk_full: true });
        watchdog.tick(Sample { counts: Counts { forks_refused: 0, oom_kills: 3 }, disk_full: false });
        let met = [LimitMet { limit: Limit::Memory, value: 64 }, LimitMet { limit: Limit::Disk, value: 32 }];
        assert_eq!(watchdog.met(), met);
    }
}
