//! Build slots: so many containers at a time on this node, given out in the order in which they were asked for.
//!
//! Whoever wants one has a ticket: a file in the directory of its run, which is locked by a process that lives
//! ([`RuntimeDir`]). The kernel frees that lock when the process dies, whatever it dies of, and with it the slot or
//! the place in the queue. Tickets are made, read and changed under one lock; who gets a slot follows from all of
//! them by [`Rules::standing`], so that nobody has to hand slots out.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use ruko_core::config::ServeConfig;
use ruko_core::{Fault, UserName};
use ruko_sys::{AtPath, Lock};
use serde::{Deserialize, Serialize};

use crate::runtime_dir::{self, RuntimeDir};

/// The name of a ticket in the directory of its run.
const TICKET: &str = "ticket";
/// The lock under which tickets change, beside those directories.
const QUEUE: &str = "queue.lock";
/// What one build is reckoned to take of memory, in bytes: about half of what it may take.
const MEMORY_FOR_ONE: u64 = 1280 << 20;

/// What somebody wants a slot for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A push, or the build of a tarball.
    Push,
    /// A clone, a fetch, or what git asks before a push over HTTP.
    Fetch,
}

/// Who waits for a slot, or has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ticket {
    /// They rise: the lowest came first.
    number: u64,
    user: UserName,
    kind: Kind,
    /// Whether it has a slot.
    admitted: bool,
}

/// How many slots there are, and how many of them one user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) slots: usize,
    pub(crate) per_user: usize,
}

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is a slot.
    Admitted,
    /// All slots are taken, or go to others first.
    Behind {
        /// So many pushes get theirs before.
        pushes: usize,
        /// So many clones and fetches.
        fetches: usize,
    },
    /// The same user has so many slots already, which is as many as one may have.
    OwnAreEnough(usize),
}

impl Rules {
    /// As configured, and otherwise as the machine suggests.
    pub(crate) fn of(config: &ServeConfig) -> Self {
        let slots = config.build_slots.map_or_else(suggested_here, |slots| slots.max(1) as usize);
        let half = slots.div_ceil(2);
        let per_user = config.user_slots.map_or(half, |most| most.max(1) as usize).min(slots);
        Self { slots, per_user }
    }

    /// Where the ticket `mine` stands among all of those who live.
    ///
    /// Slots go to those who wait in the order of their tickets; whoever has as many as one user may have is
    /// passed over until one of theirs is free.
    fn standing(self, tickets: &[Ticket], mine: &Ticket) -> Standing {
        let mut holders: Vec<&Ticket> = tickets.iter().filter(|ticket| ticket.admitted).collect();
        let mut waiting: Vec<&Ticket> = tickets.iter().filter(|ticket| !ticket.admitted).collect();
        waiting.sort_by_key(|ticket| ticket.number);
        let (mut pushes, mut fetches) = (0, 0);
        for ticket in waiting {
            let own = holders.iter().filter(|holder| holder.user == ticket.user).count();
            let is_mine = ticket.number == mine.number;
            if own >= self.per_user {
                if is_mine {
                    return Standing::OwnAreEnough(own);
                }
            } else if is_mine {
                let is_free = holders.len() < self.slots;
                return if is_free { Standing::Admitted } else { Standing::Behind { pushes, fetches } };
            } else {
                // It gets the next one that is free, if there is none now.
                match ticket.kind {
                    Kind::Push => pushes += 1,
                    Kind::Fetch => fetches += 1,
                }
                if holders.len() < self.slots {
                    holders.push(ticket);
                }
            }
        }
        Standing::Behind { pushes, fetches }
    }
}

/// Builds wait for the network as much as they compute, and one that finds no memory fails.
fn suggested(processors: usize, memory_bytes: u64) -> usize {
    let by_memory = usize::try_from(memory_bytes / MEMORY_FOR_ONE).unwrap_or(usize::MAX);
    (2 * processors).min(by_memory).max(2)
}

fn suggested_here() -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    suggested(processors, memory.unwrap_or(u64::MAX))
}

/// `MemTotal` of /proc/meminfo (proc_meminfo(5)), in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A place in the queue, or a slot. Dropped, it is free.
#[derive(Debug)]
pub(crate) struct Place {
    parent: PathBuf,
    path: PathBuf,
    ticket: Ticket,
    rules: Rules,
}

impl Place {
    /// Joins the queue.
    pub(crate) fn queue(dir: &RuntimeDir, user: &UserName, kind: Kind, rules: Rules) -> Result<Self, Fault> {
        let parent = dir.path().parent().unwrap_or(Path::new("/")).to_owned();
        let _one_at_a_time = Lock::take(&parent.join(QUEUE))?;
        let last = living(&parent)?.iter().map(|ticket| ticket.number).max().unwrap_or(0);
        let ticket = Ticket { number: last + 1, user: user.clone(), kind, admitted: false };
        let path = dir.join(TICKET);
        write(&path, &ticket)?;
        Ok(Self { parent, path, ticket, rules })
    }

    /// Takes a slot if it is this one's turn, and says where it stands otherwise.
    pub(crate) fn look(&mut self) -> Result<Standing, Fault> {
        let _one_at_a_time = Lock::take(&self.parent.join(QUEUE))?;
        let standing = self.rules.standing(&living(&self.parent)?, &self.ticket);
        if standing == Standing::Admitted {
            self.ticket.admitted = true;
            write(&self.path, &self.ticket)?;
        }
        Ok(standing)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn write(path: &Path, ticket: &Ticket) -> Result<(), Fault> {
    fs::write(path, serde_json::to_vec(ticket)?).at("write", path)?;
    Ok(())
}

/// The tickets of those who live.
fn living(parent: &Path) -> Result<Vec<Ticket>, Fault> {
    let mut tickets = Vec::new();
    for entry in fs::read_dir(parent).at("read", parent)?.flatten() {
        // One that has just left took its ticket along.
        let Ok(text) = fs::read(entry.path().join(TICKET)) else { continue };
        if runtime_dir::is_held(&entry.path()) {
            // One that cannot be read was left half written by somebody who died.
            tickets.extend(serde_json::from_slice::<Ticket>(&text));
        }
    }
    Ok(tickets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { slots: 3, per_user: 2 };

    fn ticket(number: u64, user: &str, admitted: bool) -> Ticket {
        Ticket { number, user: user.parse().unwrap(), kind: Kind::Push, admitted }
    }

    fn standing(tickets: &[Ticket], mine: usize) -> Standing {
        RULES.standing(tickets, &tickets[mine])
    }

    #[test]
    fn slots_go_to_those_who_came_first() {
        let all = [
            ticket(1, "ada", true),
            ticket(2, "bob", true),
            ticket(5, "eve", false),
            ticket(4, "dan", false),
            ticket(6, "fay", false),
        ];
        assert_eq!(standing(&all, 3), Standing::Admitted, "dan came before eve");
        assert_eq!(standing(&all, 2), Standing::Behind { pushes: 1, fetches: 0 });
        assert_eq!(standing(&all, 4), Standing::Behind { pushes: 2, fetches: 0 });
    }

    #[test]
    fn a_user_with_enough_slots_is_passed_over_and_keeps_the_place() {
        let mut all = vec![ticket(1, "ada", true), ticket(2, "ada", true), ticket(3, "ada", false)];
        all.push(ticket(4, "bob", false));
        assert_eq!(standing(&all, 2), Standing::OwnAreEnough(2));
        assert_eq!(standing(&all, 3), Standing::Admitted);
        all[3].admitted = true;
        all.push(ticket(5, "eve", false));
        assert_eq!(standing(&all, 4), Standing::Behind { pushes: 0, fetches: 0 }, "eve is the next");
        all.remove(0);
        assert_eq!(standing(&all, 1), Standing::Admitted, "ada's turn, before eve");
    }

    #[test]
    fn one_user_alone_cannot_have_all_of_them() {
        let all: Vec<Ticket> = (1..=5).map(|number| ticket(number, "ada", number < 3)).collect();
        assert_eq!(standing(&all, 2), Standing::OwnAreEnough(2));
        assert_eq!(standing(&all, 4), Standing::OwnAreEnough(2));
    }

    #[test]
    fn fetches_are_counted_apart() {
        let mut all: Vec<Ticket> = ["a", "b", "c"]
            .iter()
            .zip(1..)
            .map(|(user, number)| ticket(number, &format!("{user}{user}"), true))
            .collect();
        all.push(Ticket { kind: Kind::Fetch, ..ticket(4, "dan", false) });
        all.push(ticket(5, "eve", false));
        all.push(ticket(6, "fay", false));
        assert_eq!(standing(&all, 5), Standing::Behind { pushes: 1, fetches: 1 });
    }

    #[test]
    fn what_the_machine_has_decides_where_nobody_did() {
        assert_eq!(suggested(2, 4 << 30), 3);
        assert_eq!(suggested(2, 64 << 30), 4);
        assert_eq!(suggested(8, 16 << 30), 12);
        assert_eq!(suggested(1, 512 << 20), 2);
        assert_eq!(total_memory("MemTotal:        2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
    }

    fn place(parent: &Path, user: &str) -> (RuntimeDir, Place) {
        let dir = RuntimeDir::create(parent).unwrap();
        let rules = Rules { slots: 1, per_user: 1 };
        let place = Place::queue(&dir, &user.parse().unwrap(), Kind::Push, rules).unwrap();
        (dir, place)
    }

    #[test]
    fn a_slot_is_free_when_its_holder_lets_go_or_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let (dir, mut first) = place(parent.path(), "ada");
        let (_other_dir, mut second) = place(parent.path(), "bob");
        let (_third_dir, mut third) = place(parent.path(), "eve");
        assert_eq!(first.look().unwrap(), Standing::Admitted);
        assert_eq!(second.look().unwrap(), Standing::Behind { pushes: 0, fetches: 0 });
        assert_eq!(third.look().unwrap(), Standing::Behind { pushes: 1, fetches: 0 });
        // As `kill -9` does it: the ticket stays, the lock is free.
        std::mem::forget(first);
        let path = dir.path().to_owned();
        dir.abandon();
        assert!(path.join(TICKET).exists());
        assert_eq!(third.look().unwrap(), Standing::Behind { pushes: 1, fetches: 0 });
        assert_eq!(second.look().unwrap(), Standing::Admitted);
        drop(second);
        assert_eq!(third.look().unwrap(), Standing::Admitted);
    }
}
