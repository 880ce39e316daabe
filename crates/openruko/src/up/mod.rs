//! `openruko up`: the whole platform in the foreground, on one state directory.
//!
//! [`state`] says where everything is, [`first_config`] writes the configuration of a new state
//! directory, [`host`] sets up what needs root, [`children`] keeps the programs running, [`reaper`] removes
//! what containers leave, [`greeting`] is what the admin reads.

mod children;
mod first_config;
mod greeting;
mod host;
mod install;
mod reaper;
mod state;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;
use ruko_core::config::{Config, Ipv4Net};
use ruko_core::{Exit, Fault, Hint};
use ruko_sys::{Lock, Tool, ToolError};

use children::{Child, Children};
pub(crate) use install::Install;
use reaper::Reaper;
use state::State;

/// DESIGN's bound for a container whose owner has gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Run the whole platform in the foreground.
#[derive(Args)]
#[command(after_help = "Example:\n  sudo openruko up --state /srv/openruko\n\n\
    The options other than --state are for the first start: they go into the\n\
    configuration in the state directory, which counts from then on.")]
pub(crate) struct UpArgs {
    /// Everything that is kept, and the configuration.
    #[arg(long, default_value = state::DEFAULT_DIR)]
    state: PathBuf,
    /// Where git's ssh listens.
    #[arg(long, default_value = "127.0.0.1:2222")]
    ssh_listen: SocketAddr,
    /// Where the API listens.
    #[arg(long, default_value = "127.0.0.1:5000")]
    api_listen: SocketAddr,
    /// Where developers reach the Platform API.
    #[arg(long, default_value = "127.0.0.1:5001")]
    public_listen: SocketAddr,
    /// Where git over HTTP listens.
    #[arg(long, default_value = "127.0.0.1:5002")]
    git_listen: SocketAddr,
    /// Where the router listens, in front of the apps.
    #[arg(long, default_value = "127.0.0.1:8080")]
    web_listen: SocketAddr,
    /// Where the terminals of one-off dynos are reached.
    #[arg(long, default_value = "127.0.0.1:5003")]
    rendezvous_listen: SocketAddr,
    /// The bridge for containers.
    #[arg(long, default_value = "ruko0")]
    bridge: String,
    /// The network of the bridge; its first address becomes the host's.
    #[arg(long, default_value = "10.158.0.1/20")]
    subnet: Ipv4Net,
}

/// Undo what `openruko up` set up on this machine outside its state directory.
#[derive(Args)]
#[command(after_help = "Example:\n  sudo openruko teardown --state /srv/openruko\n\n\
    Apps, releases and keys in the state directory stay as they are.")]
pub(crate) struct TeardownArgs {
    /// The state directory that was used.
    #[arg(long, default_value = state::DEFAULT_DIR)]
    state: PathBuf,
}

/// Sets everything up and runs it until a signal ends it.
///
/// # Errors
/// Not root, something is missing on this machine, or the state directory is in use.
pub(crate) fn run(args: &UpArgs) -> Result<Exit, Fault> {
    let state = State::at(&args.state)?;
    ruko_sys::process::enter_as_root().fault("`openruko up` cannot run").map_err(|fault| {
        fault.hint(
            "start it with sudo: it makes a bridge, users and containers, and runs nothing else as root",
        )
    })?;
    let install = Install::find()?;
    let users = host::users()?;
    state.make(&users)?;
    let _lock =
        Lock::try_take(&state.lock()).fault("the state directory cannot be used")?.ok_or_else(|| {
            Fault::refused(format!("another `openruko up` runs on `{}`", state.dir().display()))
        })?;
    let is_new = !state.config().exists();
    let mut children = start(args, &install, &state, &users).inspect_err(|_| {
        // A first start that failed, on a port that is taken for example, binds nobody to its options.
        if is_new {
            let _ = std::fs::remove_file(state.config());
        }
    })?;
    let stop_dynos = stop_command(&install, &state, &users)?;
    children.run_until_told_to_stop(reaper(&install, &state), stop_dynos)
}

/// Everything up to the moment when the platform answers.
fn start(args: &UpArgs, install: &Install, state: &State, users: &host::Users) -> Result<Children, Fault> {
    let config = configuration(args, install, state, users)?;
    host::sudoers(install, state)?;
    host::host_key(state)?;
    host::sshd_config(install, state, &config)?;
    set_up_network(install, state)?;
    let children = start_children(install, state, users, &config)?;
    let greeting = greeting::lines(state, &config, host::host_key_fingerprint(state)?)?;
    children::say(&greeting.join("\n"));
    Ok(children)
}

/// What it warns of is for the admin to read.
fn set_up_network(install: &Install, state: &State) -> Result<(), Fault> {
    let setup = ruko_container(install, state, "setup").into_command();
    run_aloud(setup, "the network for containers cannot be set up")
}

fn ruko_container(install: &Install, state: &State, verb: &str) -> Tool {
    Tool::new(install.container()).arg("--config").arg(state.config()).arg(verb)
}

/// Runs what says itself on stderr why it fails, and what it warns of.
fn run_aloud(mut command: Command, failed: &str) -> Result<(), Fault> {
    let done = command.status().fault(failed)?;
    if done.success() { Ok(()) } else { Err(Fault::refused(failed).hint("the lines above say why")) }
}

/// Ends the dynos that an `openruko up` left behind that was killed.
fn stop_dynos(install: &Install, state: &State) -> Result<(), Fault> {
    let Some(stop) = stop_command(install, state, &host::users()?)? else { return Ok(()) };
    run_aloud(stop, "dynos that still run cannot be stopped")
}

/// The command that ends the dynos of this node, if it runs any.
fn stop_command(install: &Install, state: &State, users: &host::Users) -> Result<Option<Command>, Fault> {
    if Config::load(&state.config(), std::iter::empty())?.host.is_none() {
        return Ok(None);
    }
    let mut stop = Tool::new(install.host()).arg("--config").arg(state.config()).arg("stop").into_command();
    users.git.become_in(&mut stop);
    Ok(Some(stop))
}

/// Removes the dynos that still run, the bridge, the packet filter's tables and the sudoers line.
///
/// # Errors
/// Not root, or something cannot be removed.
pub(crate) fn teardown(args: &TeardownArgs) -> Result<Exit, Fault> {
    let state = State::at(&args.state)?;
    ruko_sys::process::enter_as_root().fault("`openruko teardown` cannot run")?;
    if !state.config().exists() {
        // The line can be taken back even when the state directory is gone.
        host::remove_sudoers(&state)?;
        return Ok(Exit::Ok);
    }
    let install = Install::find()?;
    let _lock =
        Lock::try_take(&state.lock()).fault("the state directory cannot be used")?.ok_or_else(|| {
            Fault::refused(format!("`openruko up` runs on `{}`; stop it first", state.dir().display()))
        })?;
    // Dynos outlive what started them; while they end, their keepers are needed.
    stop_dynos(&install, &state)?;
    host::remove_sudoers(&state)?;
    ruko_container(&install, &state, "reap").run().fault("leftover containers cannot be removed")?;
    remove_network(&install, &state).fault("the network for containers cannot be removed")?;
    Ok(Exit::Ok)
}

/// Containers whose end has just been asked for take a moment until they are gone.
fn remove_network(install: &Install, state: &State) -> Result<(), ToolError> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        match ruko_container(install, state, "teardown").run() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
            done => return done,
        }
    }
}

/// A path that may stand in sudoers, sshd_config and a forced command, none of which quotes alike.
fn plain_path(what: &str, path: &Path) -> Result<PathBuf, Fault> {
    let path = std::path::absolute(path).fault(format!("{what} cannot be used"))?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    if path.as_os_str().as_encoded_bytes().iter().copied().all(plain) {
        return Ok(path);
    }
    Err(Fault::refused(format!(
        "{what} `{}` may have letters, digits, `.`, `_` and `-` only",
        path.display()
    ))
    .hint("choose another directory: sudo and sshd read its name"))
}

/// The configuration of the state directory; written if it is new.
fn configuration(
    args: &UpArgs,
    install: &Install,
    state: &State,
    users: &host::Users,
) -> Result<Config, Fault> {
    let path = state.config();
    if !path.exists() {
        first_config::write(args, install, state, users)?;
    }
    let config = Config::load(&path, std::iter::empty())?;
    first_config::check(args, &config, &path)?;
    Ok(config)
}

fn start_children(
    install: &Install,
    state: &State,
    users: &host::Users,
    config: &Config,
) -> Result<Children, Fault> {
    let sshd = Child::new("sshd", "Server listening on", {
        let config = state.sshd_config();
        move || Tool::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(&config).into_command()
    });
    let service = |name, ready, program: PathBuf, user: host::Account, verb: Option<&'static str>| {
        let config = state.config();
        Child::new(name, ready, move || {
            let mut command = Tool::new(&program).arg("--config").arg(&config).args(verb).into_command();
            user.become_in(&mut command);
            command
        })
    };
    let (git, openruko) = (users.git, users.openruko);
    let mut children = vec![
        service("openruko-api", "listening on", install.api(), openruko, None),
        sshd,
        service("openruko-serve", "waiting for builds", install.serve(), git, Some("builds")),
    ];
    if config.git.is_some() {
        children.push(service("openruko-git", "listening on", install.git(), git, None));
    }
    if config.host.is_some() {
        children.push(service("openruko-host", "running dynos", install.host(), git, None));
    }
    if config.router.is_some() {
        children.push(service("openruko-router", "listening on", install.router(), openruko, None));
    }
    Children::start(children)
}

/// Removes what containers leave, from time to time.
fn reaper(install: &Install, state: &State) -> Reaper {
    Reaper::new({
        let (program, config) = (install.container(), state.config());
        move || Tool::new(&program).arg("--config").arg(&config).arg("reap").into_command()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_sudo_or_sshd_would_read_otherwise_are_refused() {
        for good in ["/srv/openruko", "/opt/ruko-2.0/a_b"] {
            assert_eq!(plain_path("the directory", Path::new(good)).unwrap(), Path::new(good));
        }
        for bad in
            ["/srv/a b", "/srv/a,b", "/srv/a\nroot ALL", "/srv/%u", "/srv/a\\b", "/srv/#a", "/srv/\u{e9}"]
        {
            let fault = plain_path("the directory", Path::new(bad)).unwrap_err();
            assert!(fault.message.starts_with("the directory `"), "{}", fault.message);
            assert!(State::at(Path::new(bad)).is_err(), "{bad}");
            assert!(Install::at(&Path::new(bad).join("bin/openruko")).is_err(), "{bad}");
        }
    }
}
