//! Apps: list, create, info, rename, destroy, open, maintenance.

use std::process::{Command as Process, Stdio};

use clap::{Args, Subcommand};
use ruko_api_types::platform::{Account, App, AppChanges, Collaborator, Dyno, NewApp};
use ruko_core::Fault;
use serde_json::Value;

use super::confirm::confirm;
use super::git::{self, RemoteArgs};
use super::output::{Table, when};
use super::session::{AppArgs, Session, read};
use super::{Done, Error};

/// List, create, show, rename and destroy apps
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AppsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Also those that others own and one has no part in: for admins of the server
    #[arg(short = 'A', long)]
    all: bool,
    /// Print JSON
    #[arg(long, short)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(CreateArgs),
    Info(InfoArgs),
    Rename(RenameArgs),
    Destroy(DestroyArgs),
    Open(OpenArgs),
}

/// Create an app, and a git remote for it
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The name; made up by the server if not given
    #[arg(value_name = "APP")]
    name: Option<String>,
    /// The name, too
    #[arg(short, long = "app", value_name = "APP", conflicts_with = "name")]
    app: Option<String>,
    /// The stack
    #[arg(short, long)]
    stack: Option<String>,
    /// The region
    #[arg(long)]
    region: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Add no git remote
    #[arg(short, long)]
    no_remote: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show an app
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Print lines for a shell
    #[arg(short, long, conflicts_with = "json")]
    shell: bool,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

/// Give an app another name
#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// The new name
    #[arg(value_name = "NEW")]
    new: String,
    #[command(flatten)]
    app: AppArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Destroy an app, for good
#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    #[command(flatten)]
    app: AppArgs,
    /// The app's name once more, so that nothing is asked
    #[arg(short, long, value_name = "APP")]
    confirm: Option<String>,
}

/// Open an app in a browser
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    #[command(flatten)]
    app: AppArgs,
    /// The page
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Print the address, and open nothing
    #[arg(long)]
    url: bool,
}

/// Show or switch the page that visitors get during maintenance
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct MaintenanceArgs {
    #[command(subcommand)]
    command: Option<Switch>,
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Subcommand)]
enum Switch {
    /// Show the page
    On {
        #[command(flatten)]
        app: AppArgs,
    },
    /// Show the app
    Off {
        #[command(flatten)]
        app: AppArgs,
    },
}

pub(super) fn run(args: AppsArgs, session: &Session) -> Done {
    match args.command {
        None => list(&args.list, session),
        Some(Command::Create(args)) => create(args, session),
        Some(Command::Info(args)) => info(&args, session),
        Some(Command::Rename(args)) => rename(args, session),
        Some(Command::Destroy(args)) => destroy(&args, session),
        Some(Command::Open(args)) => open(&args, session),
    }
}

fn list(args: &ListArgs, session: &Session) -> Done {
    let connection = session.connect()?;
    let path = if args.all { "/apps" } else { "/users/~/apps" };
    let apps: Vec<Value> = connection.api.list(path)?;
    if args.json {
        return Ok(session.screen.json(&Value::Array(apps))?);
    }
    let account: Account = connection.api.get("/account")?;
    let apps: Vec<App> = read(Value::Array(apps), &connection.server.url)?;
    if apps.is_empty() {
        session.screen.remark("You have no apps: `openruko create` makes one.");
        return Ok(());
    }
    let (own, others): (Vec<App>, Vec<App>) =
        apps.into_iter().partition(|app| app.owner.email == account.email);
    if !own.is_empty() {
        session.screen.heading(format!("{} Apps", account.email))?;
        let mut table = Table::plain();
        own.iter().for_each(|app| table.row([&app.name]));
        session.screen.table(&table)?;
    }
    if !others.is_empty() {
        if !own.is_empty() {
            session.screen.gap()?;
        }
        session.screen.heading("Collaborated Apps")?;
        let mut table = Table::plain();
        others.iter().for_each(|app| table.row([&app.name, &app.owner.email]));
        session.screen.table(&table)?;
    }
    Ok(())
}

pub(super) fn create(args: CreateArgs, session: &Session) -> Done {
    let connection = session.connect()?;
    let name = args.name.or(args.app);
    let what = name.as_ref().map_or("Creating app".to_owned(), |name| format!("Creating ⬢ {name}"));
    let wanted = NewApp { name, region: args.region, stack: args.stack };
    let made = session.screen.action(what, || {
        let made: Value = connection.api.post("/apps", &wanted)?;
        let app: App = read(made.clone(), &connection.server.url)?;
        let detail = if wanted.name.is_some() { String::new() } else { format!(", ⬢ {}", app.name) };
        Ok::<_, Error>(((made, app), detail))
    });
    let (json, app) = made?;
    let remote = match args.no_remote || !git::is_repository() {
        true => None,
        false => add_remote(&args.remote, &connection.server, &app.name, session)?,
    };
    if args.json {
        return Ok(session.screen.json(&json)?);
    }
    let url = remote.unwrap_or_else(|| connection.server.ssh_url.replace("{app}", &app.name));
    Ok(session.screen.line(format!("{} | {url}", app.web_url))?)
}

/// An app that exists is worth more than a remote that could not be added: this is told and no failure.
fn add_remote(
    args: &RemoteArgs,
    server: &ruko_client::KnownServer,
    app: &str,
    session: &Session,
) -> Result<Option<String>, Error> {
    if git::remotes()?.iter().any(|remote| remote.name == args.remote) {
        session.screen.remark(format!(
            "The git remote {} is there already and stays: `openruko git:remote -a {app}` changes it.",
            args.remote
        ));
        return Ok(None);
    }
    git::set_remote(args, server, app).map(Some)
}

pub(super) fn info(args: &InfoArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let json: Value = target.api.get(&target.path(""))?;
    if args.json {
        return Ok(session.screen.json(&json)?);
    }
    let app: App = read(json, &target.server.url)?;
    if args.shell {
        return shell(&app, session);
    }
    let dynos: Vec<Dyno> = target.api.list(&target.path("/dynos"))?;
    let collaborators: Vec<Collaborator> = target.api.list(&target.path("/collaborators"))?;
    let others: Vec<&str> = collaborators
        .iter()
        .map(|collaborator| collaborator.user.email.as_str())
        .filter(|email| *email != app.owner.email)
        .collect();
    session.screen.heading(&app.name)?;
    let mut table = Table::plain();
    let maintenance = if app.maintenance { "on" } else { "off" };
    let ssh_url = target.server.ssh_url.replace("{app}", &app.name);
    table.row(["Web URL:", &app.web_url]);
    table.row(["Git URL:", &ssh_url]);
    table.row(["Git URL (HTTPS):", &app.git_url]);
    table.row(["Owner:", &app.owner.email]);
    table.row(["Collaborators:", if others.is_empty() { "-" } else { "" }.to_owned().as_str()]);
    others.iter().for_each(|other| table.row(["", other]));
    table.row(["Dynos:", &dynos.len().to_string()]);
    table.row(["Stack:", &app.stack.name]);
    table.row(["Region:", &app.region.name]);
    table.row(["Maintenance:", maintenance]);
    table.row(["Repo size:", &size(app.repo_size)]);
    table.row(["Slug size:", &size(app.slug_size)]);
    table.row(["Created:", &when(&app.created_at)]);
    table.row(["Released:", &app.released_at.as_deref().map_or("never".to_owned(), when)]);
    Ok(session.screen.table(&table)?)
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), ruko_core::message::bytes)
}

/// `KEY=value` lines, each of which a shell can read.
fn shell(app: &App, session: &Session) -> Done {
    let text = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
    let pairs = [
        ("git_url", app.git_url.clone()),
        ("web_url", app.web_url.clone()),
        ("owner", app.owner.email.clone()),
        ("region", app.region.name.clone()),
        ("stack", app.stack.name.clone()),
        ("repo_size", text(app.repo_size)),
        ("slug_size", text(app.slug_size)),
    ];
    for (name, value) in pairs {
        session.screen.line(format!("{name}={}", shell_words::quote(&value)))?;
    }
    Ok(())
}

pub(super) fn rename(args: RenameArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let old: App = target.api.get(&target.path(""))?;
    let what = format!("Renaming {} to {}", old.name, args.new);
    let changes = AppChanges { name: Some(args.new), ..AppChanges::default() };
    let path = target.path("");
    let json =
        session.screen.action(what, || target.api.patch(&path, &changes).map(|json| (json, String::new())));
    let json: Value = json?;
    let app: App = read(json.clone(), &target.server.url)?;
    for remote in git::follow(&target.server, &old.name, Some(&app.name))? {
        session.screen.remark(format!("Git remote {remote} updated"));
    }
    match args.json {
        true => session.screen.json(&json)?,
        false => session.screen.line(format!("{} | {}", app.web_url, app.git_url))?,
    }
    Ok(())
}

pub(super) fn destroy(args: &DestroyArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let app: App = target.api.get(&target.path(""))?;
    confirm(
        &session.screen,
        &format!("this destroys ⬢ {} and all that belongs to it", app.name),
        &app.name,
        args.confirm.as_deref(),
    )?;
    let path = target.path("");
    session.screen.action(format!("Destroying ⬢ {}", app.name), || {
        target.api.delete(&path).map(|()| ((), String::new()))
    })?;
    for remote in git::follow(&target.server, &app.name, None)? {
        session.screen.remark(format!("Git remote {remote} removed"));
    }
    Ok(())
}

pub(super) fn open(args: &OpenArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let app: App = target.api.get(&target.path(""))?;
    let page = args.path.as_deref().unwrap_or_default().trim_start_matches('/');
    let url = format!("{}/{page}", app.web_url.trim_end_matches('/'));
    // A browser would do much for other schemes: `file:`, `javascript:`, those of other programs.
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(Fault::refused(format!("`{}` is no address of a web page", url.escape_debug())).into());
    }
    if args.url || !show_page(&url) {
        session.screen.line(&url)?;
    }
    Ok(())
}

/// Shows a page in the user's browser, if there is a way to.
pub(super) fn show_page(url: &str) -> bool {
    // macOS has `open`; on Debian that is another program, or none.
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = Process::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    started.is_ok_and(|status| status.success())
}

pub(super) fn maintenance(args: MaintenanceArgs, session: &Session) -> Done {
    let (app, wanted, what) = match args.command {
        None => {
            let target = session.target(&args.app)?;
            let app: App = target.api.get(&target.path(""))?;
            return Ok(session.screen.line(if app.maintenance { "on" } else { "off" })?);
        }
        Some(Switch::On { app }) => (app, true, "Enabling"),
        Some(Switch::Off { app }) => (app, false, "Disabling"),
    };
    let target = session.target(&app)?;
    let changes = AppChanges { maintenance: Some(wanted), ..AppChanges::default() };
    let path = target.path("");
    session.screen.action(format!("{what} maintenance mode for ⬢ {}", target.app), || {
        target.api.patch::<Value>(&path, &changes).map(|_| ((), String::new()))
    })?;
    Ok(())
}
