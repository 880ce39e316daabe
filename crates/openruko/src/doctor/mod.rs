//! `openruko doctor`: looks at everything that openruko needs of a machine, and says how to mend what is amiss.
//!
//! What is looked at is in [`look`] and [`inside`], what it means in [`judge`].

mod finding;
mod inside;
mod judge;
mod look;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use ruko_api_client::ApiClient;
use ruko_core::config::Config;
use ruko_core::exit::chain;
use ruko_core::{Exit, Fault, TemplateName};
use ruko_sys::Tool;

use finding::{Finding, Seen, State};

/// The user of the forced command.
const GIT: &str = "git";

/// The system's own sshd, where `openruko up` has none here.
const SYSTEM_SSHD: &str = "/etc/ssh/sshd_config";

/// Look at everything that openruko needs of this machine, and say how to mend what is amiss
#[derive(Debug, Args)]
#[command(
    after_help = "Each line says `ok`, `warning`, `failed`, or `unseen` where it could not be looked at (most of
that only root can). The exit status is 1 when something has failed.

Examples:
  sudo openruko --config /srv/openruko/config.toml doctor
  openruko doctor --json | jq '.[] | select(.state == \"failed\")'"
)]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Start no container to look from inside it
    #[arg(long)]
    no_container: bool,
    /// What is to be reached from inside a container [default: the mirror of [build.env], or deb.debian.org]
    #[arg(long, value_name = "URL")]
    reach: Option<String>,
    /// sshd's configuration [default: that of `openruko up` beside the configuration, else the system's]
    #[arg(long, value_name = "PATH")]
    sshd_config: Option<PathBuf>,
}

/// Looks, and prints what was found.
///
/// # Errors
/// The output cannot be written.
pub(crate) fn run(args: &DoctorArgs, config_path: &Path) -> Result<Exit, Fault> {
    let config_path = std::path::absolute(config_path)?;
    let findings = examine(args, &config_path);
    let mut out = io::stdout().lock();
    let written = if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)
    } else {
        findings.iter().try_for_each(|finding| print(&mut out, finding))
    };
    match written {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => return Err(why.into()),
        _ => {}
    }
    let failed = findings.iter().any(|finding| finding.state == State::Failed);
    Ok(if failed { Exit::Refused } else { Exit::Ok })
}

fn print(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let Finding { check, state, found, mend } = finding;
    let word = match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Failed => "failed",
        State::Unseen => "unseen",
    };
    writeln!(out, "{word:7}  {check}: {found}")?;
    match mend {
        Some(mend) => writeln!(out, "         mend it: {mend}"),
        None => Ok(()),
    }
}

fn examine(args: &DoctorArgs, config_path: &Path) -> Vec<Finding> {
    let config = match Config::load(config_path, std::env::vars()) {
        Ok(config) => config,
        Err(why) => {
            let mend = "name it with --config or OPENRUKO_CONFIG; `openruko up` says where it is";
            let config = Config::default();
            let mut findings = vec![Finding::failed("configuration", chain(&why), mend)];
            findings.extend(machine(&config));
            return findings;
        }
    };
    let mut findings = vec![judge::trusted("configuration", &look::with_parents(config_path))];
    findings.extend(machine(&config));
    findings.extend(containers(&config, config_path));
    findings.extend(git_user(args, &config, config_path));
    findings.extend(secrets(&config));
    findings.extend(disks(&config));
    findings.extend(services(&config));
    if !args.no_container && config.container.is_some() {
        findings.extend(from_inside(args, &config));
    }
    findings
}

/// What any machine for containers must have.
fn machine(config: &Config) -> Vec<Finding> {
    let release = look::text("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let dynos = config.host.is_some();
    let missing: Vec<_> = look::TOOLS.into_iter().filter(|(tool, _)| look::program(tool).is_none()).collect();
    let mut findings = vec![
        judge::kernel(&release, dynos),
        judge::user_namespaces(&look::number("/proc/sys/user/max_user_namespaces")),
    ];
    findings.extend(
        ["overlay", "squashfs", "ext4"]
            .map(|name| judge::file_system(name, look::has_file_system(name, &release), dynos)),
    );
    let allowed = config.container.as_ref().is_some_and(|container| container.allow_missing_limits);
    findings.extend([
        judge::loop_devices(Path::new("/dev/loop-control").exists()),
        judge::seccomp(&look::text("/proc/sys/kernel/seccomp/actions_avail")),
        match look::control_groups() {
            Ok((versions, missing)) => judge::control_groups(versions, &missing, allowed),
            Err(why) => Finding::unseen("control groups", why),
        },
        judge::lxc(&look::output(Tool::new("lxc-start").arg("--version"))),
        judge::tools(look::TOOLS.len(), &missing),
        judge::clock(&look::clock()),
    ]);
    findings
}

/// What `ruko-container setup` prepares.
fn containers(config: &Config, config_path: &Path) -> Vec<Finding> {
    let Some(container) = &config.container else {
        return vec![Finding::unseen(
            "containers",
            "the configuration has no [container]: none run on this machine",
        )];
    };
    let setup = format!("ruko-container --config {} setup", config_path.display());
    let gateway = container.subnet.host(1).unwrap_or(container.subnet.address);
    let wanted = ruko_core::config::Ipv4Net { address: gateway, prefix: container.subnet.prefix };
    let file = |path: &str| look::text(path).unwrap_or_default();
    let filter = look::as_root(Tool::new("nft").args(["list", "tables"]));
    vec![
        judge::ids(&file("/etc/subuid"), &file("/etc/subgid"), container.slots, &setup),
        judge::bridge(&container.bridge, wanted, &look::addresses(&container.bridge), &setup),
        judge::packet_filter(&container.bridge, &filter, &setup),
        judge::forwarding(&look::text("/proc/sys/net/ipv4/ip_forward")),
    ]
}

/// What lets pushes in, and lets them start containers.
fn git_user(args: &DoctorArgs, config: &Config, config_path: &Path) -> Vec<Finding> {
    let Some(serve) = &config.serve else { return Vec::new() };
    let command = &serve.container_command;
    let allowed = look::may_sudo(GIT, command.get(2..).unwrap_or_default());
    let mut findings = vec![judge::sudo(GIT, command, &allowed)];
    if let Some(program) = command.iter().find(|word| word.starts_with('/')) {
        findings.push(judge::trusted("ruko-container", &look::with_parents(Path::new(program))));
    }
    let sshd_config = args.sshd_config.clone().unwrap_or_else(|| {
        let ours = config_path.with_file_name("sshd").join("sshd_config");
        if ours.exists() { ours } else { SYSTEM_SSHD.into() }
    });
    // sshd insists on its whole path, since it starts itself again (sshd(8)).
    let ask = Tool::new(look::program("sshd").unwrap_or_else(|| "/usr/sbin/sshd".into())).args([
        "-T",
        "-C",
        "user=git,host=localhost,addr=127.0.0.1",
    ]);
    let sshd = look::as_root(ask.arg("-f").arg(&sshd_config));
    findings.push(judge::sshd(&sshd, GIT));
    let asked = sshd.as_deref().unwrap_or_default();
    let program = asked.lines().find_map(|line| line.strip_prefix("authorizedkeyscommand /"));
    if let Some(program) = program.and_then(|rest| rest.split_whitespace().next()) {
        let program = PathBuf::from("/").join(program);
        findings.push(judge::trusted("AuthorizedKeysCommand", &look::with_parents(&program)));
    }
    findings
}

/// Files that programs read a token or a key from.
fn secrets(config: &Config) -> Vec<Finding> {
    let mut files: Vec<&Path> = Vec::new();
    files.extend(config.api.iter().filter_map(|api| api.database_password_file.as_deref()));
    files.extend(config.serve.iter().map(|serve| serve.token_file.as_path()));
    files.extend(config.host.iter().map(|host| host.token_file.as_path()));
    files.extend(config.router.iter().map(|router| router.token_file.as_path()));
    files.extend(config.admin.iter().map(|admin| admin.token_file.as_path()));
    files.sort_unstable();
    files.dedup();
    files.into_iter().map(|path| judge::secret(path, &look::owned(path))).collect()
}

/// Where bytes are written, and what has to stay free there.
fn disks(config: &Config) -> Vec<Finding> {
    let mut places: Vec<(PathBuf, u64)> = Vec::new();
    let reserve = config.serve.as_ref().map_or(0, |serve| serve.reserve_bytes);
    if let Some(container) = &config.container {
        places.push((container.state_dir.clone(), container.reserve_bytes.max(reserve)));
    }
    if let Some(api) = &config.api {
        places.extend(api.storage.strip_prefix("file://").map(|path| (path.into(), reserve)));
        let database = api.database.strip_prefix("sqlite://").map(PathBuf::from);
        places.extend(database.and_then(|file| Some((file.parent()?.to_owned(), 64 << 20))));
        places.extend(api.logs.iter().map(|path| (path.clone(), 64 << 20)));
    }
    places.extend(config.host.iter().map(|host| (host.slugs_dir.clone(), reserve)));
    // Sockets and keys only.
    places.extend(config.serve.iter().map(|serve| (serve.runtime_dir.clone(), 1 << 20)));
    places.iter().map(|(path, reserve)| judge::space(path, &look::free(path), *reserve)).collect()
}

/// Whether the programs that should run answer.
fn services(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(admin) = &config.admin {
        findings.push(match File::open(&admin.token_file) {
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
                Finding::unseen("API", look::NEEDS_ROOT)
            }
            _ => judge::answers("API", &admin.api_url, &api(&admin.api_url, &admin.token_file)),
        });
    }
    let http = "GET / HTTP/1.1\r\nHost: doctor.invalid\r\nConnection: close\r\n\r\n";
    let mut answers = |check: &str, place: std::net::SocketAddr, answer: Seen<String>| {
        findings.push(judge::answers(check, &place.to_string(), &answer));
    };
    if let Some(public) = config.api.as_ref().and_then(|api| api.public.as_ref()) {
        answers("Platform API", public.listen, look::accepts(public.listen));
    }
    if let Some(up) = &config.up {
        answers("ssh", up.ssh_listen, look::first_line(up.ssh_listen, ""));
    }
    if let Some(git) = &config.git {
        answers("git over HTTP", git.listen, look::accepts(git.listen));
    }
    if let Some(rendezvous) = config.host.as_ref().and_then(|host| host.rendezvous.as_ref()) {
        answers("host", rendezvous.listen, look::accepts(rendezvous.listen));
    }
    if let Some(router) = &config.router {
        answers("router", router.listen, look::first_line(router.listen, http));
    }
    findings
}

fn api(url: &str, token_file: &Path) -> Result<String, String> {
    let client = ApiClient::from_token_file(url, token_file).map_err(|why| chain(&why))?;
    client.audit(None, 1).map_err(|why| chain(&why))?;
    Ok("it takes the admin's token".to_owned())
}

fn from_inside(args: &DoctorArgs, config: &Config) -> Vec<Finding> {
    let url = args.reach.clone().unwrap_or_else(|| inside::usual_url(&config.build.env));
    let usual: Result<TemplateName, _> = "openruko-build".parse();
    let template = config.api.as_ref().map(|api| api.template.clone()).or(usual.ok());
    let seen = match template {
        _ if !look::is_root() => return judge::inside(&url, &Err(look::NEEDS_ROOT.to_owned())),
        None => Err("there is no template".to_owned()),
        Some(template) => inside::look(config, template, &url),
    };
    match seen {
        Err(why) => {
            let mend = "mend what has failed above first; then see what `ruko-container start try` says";
            vec![Finding::failed("a container", why, mend)]
        }
        seen => judge::inside(&url, &seen),
    }
}
