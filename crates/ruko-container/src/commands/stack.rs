//! `stack`: makes the images of stacks, for admins.
//!
//! Nothing that a tenant wrote comes near. Debian's packages are verified by apt, by Debian's signatures; their own
//! scripts run as root in their tree, as on every Debian machine. What an image is made of, a tar stream, is read by a
//! process that may do nothing but write that one file.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::str::FromStr;

use ruko_core::message::bytes;
use ruko_core::names::{ImageName, StackName};
use ruko_core::stack::{OsRelease, heroku};
use ruko_core::{Exit, Fault, Hint};
use ruko_sys::process::CommandSys;
use ruko_sys::{AtPath, Lock, Tool, replace};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, openat2, statat};
use serde::Serialize;

use crate::settings::Settings;
use crate::stack::{self, Record, Stack};
use crate::state;
use crate::work::Work;

/// How long the making of an image may take, in seconds.
const SECONDS: u32 = 3600;

/// The largest image, in bytes.
const MAX_IMAGE: u64 = 16 << 30;

/// Who reads what an image is made of: `nobody`.
const NOBODY: u32 = 65534;

/// What containers cannot do without.
const NEEDED: &str = "ca-certificates,git,openssh-server";

/// What buildpacks look for besides (Heroku's own are written for its base images, which have these).
const USUAL: &str = "apt,bash,build-essential,curl,gzip,jq,openssl,python3,python3-dev,python3-pip,python3-venv,\
                     tar,unzip,xz-utils,zip";

/// What nobody reads in a container. Licences stay.
const LEFT_OUT: [&str; 5] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
];

/// What belongs to the machine that the tree was made on, or must not be the same everywhere.
const TIDY: &str =
    "rm -f \"$1\"/etc/ssh/ssh_host_* \"$1\"/etc/resolv.conf \"$1\"/etc/hostname \"$1\"/etc/machine-id";

/// Variables by which apt reaches a mirror.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "no_proxy"];

/// What is read of a file that says what a userland is, in bytes.
const MAX_OS_RELEASE: u64 = 64 << 10;

/// What is to be done with stacks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StackCommand {
    /// Make a stack, or make it anew, of Debian's packages
    #[command(
        after_help = "Packages are verified by Debian's archive keys, which the package debian-archive-keyring has.\n\n\
                      Containers that run keep the image that they have.\n\n\
                      Example:\n  ruko-container stack build debian-13 --suite trixie\n\n\
                      An app has it once [api] of the configuration knows it:\n  stacks.debian-13 = { image = \"debian-13\" }"
    )]
    Build(BuildArgs),
    /// Make a stack, or make it anew, of a root file system that is there already
    #[command(
        after_help = "Example:\n  docker export \"$(docker create heroku/heroku:24-build)\" >heroku-24.tar\n  \
                      ruko-container stack import heroku-24 heroku-24.tar"
    )]
    Import {
        /// Its name
        name: StackName,
        /// A tar archive, perhaps packed by gzip; `-` is stdin, not packed
        #[arg(value_parser = file_or_stdin)]
        tar: PathBuf,
    },
    /// Show the stacks of this machine
    #[command(after_help = "Example:\n  ruko-container stack list --json")]
    List {
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Remove a stack that no container has
    #[command(after_help = "Example:\n  ruko-container stack remove debian-12")]
    Remove {
        /// Its name
        name: StackName,
    },
}

/// What is to be built.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// Its name
    name: StackName,
    /// The release of Debian
    #[arg(long, default_value = "trixie")]
    suite: Word,
    /// Where its packages are [default: Debian's own servers, with security updates]
    #[arg(long, value_name = "URL")]
    mirror: Option<Mirror>,
    /// Packages, separated by commas, besides those that containers cannot do without (ca-certificates, git,
    /// openssh-server) [default: what buildpacks look for: build-essential, curl, gzip, jq, openssl, python3 with pip and
    /// venv, tar, unzip, xz-utils, zip]
    // The whole list has no place where a line of the man page could be broken.
    #[arg(long, value_name = "LIST", default_value = USUAL, hide_default_value = true, value_delimiter = ',')]
    packages: Vec<Word>,
}

fn file_or_stdin(path: &str) -> io::Result<PathBuf> {
    if path == "-" { Ok(path.into()) } else { crate::absolute(path) }
}

/// The name of a release or of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word(String);

impl FromStr for Word {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let rest = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(b);
        let begins = raw.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if begins && raw.len() <= 100 && raw.as_bytes().iter().all(rest) {
            Ok(Self(raw.to_owned()))
        } else {
            Err("it is made of lower-case letters, digits and + . -".to_owned())
        }
    }
}

/// Where packages are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror(String);

impl FromStr for Mirror {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let known = ["http://", "https://", "file:///"].iter().any(|scheme| raw.starts_with(scheme));
        if known && raw.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(raw.to_owned()))
        } else {
            Err("it begins with http://, https:// or file:/// and has no spaces".to_owned())
        }
    }
}

/// Does it.
pub(crate) fn stack(settings: &Settings, command: StackCommand) -> Result<Exit, Fault> {
    match command {
        StackCommand::Build(args) => build(settings, &args),
        StackCommand::Import { name, tar } => import(settings, &name, &tar),
        StackCommand::List { json } => list(settings, json),
        StackCommand::Remove { name } => remove(settings, &name),
    }
}

fn build(settings: &Settings, args: &BuildArgs) -> Result<Exit, Fault> {
    let making = Making::begin(settings, &args.name)?;
    let tree = making.dir.join(format!("{PART}tree"));
    fs::create_dir(&tree).at("create", &tree)?;
    let mut debian = debian(args, &tree)?;
    let from = debian.stdout.take().ok_or_else(|| Fault::refused("`mmdebstrap` has no stdout"))?;
    let made = making.pack(Source::from(from));
    both(debian.wait()?, made)?;
    let mirror = args.mirror.as_ref().map_or("Debian", |mirror| &mirror.0);
    making.publish(format!("{} of {mirror}", args.suite.0))
}

/// Whoever of the two failed first took the other one along, and which that was only the admin can see.
fn both(debian: ExitStatus, made: Result<(), Fault>) -> Result<(), Fault> {
    if debian.success() {
        return made;
    }
    let failed = format!("`mmdebstrap` failed ({debian}); what it said is above");
    match made {
        Err(fault) => Err(Fault { message: format!("{}; and {failed}", fault.message), ..fault }),
        Ok(()) => Err(Fault::refused(failed).hint(
            "see whether the mirror answers, and whether this machine has the keys of that release: they are in the \
             package debian-archive-keyring",
        )),
    }
}

/// Builds a tree and writes it as tar to its stdout.
fn debian(args: &BuildArgs, tree: &Path) -> Result<Child, Fault> {
    let mut packages = NEEDED.to_owned();
    for package in args.packages.iter().filter(|package| !package.0.is_empty()) {
        packages.push(',');
        packages.push_str(&package.0);
    }
    let mut tool = bounded("mmdebstrap")
        .args(["--mode=root", "--variant=essential", "--format=tar"])
        .arg(format!("--include={packages}"))
        .args(LEFT_OUT.map(|option| format!("--dpkgopt={option}")))
        .arg(format!("--customize-hook={TIDY}"))
        .env("TMPDIR", tree)
        .arg(&args.suite.0)
        .arg("-");
    tool = match &args.mirror {
        Some(mirror) => tool.arg(&mirror.0),
        None => tool,
    };
    for name in PROXIES {
        if let Ok(value) = std::env::var(name) {
            tool = tool.env(name, value);
        }
    }
    let mut command = tool.into_command();
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).die_with_parent();
    command
        .spawn()
        .fault("cannot run `mmdebstrap`")
        .map_err(|fault| fault.hint("install the package mmdebstrap"))
}

/// A tool that is ended when it takes too long, or this process dies, with whatever it started: a process namespace ends
/// with its first process.
fn bounded(program: &str) -> Tool {
    let seconds = SECONDS.to_string();
    let namespace = ["unshare", "--pid", "--fork", "--kill-child=KILL"];
    Tool::new("timeout")
        .args(["--kill-after=10", &seconds, "setpriv", "--pdeathsig=KILL"])
        .args(namespace)
        .arg(program)
}

fn import(settings: &Settings, name: &StackName, tar: &Path) -> Result<Exit, Fault> {
    let making = Making::begin(settings, name)?;
    if tar == Path::new("-") {
        making.pack(Source { input: Stdio::inherit(), packed: false })?;
        return making.publish("stdin".to_owned());
    }
    let mut file = File::open(tar).at("open", tar)?;
    let mut magic = [0; 2];
    let packed = file.read_exact(&mut magic).is_ok() && magic == GZIP;
    file.rewind().at("read", tar)?;
    making.pack(Source { input: file.into(), packed })?;
    making.publish(tar.display().to_string())
}

/// How a gzip file begins (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A tar stream.
struct Source {
    input: Stdio,
    /// By gzip.
    packed: bool,
}

impl From<ChildStdout> for Source {
    fn from(stdout: ChildStdout) -> Self {
        Self { input: OwnedFd::from(stdout).into(), packed: false }
    }
}

/// How everything is called that is not finished.
const PART: &str = ".part-";

/// A stack in the making. What is not published is removed.
struct Making<'a> {
    dir: &'a Path,
    name: &'a StackName,
    image: PathBuf,
    work: Work,
    _lock: Lock,
}

impl<'a> Making<'a> {
    fn begin(settings: &'a Settings, name: &'a StackName) -> Result<Self, Fault> {
        let dir = stack::dir(settings)?;
        fs::create_dir_all(dir).at("create", dir)?;
        let lock = lock(dir)?;
        // Mounts of what makes a tree are gone with this process.
        let work = Work::enter(&settings.bridge)?;
        tidy(dir)?;
        Ok(Self { dir, name, image: dir.join(format!("{PART}image")), work, _lock: lock })
    }

    /// Makes an image of a tar stream, in a process that may write this one file and nothing else.
    fn pack(&self, from: Source) -> Result<(), Fault> {
        let image = File::options().read(true).write(true).create_new(true).open(&self.image);
        let image = image.at("create", &self.image)?;
        fchown(&image, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).map_err(io::Error::from)?;
        let mut unpacking = None;
        let input = if from.packed {
            let mut gzip = nobodys("gzip", &["-dc"]).into_command();
            gzip.stdin(from.input).stdout(Stdio::piped()).stderr(Stdio::piped()).die_with_parent();
            let mut gzip = gzip.spawn().fault("cannot run `gzip`")?;
            let unpacked = gzip.stdout.take().ok_or_else(|| Fault::refused("`gzip` has no stdout"))?;
            unpacking = Some(gzip);
            OwnedFd::from(unpacked).into()
        } else {
            from.input
        };
        let options = [
            "-comp",
            "lz4",
            "-force",
            "-no-xattrs",
            "-no-progress",
            "-quiet",
            "-exit-on-error",
            "-mem",
            "256M",
            "-root-mode",
            "0755",
            "-root-uid",
            "0",
            "-root-gid",
            "0",
            "/proc/self/fd/1",
        ];
        let mut sqfstar: Command = nobodys("sqfstar", &options).into_command();
        sqfstar.stdin(input).stdout(image.try_clone()?).stderr(Stdio::piped()).die_with_parent();
        let sqfstar = sqfstar.spawn().fault("cannot run `sqfstar`")?;
        finish("sqfstar", sqfstar)?;
        if let Some(gzip) = unpacking {
            finish("gzip", gzip)?;
        }
        // From now on nobody but root may be able to write it.
        fchown(&image, Some(Uid::ROOT), Some(Gid::ROOT)).map_err(io::Error::from)?;
        fchmod(&image, Mode::from_raw_mode(0o644)).map_err(io::Error::from)?;
        image.sync_all().at("write", &self.image)?;
        Ok(())
    }

    /// Looks at what was made, and lets it take the place of what the stack was before.
    fn publish(self, source: String) -> Result<Exit, Fault> {
        let point = self.work.stack();
        Stack::unpublished(self.name, &self.image)?.mount(&point, None)?;
        let seen = Seen::look(&point)?;
        let digest = String::from_utf8(bounded("sha256sum").arg(&self.image).output()?).unwrap_or_default();
        let sha256: ImageName = digest.get(..64).unwrap_or_default().parse()?;
        let file = stack::image_name(self.name, &sha256);
        let record = Record {
            bytes: fs::metadata(&self.image).at("look at", &self.image)?.len(),
            heroku: heroku(&seen.os),
            os: seen.os.pretty_name,
            source,
            made: state::now(),
            sha256,
        };
        let path = self.dir.join(&file);
        fs::rename(&self.image, &path).at("rename", &self.image)?;
        let text = serde_json::to_vec(&record).fault("cannot write the stack's record")?;
        replace(&stack::record_path(self.dir, self.name), 0o644, &text)?;
        remove_images(self.dir, self.name, Some(&file))?;
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{}", line(self.name, &record));
        for missing in seen.missing {
            let _ = writeln!(io::stderr().lock(), "{}: {missing}", crate::PROGRAM);
        }
        Ok(Exit::Ok)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let _ = tidy(self.dir);
    }
}

/// One stack is made at a time.
fn lock(dir: &Path) -> Result<Lock, Fault> {
    let lock = Lock::try_take(&dir.join(".lock"))?;
    lock.ok_or_else(|| Fault::try_again("another stack is just being made or removed on this machine"))
}

/// Removes what is not finished. Who holds the lock knows that nobody is at work on it.
fn tidy(dir: &Path) -> Result<(), Fault> {
    for entry in fs::read_dir(dir).at("read", dir)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PART) {
            let path = entry.path();
            let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            gone.at("remove", &path)?;
        }
    }
    Ok(())
}

/// A tool that runs as nobody, may get no privileges and writes no more than an image may have.
fn nobodys(program: &str, args: &[&str]) -> Tool {
    bounded("setpriv")
        .args(["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"])
        .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
        .args(["prlimit".to_owned(), format!("--fsize={MAX_IMAGE}"), "--core=0".to_owned()])
        .arg(program)
        .args(args)
}

fn finish(name: &str, child: Child) -> Result<(), Fault> {
    let ended = child.wait_with_output()?;
    if ended.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&ended.stderr).trim().replace('\n', "; ");
    let bound = format!("an image may have {} and take {SECONDS} seconds", bytes(MAX_IMAGE));
    Err(Fault::refused(format!("`{name}` failed ({}): {why}", ended.status)).hint(bound))
}

/// What is seen in an image.
struct Seen {
    os: OsRelease,
    /// What cannot be done with it.
    missing: Vec<&'static str>,
}

/// What containers need, and what they cannot do without it.
const WANTED: [(&str, &str); 3] = [
    ("usr/sbin/sshd", "the stack has no /usr/sbin/sshd: nothing can be built on it"),
    ("usr/bin/git", "the stack has no /usr/bin/git: nothing can be pushed to be built on it"),
    ("bin/bash", "the stack has no /bin/bash: nothing can be built or run on it"),
];

impl Seen {
    /// Links in it mean what they mean in a container.
    fn look(root: &Path) -> Result<Self, Fault> {
        let root = File::open(root).at("open", root)?;
        let open = |path: &str, flags: OFlags| {
            openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
        };
        if statat(&root, "usr", AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return Err(Fault::refused("this is no root file system: it has no directory `usr` at its top"));
        }
        let mut text = String::new();
        if let Ok(file) = open("etc/os-release", OFlags::RDONLY | OFlags::NONBLOCK) {
            // One that is no text says nothing.
            let _ = File::from(file).take(MAX_OS_RELEASE).read_to_string(&mut text);
        }
        let lacks = |path: &str| open(path, OFlags::PATH).is_err();
        let missing = WANTED.iter().filter(|(path, _)| lacks(path)).map(|(_, what)| *what);
        Ok(Self { os: OsRelease::parse(&text), missing: missing.collect() })
    }
}

/// Removes the images of a stack, but for this one.
fn remove_images(dir: &Path, name: &StackName, but: Option<&str>) -> Result<(), Fault> {
    for entry in fs::read_dir(dir).at("read", dir)?.flatten() {
        let file = entry.file_name();
        let Some(file) = file.to_str().filter(|file| Some(*file) != but) else { continue };
        if stack::owner_of(file).is_some_and(|(owner, _)| owner == *name) {
            fs::remove_file(entry.path()).at("remove", &entry.path())?;
        }
    }
    Ok(())
}

/// One stack, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line {
    name: StackName,
    #[serde(flatten)]
    record: Record,
    /// How many containers have it.
    containers: usize,
}

fn list(settings: &Settings, json: bool) -> Result<Exit, Fault> {
    let stacks = stack::all(stack::dir(settings)?)?;
    let mut out = io::stdout().lock();
    if !json {
        for (name, record) in stacks {
            let _ = writeln!(out, "{}", line(&name, &record));
        }
        return Ok(Exit::Ok);
    }
    let mut lines = Vec::new();
    for (name, record) in stacks {
        lines.push(Line { containers: users(settings, &name)?.len(), name, record });
    }
    let _ = writeln!(out, "{}", serde_json::to_string(&lines)?);
    Ok(Exit::Ok)
}

fn line(name: &StackName, record: &Record) -> String {
    let Record { bytes: size, os, heroku, source, .. } = record;
    let heroku = heroku.as_ref().map_or("-", StackName::as_str);
    let os = if os.is_empty() { "-" } else { os };
    format!("{:20} {:>9}  STACK {heroku:10}  {os}  ({source})", name.as_str(), bytes(*size))
}

/// The containers that have a stack.
fn users(settings: &Settings, name: &StackName) -> Result<Vec<String>, Fault> {
    let all = state::all(settings)?.into_iter();
    let has = |seen: &state::Seen| {
        seen.owned && seen.record.as_ref().is_some_and(|record| record.stack.as_ref() == Some(name))
    };
    Ok(all.filter(has).map(|seen| seen.name.to_string()).collect())
}

fn remove(settings: &Settings, name: &StackName) -> Result<Exit, Fault> {
    let dir = stack::dir(settings)?;
    if !dir.is_dir() {
        return Err(stack::missing(name));
    }
    let _lock = lock(dir)?;
    let known = stack::record_path(dir, name).exists();
    if !known {
        return Err(stack::missing(name));
    }
    let users = users(settings, name)?;
    if let Some(one) = users.first() {
        return Err(Fault::refused(format!(
            "{} containers have the stack `{name}`, `{one}` for one",
            users.len()
        ))
        .hint("`ruko-container list` shows them; set another stack for the apps, or end the containers"));
    }
    let record = stack::record_path(dir, name);
    fs::remove_file(&record).at("remove", &record)?;
    remove_images(dir, name, None)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_an_argument_is_plain() {
        for good in ["trixie", "g++", "libssl3", "python3.13", "7zip"] {
            assert!(good.parse::<Word>().is_ok(), "{good}");
        }
        for bad in ["", "-o", "a b", "a\nb", "../x", "A", "a,b", "a=1"] {
            assert!(bad.parse::<Word>().is_err(), "{bad}");
        }
        assert!("http://deb.debian.org/debian".parse::<Mirror>().is_ok());
        assert!("file:///srv/mirror".parse::<Mirror>().is_ok());
        for bad in ["deb http://x y z", "-", "/etc/apt/sources.list", "copy:/x", "http://a b"] {
            assert!(bad.parse::<Mirror>().is_err(), "{bad}");
        }
    }
}
