//! The commands against a real API.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use clap::Parser;
use openruko_api::{Server, Settings};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINoUZZDVDhdjlszLF+GGvZxdjmq747VLcdtqUFZvwq9h";
const FINGERPRINT: &str = "SHA256:LNJNMrPu5F0vMFjkUggCWMYMvBO1oR0sll2Wdua5NpE";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: AdminArgs,
}

struct World {
    dir: TempDir,
    config: AdminConfig,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

fn settings(dir: &Path) -> Settings {
    let digest: String = Sha256::digest("secret").iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "[api]\nlisten = '127.0.0.1:0'\ndatabase = 'sqlite://{dir}/api.db'\nstorage = 'file://{dir}/s'\n\
         url = 'http://api.test'\nweb_url = 'http://{{app}}.test/'\nstack = 'openruko-12'\n\
         template = 'openruko-build'\ncomponents = {{ admin = '{digest}' }}\n",
        dir = dir.display()
    );
    let config = Config::parse(&text, std::iter::empty()).unwrap();
    Settings::try_from(config.api().unwrap()).unwrap()
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::bind(settings(dir.path()))).unwrap();
        let token_file = dir.path().join("admin.token");
        std::fs::write(&token_file, "secret\n").unwrap();
        let config = AdminConfig { api_url: format!("http://{}", server.address()), token_file };
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let server = std::thread::spawn(move || runtime.block_on(server.serve(stopped)));
        Self { dir, config, stop: Some(stop), server: Some(server) }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn attempt(&self, words: &str, stdin: &str) -> Result<String, Fault> {
        let words = std::iter::once("admin").chain(words.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|e| Fault::usage(e.to_string()))?;
        let Command::Api(command) = cli.args.command else { panic!("it does not go through the API") };
        let mut out = Vec::new();
        match carry_out(command, &self.config, &mut stdin.as_bytes(), &mut out) {
            Ok(()) => Ok(String::from_utf8(out).unwrap()),
            Err(Failure::Fault(fault)) => Err(fault),
            Err(Failure::Reader) => panic!("nobody closed the output"),
        }
    }

    /// What a command prints that must succeed.
    fn says(&self, words: &str) -> String {
        self.attempt(words, "").unwrap_or_else(|fault| panic!("{words}: {fault:?}"))
    }

    /// Why a command is refused that must be.
    fn refuses(&self, words: &str) -> Fault {
        match self.attempt(words, "") {
            Err(fault) => fault,
            Ok(said) => panic!("{words}: {said}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

#[test]
fn users_are_added_once_listed_and_removed() {
    let world = World::new();
    assert_eq!(world.says("user add matt"), "user `matt` added\n");
    assert_eq!(world.says("user add matt"), "user `matt` was there already\n");
    assert!(world.says("user list").starts_with("matt  20"));
    let json: Vec<ruko_api_types::User> = serde_json::from_str(&world.says("user list --json")).unwrap();
    assert_eq!(json[0].name.as_str(), "matt");
    assert_eq!(world.says("user remove matt"), "user `matt` removed\n");
    assert_eq!(world.says("user list"), "");
    assert_eq!(world.refuses("user remove matt").message, "there is no user `matt`");
    assert_eq!(world.refuses("user add Matt").exit, Exit::Usage);
}

#[test]
fn users_have_addresses_roles_passwords_and_tokens() {
    let world = World::new();
    world.says("user add ada --email Ada@Example.Test --site-admin");
    assert!(world.says("user list").ends_with("  site admin  ada@example.test\n"));
    let set = world.says("user set ada --email ada@new.test --no-site-admin");
    assert_eq!(set, "user `ada`: ada@new.test, no site admin\n");
    world.says("user add bob");
    let fault = world.refuses("user set bob --email ada@new.test");
    assert_eq!(fault.message, "the e-mail address ada@new.test belongs to the user `ada`");
    for wrong in [
        "user set ada",
        "user set ada --email x",
        "user set ada --site-admin --no-site-admin",
        "user token ada --expires 0",
    ] {
        assert_eq!(world.refuses(wrong).exit, Exit::Usage, "{wrong}");
    }

    assert_eq!(world.says("user password ada --generate").trim_end().len(), 20);
    let set = world.attempt("user password ada -", "correct horse battery\n").unwrap();
    assert_eq!(set, "user `ada` has a new password\n");
    let fault = world.attempt("user password ada -", "short\n").unwrap_err();
    assert_eq!(fault.message, "the password must have 8 characters or more");
    assert_eq!(world.refuses("user password ada - --generate").exit, Exit::Usage);
    assert!(world.says("user token ada --expires 30").starts_with("HRKU-"));
    assert_eq!(world.says("user reset-2fa ada"), "user `ada` logs in without a second factor\n");
    assert_eq!(world.refuses("user token nobody").message, "there is no user `nobody`");
    let audit = world.says("audit");
    assert!(
        audit.contains("openruko admin  -  -  POST /internal/users") && audit.contains("/internal/users/ada"),
        "{audit}"
    );
    assert!(!audit.contains("correct horse"), "{audit}");
    assert_eq!(world.says("audit --app shop --limit 5 --json"), "[]\n");
}

#[test]
fn keys_come_from_files_and_stdin_and_private_ones_stay_here() {
    let world = World::new();
    world.says("user add matt");
    let file = world.file("id.pub", &format!("{KEY} matt@laptop\n"));
    let add = format!("key add matt {}", file.display());
    assert_eq!(world.says(&add), format!("key {FINGERPRINT} added to `matt`\n"));
    let said = world.attempt("key add matt -", KEY).unwrap();
    assert_eq!(said, format!("key {FINGERPRINT} was there already\n"));
    assert_eq!(world.says("key list matt"), format!("{FINGERPRINT}  ssh-ed25519  matt@laptop\n"));
    assert!(world.says("key list matt --json").contains(KEY));
    world.says(&format!("key remove matt {FINGERPRINT}"));
    assert_eq!(world.says("key list matt"), "");

    let private = world.file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let fault = world.refuses(&format!("key add matt {}", private.display()));
    assert!(fault.message.ends_with("is a private key"), "{fault:?}");
    let wrong = world.file("wrong.pub", "not a key\n");
    let fault = world.refuses(&format!("key add matt {}", wrong.display()));
    assert!(fault.message.starts_with(&format!("`{}`: ", wrong.display())), "{fault:?}");
    assert_eq!(fault.exit, Exit::Refused);
    let fault = world.refuses("key add matt /nonexistent.pub");
    assert!(fault.message.contains("/nonexistent.pub"), "{fault:?}");
    let huge = world.file("huge", &"x".repeat(20_000));
    let fault = world.refuses(&format!("key add matt {}", huge.display()));
    assert!(fault.message.contains("16384"), "{fault:?}");
}

#[test]
fn apps_are_created_shown_shared_and_destroyed_with_care() {
    let world = World::new();
    world.says("user add matt");
    world.says("user add ann");
    let made = "app `shop` created, its address is http://shop.test/\n";
    assert_eq!(world.says("app create shop --owner matt"), made);
    assert_eq!(world.says("app create shop --owner matt"), "app `shop` of `matt` was there already\n");
    assert_eq!(world.refuses("app create shop --owner ann").exit, Exit::Refused);
    assert_eq!(world.says("app list"), "shop  matt  v1  http://shop.test/\n");

    assert_eq!(world.says("access add shop ann"), "`ann` can push to and fetch `shop`\n");
    let set = world.says("buildpacks set shop https://example.com/a#v1 python");
    assert_eq!(set, "the next push to `shop` uses https://example.com/a#v1, python\n");
    let shown = world.says("app show shop");
    for line in ["owner          matt", "collaborators  ann", "release        v1", "open push      -"] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    world.says("access remove shop ann");
    assert_eq!(world.says("buildpacks set shop"), "the next push to `shop` detects its buildpack\n");
    let app: ruko_api_types::App = serde_json::from_str(&world.says("app show shop --json")).unwrap();
    assert!(app.collaborators.is_empty() && app.buildpacks.is_empty());

    assert_eq!(world.refuses("app destroy shop").exit, Exit::Usage);
    assert_eq!(world.refuses("app destroy shop --confirm shoq").exit, Exit::Usage);
    let said = world.says("app destroy shop --confirm shop");
    assert_eq!(said, "app `shop` destroyed; what it has in storage is deleted in the background\n");
    assert!(world.says("storage").ends_with("build caches not counted; 1 objects to delete\n"));
    assert_eq!(world.says("app list"), "");
}

#[test]
fn values_of_config_vars_are_shown_only_when_asked_for() {
    let world = World::new();
    world.says("user add matt");
    world.says("app create shop --owner matt");
    let file = world.file("secret", "from-a-file\n");
    let set = format!("config set shop A=1=2 B=@{} C=@@home D=", file.display());
    assert_eq!(world.says(&set), "A, B, C, D set, released as v2\n");
    world.attempt("config set shop E=@-", "two\nlines\n").unwrap();
    assert_eq!(world.says("config list shop"), "A\nB\nC\nD\nE\n");
    assert_eq!(
        world.says("config list shop --show-values"),
        "A=1=2\nB=from-a-file\nC=@home\nD=\nE=two\\nlines\n"
    );
    assert!(!world.says("config list shop --json").contains("from-a-file"));
    assert!(world.says("config list shop --json --show-values").contains("\"E\": \"two\\nlines\""));
    assert_eq!(world.says("config set shop F=1"), "F set, released as v4\n");
    assert_eq!(world.says("config unset shop F NOPE"), "F removed, released as v5\nNOPE was not set\n");
    assert_eq!(world.says("config unset shop NOPE"), "NOPE was not set\n");
    assert_eq!(world.refuses("config unset nothere NOPE").message, "there is no app `nothere`");
    world.says("config unset shop A B C D");
    assert_eq!(world.says("config list shop"), "E\n");

    for wrong in ["config set shop", "config set shop A", "config set shop 1A=x", "config set shop A=@"] {
        assert_eq!(world.refuses(wrong).exit, Exit::Usage, "{wrong}");
    }
    assert_eq!(world.refuses("config set shop A=1 A=2").exit, Exit::Usage);
    assert_eq!(world.refuses("config list nothere").message, "there is no app `nothere`");
}

#[test]
fn an_app_that_was_never_pushed_has_its_first_release_alone() {
    let world = World::new();
    world.says("user add matt");
    world.says("app create shop --owner matt");
    let releases = world.says("releases shop");
    assert!(releases.starts_with("v1  Initial release  -") && releases.lines().count() == 1, "{releases}");
    assert_eq!(world.says("builds shop"), "");
    let fault = world.refuses("output 01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_eq!(fault.message, "there is no push 01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert!(world.says("logs shop").ends_with(" app[api]: Release v1 created by user matt\n"));
    assert_eq!(world.says("logs shop -n 1 --ps api").lines().count(), 1);
    assert_eq!(world.says("logs shop --source heroku"), "");
    assert_eq!(world.refuses("logs nothere").message, "there is no app `nothere`");
}

#[test]
fn a_token_that_may_not_be_read_and_a_full_disk_have_their_own_answers() {
    let world = World::new();
    let unreadable = |kind: io::ErrorKind| {
        let path = world.config.token_file.clone();
        match fault(ApiClientError::TokenFile { path, source: kind.into() }, &world.config) {
            Failure::Fault(fault) => fault,
            Failure::Reader => panic!("nobody closed the output"),
        }
    };
    let denied = unreadable(io::ErrorKind::PermissionDenied);
    assert_eq!(denied.hint.unwrap(), "run it as root, or as a user who may read it");
    assert_eq!(unreadable(io::ErrorKind::NotFound).hint, None);

    let full =
        ApiClientError::Refused { status: 507, id: "disk_full".into(), message: "The disk is full.".into() };
    let Failure::Fault(full) = fault(full, &world.config) else { panic!("nobody closed the output") };
    assert_eq!((full.exit, full.message.as_str()), (Exit::TryAgain, "the disk is full"));
}

#[test]
fn a_wrong_token_and_a_missing_api_are_told_apart() {
    let mut world = World::new();
    std::fs::write(&world.config.token_file, "wrong").unwrap();
    let fault = world.refuses("user list");
    assert_eq!(fault.exit, Exit::Refused);
    assert!(fault.hint.unwrap().contains("[api.components]"));
    assert!(!fault.message.contains("wrong"));
    world.config.api_url = "http://127.0.0.1:1".to_owned();
    let fault = world.refuses("user list");
    assert_eq!(fault.exit, Exit::TryAgain);
    assert_eq!(fault.message, "cannot reach the API at http://127.0.0.1:1: Connection refused");
    assert_eq!(fault.hint.unwrap(), "is `openruko up` running?");
}
