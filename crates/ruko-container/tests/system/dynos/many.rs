//! A hundred dynos at a time.

use super::*;
use crate::world::{eventually, loop_devices};

const MANY: usize = 100;

/// Some take the slots that others of the machine leave.
const SLOTS: &str = "slots = 240\n";

#[test]
fn a_hundred_at_once_start_stop_and_leave_nothing() {
    let platform = Platform::with(SLOTS, &[("hello.txt", "hello\n")]);
    let dynos: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..MANY)
            .map(|i| {
                let platform = &platform;
                scope.spawn(move || {
                    platform.runs(&format!("many-{i}"), line("cat hello.txt; exec sleep 1000"))
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    dynos.iter().for_each(|dyno| dyno.output.wait_for("hello\n"));
    let addresses: std::collections::BTreeSet<_> = dynos.iter().map(|dyno| dyno.address).collect();
    assert_eq!(addresses.len(), MANY);
    // A disk each, and one image for all.
    let devices = loop_devices(&platform.site.dir);
    assert_eq!(devices.len(), MANY + 1, "{devices:?}");
    dynos.iter().for_each(|dyno| dyno.stop(60));
    let slots: Vec<_> = dynos.iter().map(|dyno| (dyno.name.clone(), dyno.slot)).collect();
    for mut dyno in dynos {
        assert_eq!(dyno.run.event(), done(143));
        assert_eq!(dyno.run.end(), 0);
    }
    for (name, slot) in slots {
        eventually(PATIENCE, "nothing is left", || platform.site.remains(&name, slot).is_empty());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("/run/openruko/work"), "no mount has reached the host");
}
