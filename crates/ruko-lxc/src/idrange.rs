//! Ranges of user and group ids that root may hand to containers: `subuid(5)`, `subgid(5)`.

/// A range of ids of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first id.
    pub first: u32,
    /// How many there are.
    pub count: u32,
}

/// How many ids one container has: 0 to 65535, which includes `nobody`.
pub const PER_CONTAINER: u32 = 65536;

/// The line that `setup` adds to a file that gives root nothing: high enough to stay clear of what
/// `useradd` hands out (from 100000 on) and of what other container managers take by custom.
pub const DEFAULT: IdRange = IdRange { first: 1_000_000_000, count: 4096 * PER_CONTAINER };

/// Root's ranges in the text of `/etc/subuid` or `/etc/subgid`, in order. Lines that are not understood
/// grant nothing, as with `newuidmap(1)`.
pub fn of_root(text: &str) -> Vec<IdRange> {
    text.lines().filter_map(root_line).collect()
}

fn root_line(line: &str) -> Option<IdRange> {
    let mut fields = line.trim().split(':');
    let owner = fields.next()?;
    let range = IdRange { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
    let fits = range.first.checked_add(range.count).is_some();
    (matches!(owner, "root" | "0") && fields.next().is_none() && fits && range.first > 0).then_some(range)
}

/// The first range that root has for users and for groups alike and that holds `containers` containers.
pub fn shared(users: &[IdRange], groups: &[IdRange], containers: u32) -> Option<IdRange> {
    let wanted = PER_CONTAINER.checked_mul(containers)?;
    let pairs = users.iter().flat_map(|user| groups.iter().map(move |group| overlap(*user, *group)));
    pairs.flatten().find(|range| range.count >= wanted)
}

fn overlap(a: IdRange, b: IdRange) -> Option<IdRange> {
    let first = a.first.max(b.first);
    let end = (a.first + a.count).min(b.first + b.count);
    (end > first).then(|| IdRange { first, count: end - first })
}

impl IdRange {
    /// The ids of the container in a slot, if the range is that long.
    pub fn of_slot(self, slot: u32) -> Option<Self> {
        let offset = slot.checked_mul(PER_CONTAINER)?;
        let inside = offset.checked_add(PER_CONTAINER)? <= self.count;
        inside.then(|| Self { first: self.first + offset, count: PER_CONTAINER })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roots_lines_count() {
        let text =
            "matt:100000:65536\nroot:1000000:1000000000\n\nroot:bad:1\n0:5:6\nroot:1:2:3\n# root:1:2\n";
        let expected = [IdRange { first: 1_000_000, count: 1_000_000_000 }, IdRange { first: 5, count: 6 }];
        assert_eq!(of_root(text), expected);
        assert_eq!(of_root("root:4294967295:65536\nroot:0:65536"), [], "overflow, and the host's own ids");
    }

    #[test]
    fn users_and_groups_share_one_range_or_there_is_none() {
        let users = [IdRange { first: 100_000, count: 65536 }, IdRange { first: 1_000_000, count: 655_360 }];
        let groups = [IdRange { first: 1_065_536, count: 655_360 }];
        let both = IdRange { first: 1_065_536, count: 589_824 };
        assert_eq!(shared(&users, &groups, 9), Some(both));
        assert_eq!(shared(&users, &groups, 10), None);
        assert_eq!(shared(&users, &[], 1), None);
    }

    #[test]
    fn slots_never_overlap_and_never_leave_the_range() {
        let range = IdRange { first: 1_000_000, count: 3 * PER_CONTAINER + 1 };
        let slots: Vec<_> = (0..5).map(|slot| range.of_slot(slot)).collect();
        assert_eq!(slots[2], Some(IdRange { first: 1_131_072, count: 65536 }));
        assert_eq!(slots[3..], [None, None]);
        for pair in slots[..3].windows(2) {
            assert!(pair[0].unwrap().first + PER_CONTAINER <= pair[1].unwrap().first);
        }
    }
}
