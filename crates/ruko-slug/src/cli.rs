//! The command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nix::sys::stat::{Mode, umask};
use ruko_channel::Client;
use ruko_core::{CommitId, Exit, Fault, Hint, StackName, message, report};
use ruko_sys::{AtPath, PathError};

use crate::buildpack::fetch::Source;
use crate::buildpack::reference::Reference;
use crate::buildpack::survey::Survey;
use crate::buildpack::{Buildpack, Directories};
use crate::env::{Environment, Facts, Timeouts};
use crate::git::Repository;
use crate::layout::Layout;
use crate::output::{Lines, Output};
use crate::refs::Known;
use crate::{build, cache, checkout, inspect, pack, procfile, refs, session, stack, yaml};

const EXAMPLE: &str = "\
Examples:
  ruko-slug session receive-pack     what ssh runs in a build container
  ruko-slug build                    what git's pre-receive hook runs there
  ruko-slug build-source             what ssh runs there to build a tarball
  ruko-slug refs --repository app.git < updates
  ruko-slug checkout 1a2b3c… /tmp/app --repository app.git
  ruko-slug detect /tmp/app
  mkdir -p /tmp/cache /tmp/env /tmp/home
  ruko-slug compile /tmp/app /tmp/cache /tmp/env --buildpack python --home /tmp/home
  ruko-slug types /tmp/app
  ruko-slug pack /tmp/app > slug.tar.gz
  ruko-slug submit slug.tar.gz       in a build container
  ruko-slug cache > cache.tar.gz     in a build container
  ruko-slug inspect slug.tar.gz --json";

/// Builds an app inside its container.
#[derive(Debug, Parser)]
#[command(name = "ruko-slug", version, after_help = EXAMPLE)]
pub struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Command,
}

/// Where things are; the container's paths are the default.
#[derive(Debug, Args)]
struct Places {
    /// HOME of a build, where the app will run from [default: /app]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    #[arg(long, hide = true, global = true)]
    tmp: Option<PathBuf>,
    /// The buildpacks that ship [default: those installed with this program, else /app/buildpacks]
    #[arg(long, global = true, value_name = "DIR")]
    buildpacks: Option<PathBuf>,
    #[arg(long, hide = true, global = true)]
    socket: Option<PathBuf>,
}

impl From<Places> for Layout {
    fn from(places: Places) -> Self {
        let default = Self::default();
        Self {
            home: places.home.unwrap_or(default.home),
            tmp: places.tmp.unwrap_or(default.tmp),
            buildpacks: places.buildpacks.unwrap_or(default.buildpacks),
            socket: places.socket.unwrap_or(default.socket),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch the stored repository over the host channel, and become git
    Session {
        /// What the client asked for
        service: session::Service,
        #[command(flatten)]
        exchange: ExchangeArgs,
        /// The largest pack that a push may send
        #[arg(long, value_name = "BYTES")]
        max_pack_bytes: Option<u64>,
    },
    /// Be git's pre-receive hook: build, hand over, commit
    Build,
    /// Fetch a tarball over the host channel, and build, hand over, commit
    BuildSource,
    /// Judge ref updates, `OLD NEW NAME` a line on stdin, as the hook would
    Refs {
        #[command(flatten)]
        repository: AtRepository,
        /// A ref whose push makes a release
        #[arg(long = "deploy-ref", default_values = ["refs/heads/main", "refs/heads/master"])]
        deploy_refs: Vec<String>,
    },
    /// Write the tree of a commit to a directory, without HEAD, index or filters
    Checkout {
        /// The commit's full id
        commit: CommitId,
        /// The directory, which is made
        into: PathBuf,
        #[command(flatten)]
        repository: AtRepository,
    },
    /// Say which of the buildpacks that ship takes an app
    Detect {
        /// The app
        app: PathBuf,
        #[command(flatten)]
        facts: BuildFacts,
    },
    /// Run a buildpack's compile
    Compile {
        /// The app
        app: PathBuf,
        /// What is kept from build to build
        cache: PathBuf,
        /// A directory with a file for each config var
        env: PathBuf,
        /// The buildpack: a name, a git URL with #REF, or a tarball's URL
        #[arg(long)]
        buildpack: Reference,
        #[command(flatten)]
        facts: BuildFacts,
    },
    /// Write the slug of an app to stdout
    Pack {
        /// The app
        app: PathBuf,
    },
    /// Print an app's process types, `TYPE: COMMAND` a line
    Types {
        /// The app
        app: PathBuf,
        /// A release document with further types: what a buildpack's bin/release printed
        #[arg(long)]
        release: Option<PathBuf>,
    },
    /// Hand a packed slug over the host channel, and print its size and SHA-256 as stored
    Submit {
        /// The slug
        slug: PathBuf,
    },
    /// Write the build cache to stdout, as tar.gz; nothing if it is empty or the hook did not keep it
    Cache,
    /// Say what a packed slug holds
    Inspect {
        /// The slug
        slug: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// How git is spoken to: over one connection, or by requests of HTTP.
#[derive(Debug, Args)]
struct ExchangeArgs {
    /// Only say what the service offers
    #[arg(long, conflicts_with = "stateless_rpc")]
    advertise: bool,
    /// Answer one request, read from stdin
    #[arg(long)]
    stateless_rpc: bool,
}

impl From<ExchangeArgs> for session::Exchange {
    fn from(args: ExchangeArgs) -> Self {
        match args {
            ExchangeArgs { advertise: true, .. } => Self::Advertisement,
            ExchangeArgs { stateless_rpc: true, .. } => Self::StatelessRpc,
            _ => Self::Whole,
        }
    }
}

/// Which repository.
#[derive(Debug, Args)]
struct AtRepository {
    /// The bare repository; in a hook, the one whose hook it is
    #[arg(long)]
    repository: Option<PathBuf>,
}

impl AtRepository {
    fn open(self) -> Result<Repository, Fault> {
        match self.repository {
            None => Repository::of_hook().fault("no --repository is given"),
            Some(dir) => Ok(Repository::at(dir.canonicalize().at("find the repository", &dir)?)),
        }
    }
}

/// The stack of a machine of which no better is known.
const UNKNOWN: &str = "unknown";

/// What a buildpack is told.
#[derive(Debug, Args)]
struct BuildFacts {
    /// The stack, for `STACK` [default: the Heroku stack that this machine can stand in for]
    #[arg(long)]
    stack: Option<StackName>,
}

impl BuildFacts {
    fn environment(&self, layout: &Layout) -> Result<Environment, Fault> {
        let (extra, home) = (BTreeMap::new(), layout.home.as_path());
        let stack = &stack::value(self.stack.as_ref(), &UNKNOWN.parse()?);
        Ok(Environment::new(&Facts { home, stack, source_version: "", request_id: "", extra: &extra }))
    }
}

/// The program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => return ruko_cli::print(&usage),
    };
    umask(Mode::from_bits_truncate(0o022));
    let layout = Layout::from(cli.places);
    match cli.command {
        Command::Session { service, exchange, max_pack_bytes } => {
            session(&layout, service, exchange.into(), max_pack_bytes)
        }
        command => report("ruko-slug", run(&layout, command)),
    }
}

/// What goes wrong before git speaks is read by the app developer.
fn session(
    layout: &Layout,
    service: session::Service,
    exchange: session::Exchange,
    max_pack_bytes: Option<u64>,
) -> ExitCode {
    let Err(fault) = session::run(layout, service, exchange, max_pack_bytes);
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "{}", message::trouble(&fault.message));
    fault.exit.into()
}

fn run(layout: &Layout, command: Command) -> Result<Exit, Fault> {
    match command {
        Command::Session { .. } => Err(Fault::usage("a session is not run here")),
        Command::Build => Ok(build::run(layout, &mut io::stdin().lock(), Output::stdout())),
        Command::BuildSource => Ok(build::run_source(layout, Output::stdout())),
        Command::Refs { repository, deploy_refs } => judge(&repository.open()?, &deploy_refs),
        Command::Checkout { commit, into, repository } => {
            let into = std::path::absolute(&into).at("find", &into)?;
            checkout::checkout(&repository.open()?, &commit, &into)?;
            Ok(Exit::Ok)
        }
        Command::Detect { app, facts } => detect(layout, &existing(&app)?, &facts),
        Command::Compile { app, cache, env, buildpack, facts } => {
            let (app, cache, env) = (existing(&app)?, existing(&cache)?, existing(&env)?);
            let dirs = Directories { build: &app, cache: &cache, env: &env };
            compile(layout, &dirs, &buildpack, &facts)
        }
        Command::Pack { app } => {
            let _written = pack::pack(&existing(&app)?, io::stdout().lock()).fault("cannot pack the slug")?;
            Ok(Exit::Ok)
        }
        Command::Types { app, release } => types(&app, release.as_deref()),
        Command::Submit { slug } => submit(layout, &slug),
        Command::Cache => cache::write(&layout.cache(), io::stdout().lock()).map(|()| Exit::Ok),
        Command::Inspect { slug, json } => {
            let slug = inspect::read(&slug)?;
            let mut out = io::stdout().lock();
            if json {
                serde_json::to_writer(&mut out, &slug)?;
                writeln!(out)?;
            } else {
                inspect::print(&slug, &mut out)?;
            }
            Ok(Exit::Ok)
        }
    }
}

/// Scripts get absolute paths.
fn existing(path: &Path) -> Result<PathBuf, PathError> {
    path.canonicalize().at("find", path)
}

fn refused(refusal: &crate::refusal::Refusal) -> Fault {
    Fault::refused(refusal.reason())
}

fn judge(repository: &Repository, deploy_refs: &[String]) -> Result<Exit, Fault> {
    let mut input = vec![];
    io::stdin().lock().read_to_end(&mut input)?;
    let updates = refs::parse(&input).map_err(|e| refused(&e))?;
    let known = Known { refs: repository.refs()?, ..Known::default() };
    let verdict = refs::judge(&updates, &known, deploy_refs).map_err(|e| refused(&e))?;
    let mut out = io::stdout().lock();
    match verdict.deploy {
        Some(update) => writeln!(out, "deploy {} {}", update.new, update.name)?,
        None => writeln!(out, "store")?,
    }
    Ok(Exit::Ok)
}

fn detect(layout: &Layout, app: &Path, facts: &BuildFacts) -> Result<Exit, Fault> {
    let none = BTreeMap::new();
    let source = Source { shipped: &layout.buildpacks, env: &none, timeouts: Timeouts::default() };
    let survey = Survey::of(&source, app, &facts.environment(layout)?)?;
    let Some((shipped, said)) = survey.takers.first() else {
        return Err(Fault::refused("no buildpack recognises the app"));
    };
    writeln!(io::stdout().lock(), "{}\t{said}", shipped.name)?;
    Ok(Exit::Ok)
}

fn compile(
    layout: &Layout,
    dirs: &Directories<'_>,
    reference: &Reference,
    facts: &BuildFacts,
) -> Result<Exit, Fault> {
    let none = BTreeMap::new();
    let copy =
        tempfile::Builder::new().prefix("buildpack_").tempdir_in(&layout.tmp).at("write to", &layout.tmp)?;
    let dir = copy.path().join("buildpack");
    let source = Source { shipped: &layout.buildpacks, env: &none, timeouts: Timeouts::default() };
    source.fetch(reference, &dir)?;
    let mut output = Output::stdout();
    let mut lines = Lines::default();
    let sink = &mut |bytes: &[u8]| lines.push(bytes, &mut |line| output.build_line(line));
    let ended = Buildpack::new(dir).compile(dirs, &facts.environment(layout)?, sink)?;
    lines.finish(&mut |line| output.build_line(line));
    if ended.status.success() {
        Ok(Exit::Ok)
    } else {
        Err(Fault::refused(format!("bin/compile failed ({})", ended.status)))
    }
}

fn types(app: &Path, release: Option<&Path>) -> Result<Exit, Fault> {
    let procfile = procfile::read(app)?.unwrap_or_default();
    let document = release.map(|path| fs::read(path).at("read", path)).transpose()?;
    let release = document.map(|document| yaml::parse(&document)).unwrap_or_default();
    for warning in procfile.warnings.iter().chain(&release.warnings) {
        let _ = writeln!(io::stderr().lock(), "ruko-slug: {warning}");
    }
    let (all, _) = procfile::merge(procfile.types, release.default_process_types);
    for (name, command) in all {
        writeln!(io::stdout().lock(), "{name}: {command}")?;
    }
    Ok(Exit::Ok)
}

fn submit(layout: &Layout, slug: &Path) -> Result<Exit, Fault> {
    let mut file = File::open(slug).at("read", slug)?;
    let mut client = Client::connect(&layout.socket).try_again("cannot reach the host channel")?;
    let mut upload = client.slug()?;
    io::copy(&mut file, &mut upload).fault("cannot hand over the slug")?;
    let stored = upload.finish()?;
    writeln!(io::stdout().lock(), "{} {}", stored.bytes, stored.sha256)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_page_and_completions_are_what_the_program_says() {
        ruko_manual::keep(<Cli as clap::CommandFactory>::command(), "1");
    }
}
