//! `ruko-fetch extract`.

use std::fs;

use nix::unistd::geteuid;
use ruko_archive::{Limits, UnpackError, unpack};
use ruko_core::{Exit, Fault, exit};

use crate::ExtractArgs;
use crate::stream;

pub(crate) fn extract(args: &ExtractArgs) -> Result<Exit, Fault> {
    refuse_root()?;
    let archive = stream::input(&args.archive)?;
    let limits = Limits {
        bytes: args.max_bytes,
        entries: args.max_entries,
        path_bytes: Limits::PATH_BYTES,
        links: args.links.into(),
    };
    match unpack(archive, &args.into, &limits) {
        Ok(_) => Ok(Exit::Ok),
        Err(why) => Err(explain(&why, args)),
    }
}

/// What an archive holds is somebody else's. Whoever can do everything on this machine does not read it.
fn refuse_root() -> Result<(), Fault> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if geteuid().is_root() && is_root_outside(&map) {
        return Err(Fault::refused("root does not unpack archives that others wrote")
            .hint("run it as the user who shall own the files, for example `runuser -u USER -- ruko-fetch extract ...`"));
    }
    Ok(())
}

/// Whether uid 0 here is uid 0 outside this user namespace too, by `/proc/self/uid_map`
/// (`user_namespaces(7)`): lines of the first uid inside, the first outside, and their number. A map that
/// does not tell counts as yes.
fn is_root_outside(map: &str) -> bool {
    let root = map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next()?, numbers.next()?) {
            (Ok(0), Ok(outside)) => Some(outside),
            _ => None,
        }
    });
    root.unwrap_or(0) == 0
}

fn explain(why: &UnpackError, args: &ExtractArgs) -> Fault {
    let fault = Fault::refused(format!("cannot extract `{}`: {}", args.archive.display(), exit::chain(why)));
    match why {
        UnpackError::TooLarge { .. } => {
            fault.hint("raise --max-bytes if the archive is trusted to be so large")
        }
        UnpackError::TooManyEntries { .. } => {
            fault.hint("raise --max-entries if the archive is trusted to have so many")
        }
        UnpackError::LinkOutside { .. } => fault.hint("use `--links any` for slugs, which link to /app"),
        _ => fault.hint("what was unpacked until then is still there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_of_a_user_namespace_is_not_root_outside() {
        assert!(is_root_outside("         0          0 4294967295\n"));
        assert!(is_root_outside(""));
        assert!(is_root_outside("1 100000 65536\n"));
        assert!(!is_root_outside("         0     100000      65536\n"));
        assert!(!is_root_outside("1000 1000 1\n0 1000 1\n"));
    }
}
