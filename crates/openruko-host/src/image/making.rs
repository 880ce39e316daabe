//! The process that makes a slug's image: it reads the slug's tar.gz from stdin, and has nothing else to do with the
//! platform. What it starts gets no privileges back ever.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::alarm;
use ruko_archive::{Cleaning, Limits, LinkRule, UnpackError, clean};
use ruko_core::{Exit, Fault, Hint};
use ruko_sys::Tool;

/// The id of the dyno's user in its container.
const OWNER: u32 = 1000;

/// The largest image, in bytes.
const MAX_IMAGE: u64 = 8 << 30;

/// How long it may take, in seconds.
const SECONDS: u32 = 900;

/// What a slug may hold, unpacked.
const LIMITS: Limits =
    Limits { bytes: 16 << 30, entries: 2 << 20, path_bytes: Limits::PATH_BYTES, links: LinkRule::Any };

/// Makes the image. The exit status is 1 when the slug can never be used, 75 when trying again may work.
///
/// # Errors
/// The slug is none, or it cannot be written.
pub(crate) fn make(image: &Path) -> Result<Exit, Fault> {
    confine()?;
    let image = std::path::absolute(image)?;
    let made = write(&image);
    if made.is_err() {
        let _ = std::fs::remove_file(&image);
    }
    made.map(|()| Exit::Ok)
}

/// Gives up what it does not need.
fn confine() -> Result<(), Fault> {
    const WHAT: &str = "cannot set a limit";
    set_no_new_privs().try_again("cannot give up privileges")?;
    alarm::set(SECONDS);
    setrlimit(Resource::RLIMIT_CORE, 0, 0).try_again(WHAT)?;
    setrlimit(Resource::RLIMIT_FSIZE, MAX_IMAGE, MAX_IMAGE).try_again(WHAT)?;
    setrlimit(Resource::RLIMIT_CPU, SECONDS.into(), SECONDS.into()).try_again(WHAT)?;
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).try_again(WHAT)
}

fn write(image: &Path) -> Result<(), Fault> {
    let mut sqfstar = start(image)?;
    let to = sqfstar.stdin.take().ok_or_else(|| Fault::try_again("`sqfstar` has no stdin"))?;
    let how = Cleaning { below: "app", owner: OWNER, limits: LIMITS };
    let cleaned = clean(io::stdin().lock(), BufWriter::with_capacity(256 << 10, to), &how);
    let cleaned = match cleaned {
        // What it says of itself is the reason then.
        Err(UnpackError::PassOn(_)) => Ok(()),
        Err(UnpackError::Read(source)) => Err(Fault::try_again(format!("the slug cannot be read: {source}"))),
        Err(refused) => Err(Fault::from(refused)),
        Ok(_) => Ok(()),
    };
    if let Err(fault) = cleaned {
        let _ = sqfstar.kill();
        let _ = sqfstar.wait();
        return Err(fault);
    }
    let mut why = String::new();
    if let Some(stderr) = sqfstar.stderr.take() {
        let _ = stderr.take(4096).read_to_string(&mut why);
    }
    let status = sqfstar.wait().try_again("cannot wait for `sqfstar`")?;
    if !status.success() {
        return Err(Fault::try_again(format!("`sqfstar` failed ({status}): {}", why.trim())));
    }
    let synced = std::fs::File::open(image).and_then(|file| file.sync_all());
    synced.try_again(format!("cannot write `{}`", image.display()))?;
    // The alarm is over only now: a disk may hang, too.
    alarm::cancel();
    let _ = io::stderr().flush();
    Ok(())
}

/// lz4 costs a dyno's start the least. Whose the top directory of the image is nobody sees: what a dyno writes is laid
/// over it.
fn start(image: &Path) -> Result<Child, Fault> {
    let mut command = Tool::new("sqfstar")
        .die_with_parent()
        .args(["-comp", "lz4", "-no-xattrs", "-no-progress", "-quiet", "-exit-on-error"])
        .args(["-mem", "256M"])
        .arg(image)
        .into_command();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().try_again("cannot run `sqfstar`");
    child.map_err(|fault| fault.hint("install the package squashfs-tools"))
}
