//! The pre-receive hook: judges a push, builds it, hands over what it made, and commits. And the build of a
//! tarball, which differs in where the app comes from and in that no ref moves.
//!
//! Every failure before the commit leaves the app as it was: the hook ends with 1 and git moves no ref.
//! After the commit only the release itself can fail, by not coming up; then the API takes the commit back.

mod buildpacks;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use ruko_api_types::{Head, Manifest};
use ruko_archive::{Limits, LinkRule};
use ruko_channel::{BuildRequest, Client, ClientError, CommitRequest};
use ruko_core::exit::chain;
use ruko_core::message::bytes;
use ruko_core::{CommitId, Exit, ProcessType};

use crate::cache;
use crate::checkout::checkout;
use crate::git::Repository;
use crate::launch;
use crate::layout::Layout;
use crate::lfs::Pointers;
use crate::output::Output;
use crate::pack::{self, Limited};
use crate::procfile::{self, Procfile};
use crate::refs::{self, Known, Update};
use crate::refusal::{Refusal, Refuse};
use crate::slugignore::SlugIgnore;
use crate::snapshot::{self, Refs};
use crate::source;
use crate::submodules::Restore;
use crate::tree;

/// Entries that a build cache may have; its bytes are bounded by the container's disk.
const MAX_CACHE_ENTRIES: u64 = 4 << 20;

/// Runs the hook: reads ref updates from `input`, and prints to `output`.
pub fn run(layout: &Layout, input: &mut dyn Read, output: Output) -> Exit {
    recorded(layout, output, |output| push(layout, input, output))
}

/// Builds the tarball that the host hands over, and prints to `output`.
pub fn run_source(layout: &Layout, output: Output) -> Exit {
    recorded(layout, output, |output| tarball(layout, output))
}

fn recorded(
    layout: &Layout,
    mut output: Output,
    build: impl FnOnce(&mut Output) -> Result<(), Refusal>,
) -> Exit {
    output.record(&layout.socket);
    let outcome = build(&mut output);
    if let Err(refusal) = &outcome {
        say_failed(layout, refusal, &mut output);
    }
    output.finish();
    if outcome.is_ok() { Exit::Ok } else { Exit::Refused }
}

/// The bounds that were met come first: they are why.
fn say_failed(layout: &Layout, refusal: &Refusal, output: &mut Output) {
    // On a connection of its own, since the other one may be in the middle of an object.
    let met = Client::connect(&layout.socket).map(|mut client| client.failed(refusal.reason()));
    for bound in met.into_iter().flatten().flatten() {
        output.trouble(bound);
    }
    output.trouble(refusal);
}

fn push(layout: &Layout, input: &mut dyn Read, output: &mut Output) -> Result<(), Refusal> {
    let updates = read_updates(input)?;
    let repository = Repository::of_hook().refuse("Push rejected: this is not a hook of git")?;
    let mut client = Client::connect(&layout.socket).refuse("Push rejected: the host's side is gone")?;
    let request = ask("ask what to build", client.hello())?;
    output.limit(request.limits.output_bytes);
    let known = learn(&repository, &updates)?;
    let verdict = refs::judge(&updates, &known, &request.deploy_refs)?;
    check_connected(&repository, &updates)?;

    let manifest = match verdict.deploy {
        Some(update) => {
            let build = Build::new(layout, &request, update.new.as_str());
            build.check_out(&repository, &update.new, &mut client, output)?;
            let head = Head { commit: update.new.clone(), branch: update.name.to_string() };
            Some(build.deploy(Some(head), &mut client, output)?)
        }
        None => None,
    };
    let refs = snapshot::after(known.refs, &updates);
    store_repository(&repository, &refs, manifest.as_ref(), &mut client)?;
    if output.is_gone() {
        return Err(Refusal::new("Push rejected: the client went away."));
    }
    commit(&updates, manifest, &request, &mut client, output)
}

fn tarball(layout: &Layout, output: &mut Output) -> Result<(), Refusal> {
    let mut client = Client::connect(&layout.socket).refuse("Push rejected: the host's side is gone")?;
    let request = ask("ask what to build", client.hello())?;
    output.limit(request.limits.output_bytes);
    let build = Build::new(layout, &request, request.source_version.as_deref().unwrap_or_default());
    build.unpack_source(&mut client, output)?;
    let manifest = build.deploy(None, &mut client, output)?;
    commit(&[], Some(manifest), &request, &mut client, output)
}

fn read_updates(input: &mut dyn Read) -> Result<Vec<Update>, Refusal> {
    let mut updates = vec![];
    let reading = input.take(refs::MAX_BYTES as u64 + 1).read_to_end(&mut updates);
    reading.refuse("Push rejected: cannot read the ref updates")?;
    if updates.len() > refs::MAX_BYTES {
        let limit = bytes(refs::MAX_BYTES as u64);
        return Err(Refusal::new(format!(
            "Push rejected: its ref updates take more than {limit}, which is the limit.\nPush them in parts."
        )));
    }
    refs::parse(&updates)
}

/// What the host side refuses is said in its own words.
fn ask<T>(what: &str, answer: Result<T, ClientError>) -> Result<T, Refusal> {
    answer.map_err(|e| match e {
        ClientError::Refused(message) => Refusal::new(message),
        e => Refusal::because(format!("Push rejected: cannot {what}"), &e),
    })
}

fn learn(repository: &Repository, updates: &[Update]) -> Result<Known, Refusal> {
    let refs = repository.refs().refuse("Push rejected: cannot read the repository's refs")?;
    let ids: Vec<CommitId> = new_ids(updates);
    let kinds = repository.kinds(&ids).refuse("Push rejected: cannot look at the pushed objects")?;
    let not_commits = ids
        .into_iter()
        .zip(kinds)
        .filter(|(_, kind)| kind.as_deref() != Some("commit"))
        .map(|(id, _)| id)
        .collect();
    Ok(Known { refs, not_commits })
}

fn new_ids(updates: &[Update]) -> Vec<CommitId> {
    updates.iter().filter(|update| !update.is_deletion()).map(|update| update.new.clone()).collect()
}

/// git runs this hook also for updates that it will refuse afterwards: those that bring only a part of the
/// history. The build would be for nothing, and the commit a lie.
fn check_connected(repository: &Repository, updates: &[Update]) -> Result<(), Refusal> {
    let ids = new_ids(updates);
    if ids.is_empty() {
        return Ok(());
    }
    let cut = shallow_commits(repository.dir());
    let connected = repository.connected(&ids).refuse("Push rejected: cannot check the pushed objects")?;
    let ends_at_cut = || -> Result<bool, Refusal> {
        let new = repository.new_commits(&ids).refuse("Push rejected: cannot list the pushed commits")?;
        Ok(new.iter().any(|commit| cut.contains(commit)))
    };
    if connected && (cut.is_empty() || !ends_at_cut()?) {
        return Ok(());
    }
    Err(Refusal::new(if cut.is_empty() {
        "Push rejected: objects are missing from what was pushed.\nRun git fsck in your repository."
    } else {
        "Push rejected: your clone is shallow, it lacks a part of the history.\nRun git fetch --unshallow and \
         push again."
    }))
}

/// Where the history of a shallow clone is cut off. git keeps what the client says of it in a temporary
/// file in the repository while it receives.
fn shallow_commits(repository: &Path) -> Vec<CommitId> {
    let is_list = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("shallow");
    let lists = fs::read_dir(repository).into_iter().flatten().flatten().filter(|e| is_list(&e.file_name()));
    let text = lists.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect::<String>();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// What a build has to work with.
struct Build<'a> {
    layout: &'a Layout,
    request: &'a BuildRequest,
    /// For `SOURCE_VERSION`.
    version: &'a str,
    id: String,
    dir: PathBuf,
}

impl<'a> Build<'a> {
    fn new(layout: &'a Layout, request: &'a BuildRequest, version: &'a str) -> Self {
        let id = request.push.as_str().to_ascii_lowercase();
        Self { layout, request, version, dir: layout.build_dir(&id), id }
    }

    /// Makes the slug of what lies in the build directory, and hands it over.
    fn deploy(
        &self,
        head: Option<Head>,
        client: &mut Client,
        output: &mut Output,
    ) -> Result<Manifest, Refusal> {
        self.drop_ignored(output)?;
        procfile::read(&self.dir)?;
        self.restore_cache(client, output)?;
        let (names, defaults) = self.run_buildpacks(output)?;
        self.bound_cache(output)?;
        let (process_types, default_types) = self.process_types(&names, defaults, output)?;
        self.submit_slug(client, output)?;
        Ok(Manifest { head, buildpack: names.join(", "), process_types, default_types })
    }

    fn check_out(
        &self,
        repository: &Repository,
        commit: &CommitId,
        client: &mut Client,
        output: &mut Output,
    ) -> Result<(), Refusal> {
        tree::check(repository, commit, &self.request.limits)?;
        checkout(repository, commit, &self.dir).refuse("Push rejected")?;
        let submodules = Restore {
            tmp: &self.layout.tmp,
            app: &self.request.app,
            git_urls: &self.request.git_urls,
            known_hosts: self.request.known_hosts.as_deref(),
            env: &self.request.env,
            channel: &self.layout.socket,
        };
        submodules.run(repository, commit, &self.dir, client, output)?;
        let pointers = Pointers::below(&self.dir).refuse("Push rejected: cannot read the tree")?;
        pointers.words().into_iter().for_each(|words| output.trouble(words));
        Ok(())
    }

    fn unpack_source(&self, client: &mut Client, output: &mut Output) -> Result<(), Refusal> {
        fs::create_dir(&self.dir).refuse("Push rejected: cannot make the build directory")?;
        let limits = &self.request.limits;
        let unpacked = client.source(|archive| source::unpack(archive, &self.dir, limits));
        let unpacked = ask("fetch the source", unpacked)?;
        unpacked.ok_or_else(|| Refusal::new("Push rejected: there is no source."))??;
        if let Some(name) = source::lone_directory(&self.dir).refuse("Push rejected")? {
            output.trouble(format!(
                "The source has one directory, `{name}`, and nothing beside it. If the app is in there, pack it \
                 without that directory:\ntar -czf source.tar.gz -C {name} ."
            ));
        }
        Ok(())
    }

    fn drop_ignored(&self, output: &mut Output) -> Result<(), Refusal> {
        if let Some(ignore) = SlugIgnore::read(&self.dir).refuse("Push rejected")? {
            for warning in &ignore.warnings {
                output.trouble(warning);
            }
            ignore.apply(&self.dir).refuse("Push rejected: .slugignore cannot be applied")?;
        }
        Ok(())
    }

    /// A cache that cannot be used costs time and nothing else.
    fn restore_cache(&self, client: &mut Client, output: &mut Output) -> Result<(), Refusal> {
        let dir = self.layout.cache();
        fs::create_dir_all(&dir).refuse("Push rejected: cannot make the cache directory")?;
        let limits = Limits {
            bytes: self.request.limits.disk_bytes,
            entries: MAX_CACHE_ENTRIES,
            path_bytes: Limits::PATH_BYTES,
            links: LinkRule::Any,
        };
        let unpacked = client.cache(|archive| ruko_archive::unpack(archive, &dir, &limits));
        let why = match ask("fetch the build cache", unpacked)? {
            None | Some(Ok(_)) => return Ok(()),
            Some(Err(e)) => chain(&e),
        };
        output.trouble(format!("The build cache cannot be used and is dropped: {why}"));
        empty(&dir).refuse("Push rejected: cannot empty the cache directory")
    }

    /// A cache that is not kept costs the next build time, and its developer is told while there is somebody
    /// to tell. Caches grow with every dependency that ever was; beyond the limit, fetching one costs more than
    /// it saves.
    fn bound_cache(&self, output: &mut Output) -> Result<(), Refusal> {
        let (dir, limit) = (self.layout.cache(), self.request.limits.cache_bytes);
        // A buildpack may have removed it.
        if !dir.is_dir() {
            return Ok(());
        }
        let why = match cache::measure(&dir) {
            Ok(size) if size <= limit => return Ok(()),
            Ok(size) => format!("it is {} unpacked, and the limit is {}", bytes(size), bytes(limit)),
            Err(e) => chain(&e),
        };
        output.trouble(format!(
            "The build cache is not kept: {why}.\nThe next build begins with the cache that was kept last, if there \
             is one."
        ));
        cache::put_aside(&dir).refuse("Push rejected: the build cache is not kept")
    }

    fn process_types(
        &self,
        names: &[String],
        defaults: BTreeMap<ProcessType, String>,
        output: &mut Output,
    ) -> Result<(BTreeMap<ProcessType, String>, Vec<ProcessType>), Refusal> {
        output.step("Discovering process types");
        let Procfile { types, warnings } = self.procfile(output)?;
        for warning in warnings {
            output.trouble(warning);
        }
        let declared = listed(types.keys());
        let (all, added) = procfile::merge(types, defaults);
        output.detail(format!("Procfile declares types     -> {declared}"));
        if !added.is_empty() {
            let title = format!("Default types for {}", names.last().map_or("", String::as_str));
            output.detail(format!("{title:<27} -> {}", listed(added.iter())));
        }
        if !all.keys().any(|name| name.as_str() == "web") {
            output.detail("No web process type: the app will not answer requests");
        }
        Ok((all, added))
    }

    fn procfile(&self, output: &mut Output) -> Result<Procfile, Refusal> {
        if let Some(procfile) = procfile::read(&self.dir)? {
            return Ok(procfile);
        }
        if self.dir.join("procfile").is_file() || self.dir.join("Procfile.txt").is_file() {
            output.trouble("A file like a Procfile is there, but only the exact name Procfile counts");
        }
        Ok(Procfile::default())
    }

    fn submit_slug(&self, client: &mut Client, output: &mut Output) -> Result<(), Refusal> {
        output.step("Compressing...");
        let limit = self.request.limits.slug_bytes;
        let upload = ask("hand over the slug", client.slug())?;
        let packed = pack::pack(&self.dir, Limited::new(upload, limit));
        let (limited, skipped) = packed.refuse("Push rejected: cannot pack the slug")?;
        if limited.exceeded() {
            return Err(Refusal::new(format!(
                "Push rejected: the compressed slug is {}, and the limit is {}.\nList what the app does not need \
                 when it runs in .slugignore.",
                bytes(limited.count()),
                bytes(limit)
            )));
        }
        if skipped.count > 0 {
            let count = skipped.count;
            output.trouble(format!("{count} sockets, fifos or devices were left out of the slug"));
        }
        let stored = ask("store the slug", limited.into_inner().finish())?;
        output.detail(format!("Done: {}", bytes(stored.bytes)));
        Ok(())
    }
}

fn listed<'a>(types: impl Iterator<Item = &'a ProcessType>) -> String {
    let names: Vec<&str> = types.map(ProcessType::as_str).collect();
    if names.is_empty() { "(none)".into() } else { names.join(", ") }
}

fn empty(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        }?;
    }
    Ok(())
}

fn store_repository(
    repository: &Repository,
    refs: &Refs,
    manifest: Option<&Manifest>,
    client: &mut Client,
) -> Result<(), Refusal> {
    let upload = ask("hand over the repository", client.store_repo())?;
    let deployed = manifest.and_then(|manifest| manifest.head.as_ref()).map(|head| head.branch.as_str());
    let upload = snapshot::write(repository, refs, deployed, upload);
    let upload = upload.refuse("Push rejected: cannot pack the repository")?;
    ask("store the repository", upload.finish()).map(|_| ())
}

fn commit(
    updates: &[Update],
    manifest: Option<Manifest>,
    request: &BuildRequest,
    client: &mut Client,
    output: &mut Output,
) -> Result<(), Refusal> {
    if manifest.is_some() {
        output.step("Launching...");
    }
    let refs = updates.iter().map(Update::to_record).collect();
    let (release, web_url) = ask("commit", client.commit(CommitRequest { refs, manifest }))?;
    if let Some(version) = release {
        return launch::follow(version, &web_url, client, output);
    }
    if updates.iter().any(|update| !update.is_deletion()) {
        for line in refs::not_deployed(updates, &request.deploy_refs) {
            output.trouble(line);
        }
    }
    Ok(())
}
