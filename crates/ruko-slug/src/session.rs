//! One session of git in a build container: the stored repository is fetched and laid out, and the process
//! becomes git.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;

use clap::ValueEnum;
use ruko_archive::{Limits, LinkRule};
use ruko_channel::Client;
use ruko_core::{Fault, Hint};
use ruko_sys::{AtPath, PathError};

use crate::git::Repository;
use crate::layout::Layout;
use crate::snapshot;

/// What HEAD of a new repository names.
pub const FIRST_BRANCH: &str = "refs/heads/main";

/// Each push adds one pack. When there are so many, they are made one: git looks into each of them for
/// every object.
const MAX_PACKS: usize = 40;

/// A stored repository may hold so many bytes and entries. The container's disk is the bound that is met
/// first; this one ends an archive that would unpack for ever.
const LIMITS: Limits =
    Limits { bytes: 64 << 30, entries: 4 << 20, path_bytes: 1024, links: LinkRule::Inside };

/// The only configuration of the repository (git-config(1)). Never one from an archive: a build could have
/// changed that.
const CONFIG: &str = "\
[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
	logAllRefUpdates = false
[gc]
	auto = 0
[maintenance]
	auto = false
[receive]
	autogc = false
	unpackLimit = 1
	shallowUpdate = false
	advertisePushOptions = false
	advertiseAtomic = true
	denyDeletes = false
	denyNonFastForwards = false
	denyCurrentBranch = ignore
	denyDeleteCurrent = ignore
	fsckObjects = true
[receive \"fsck\"]
	badTimezone = ignore
	missingSpaceBeforeDate = ignore
	zeroPaddedFilemode = ignore
[pack]
	writeReverseIndex = true
";

/// What may lie at the top of a repository. Anything else in an archive is removed: git would read
/// some of it as configuration.
const TOP: [&str; 5] = ["HEAD", "packed-refs", "refs", "objects", "hooks"];

/// What a client may ask of git.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// A push.
    ReceivePack,
    /// A fetch or clone.
    UploadPack,
    /// `git archive --remote`.
    UploadArchive,
}

impl Service {
    /// The git command.
    fn command(self) -> &'static str {
        match self {
            Self::ReceivePack => "receive-pack",
            Self::UploadPack => "upload-pack",
            Self::UploadArchive => "upload-archive",
        }
    }
}

/// How much of a service's exchange with its client is carried out (gitprotocol-http(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exchange {
    /// All of it, over one connection.
    #[default]
    Whole,
    /// What the service offers: the answer to `info/refs`.
    Advertisement,
    /// One request and its answer.
    StatelessRpc,
}

impl Exchange {
    /// The options of git's services (git-receive-pack(1), git-upload-pack(1)).
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Whole => &[],
            Self::Advertisement => &["--stateless-rpc", "--http-backend-info-refs"],
            Self::StatelessRpc => &["--stateless-rpc"],
        }
    }
}

/// Fetches and lays out the repository, then becomes git. A push may send a pack of so many bytes. Returns only if something failed.
///
/// # Errors
/// The repository cannot be had or laid out, or git cannot be run.
pub fn run(
    layout: &Layout,
    service: Service,
    exchange: Exchange,
    max_pack_bytes: Option<u64>,
) -> Result<std::convert::Infallible, Fault> {
    if service == Service::UploadArchive && exchange != Exchange::Whole {
        return Err(Fault::usage("git has no upload-archive over HTTP"));
    }
    let dir = layout.repository();
    fetch(&layout.socket, &dir)?;
    lay_out(&dir)?;
    let repository = Repository::at(&dir);
    if service == Service::ReceivePack && exchange != Exchange::Advertisement {
        repack_if_many(&repository)?;
    }
    // git-config(1): a larger pack is refused while it is received. 0 would be no bound.
    let bound = max_pack_bytes.map(|most| format!("receive.maxInputSize={}", most.max(1)));
    let bound = bound.iter().flat_map(|bound| ["-c", bound]);
    let git = repository.git().args(bound).arg(service.command()).args(exchange.options()).arg(&dir);
    let mut command = git.into_command();
    command.env("HOME", &layout.home).env("LANG", "C.UTF-8").stdin(std::process::Stdio::inherit());
    // git finds the repository by its argument; these would get in the way of its quarantine.
    command.env_remove("GIT_DIR").env_remove("GIT_OBJECT_DIRECTORY");
    if let Some(protocol) = std::env::var_os("GIT_PROTOCOL") {
        command.env("GIT_PROTOCOL", protocol);
    }
    Err(Fault::refused(format!("cannot run git: {}", command.exec())))
}

fn fetch(socket: &Path, dir: &Path) -> Result<(), Fault> {
    fs::create_dir_all(dir).at("create", dir)?;
    let mut client = Client::connect(socket).try_again("cannot reach the host's side of this session")?;
    let unpacked = client.repo(|archive| ruko_archive::unpack(archive, dir, &LIMITS));
    match unpacked.fault("cannot fetch the stored repository")? {
        None => Ok(()),
        Some(Ok(_)) => Ok(()),
        Some(Err(e)) => Err(e).fault("cannot unpack the stored repository"),
    }
}

/// Makes a stored repository of another app one that can be read, in an empty directory.
pub(crate) fn unpack(archive: &mut dyn std::io::Read, dir: &Path) -> Result<(), Fault> {
    ruko_archive::unpack(archive, dir, &LIMITS).fault("cannot unpack a stored repository")?;
    lay_out(dir)
}

/// Makes whatever lies there a bare repository, with our configuration and nobody else's.
fn lay_out(dir: &Path) -> Result<(), Fault> {
    for entry in fs::read_dir(dir).at("read", dir)? {
        let entry = entry.at("read", dir)?;
        if !TOP.iter().any(|name| entry.file_name() == *name) {
            remove(&entry.path())?;
        }
    }
    for name in ["objects/info/alternates", "objects/info/http-alternates"] {
        remove(&dir.join(name))?;
    }
    for name in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
        let path = dir.join(name);
        fs::create_dir_all(&path).at("create", &path)?;
    }
    let head = if dir.join("HEAD").exists() { snapshot::read_head(dir)? } else { None };
    write(&dir.join("HEAD"), &format!("ref: {}\n", head.as_deref().unwrap_or(FIRST_BRANCH)))?;
    write(&dir.join("config"), CONFIG)?;
    Ok(())
}

/// Replaces a file, and a link instead of what it points to.
fn write(path: &Path, text: &str) -> Result<(), PathError> {
    remove(path)?;
    fs::write(path, text).at("write", path)
}

fn remove(path: &Path) -> Result<(), PathError> {
    let done = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    done.at("remove", path)
}

fn repack_if_many(repository: &Repository) -> Result<(), Fault> {
    let dir = repository.objects().join("pack");
    let is_pack = |name: &std::ffi::OsStr| Path::new(name).extension().is_some_and(|e| e == "pack");
    let packs = fs::read_dir(&dir).at("read", &dir)?.flatten().filter(|e| is_pack(&e.file_name())).count();
    if packs > MAX_PACKS {
        repository.git().args(["repack", "-adq"]).run().fault("cannot repack the repository")?;
    }
    Ok(())
}
