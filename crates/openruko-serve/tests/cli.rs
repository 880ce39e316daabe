//! The real binary, as sshd starts it: in an almost empty environment, with a home of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

struct Home {
    dir: TempDir,
}

impl Home {
    /// A configuration whose API is at an address where nothing listens.
    fn without_api() -> Self {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::create_dir(dir.path().join("run")).unwrap();
        fs::write(dir.path().join("token"), "secret-token").unwrap();
        let config = format!(
            "[serve]\napi_url = 'http://{closed}'\ntoken_file = '{}'\nruntime_dir = '{}'\n\
             container_command = ['touch', '{}']\n",
            path("token"),
            path("run"),
            path("run/started")
        );
        fs::write(dir.path().join("config.toml"), config).unwrap();
        Self { dir }
    }

    fn run(&self, original: Option<&str>, args: &[&str]) -> Output {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_openruko-serve"));
        serve.env_clear().env("OPENRUKO_CONFIG", self.dir.path().join("config.toml")).args(args);
        if let Some(original) = original {
            serve.env("SSH_ORIGINAL_COMMAND", original);
        }
        serve.stdin(Stdio::null()).output().unwrap()
    }

    fn left_behind(&self) -> usize {
        fs::read_dir(self.dir.path().join("run")).unwrap().count()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn anything_but_git_is_refused_and_leaves_nothing() {
    let home = Home::without_api();
    for attempt in ["bash -i", "git-receive-pack 'app.git'; id", "scp -t /", "internal-sftp"] {
        let out = home.run(Some(attempt), &["--key", "01JD", "alice"]);
        assert_eq!(out.status.code(), Some(1), "{attempt:?}");
        assert_eq!(text(&out.stdout), "", "{attempt:?}");
        assert!(text(&out.stderr).lines().all(|line| line.starts_with(" !     ")), "{}", text(&out.stderr));
    }
    assert_eq!(home.left_behind(), 0);
}

/// It is told who somebody is by the API alone, which is not there.
#[test]
fn a_login_without_a_command_is_greeted_by_the_api_or_not_at_all() {
    let home = Home::without_api();
    for attempt in [None, Some(""), Some("  ")] {
        let out = home.run(attempt, &["alice"]);
        assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(75), ""), "{attempt:?}");
        assert!(text(&out.stderr).contains("cannot be asked"), "{}", text(&out.stderr));
    }
    assert_eq!(home.run(None, &["--key", "a b", "alice"]).status.code(), Some(2));
    assert_eq!(home.left_behind(), 0);
}

#[test]
fn a_file_of_keys_stays_as_it_is_when_nobody_can_be_asked() {
    let home = Home::without_api();
    let file = home.dir.path().join("authorized_keys");
    fs::write(&file, "ssh-rsa AAAA x").unwrap();
    let out = home.run(None, &["keys", "--all", file.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(75), "{}", text(&out.stderr));
    assert_eq!(fs::read_to_string(&file).unwrap(), "ssh-rsa AAAA x");
    assert_eq!(home.run(None, &["keys", "--all"]).status.code(), Some(2), "no HOME");
    assert_eq!(home.run(None, &["keys"]).status.code(), Some(2));
}

#[test]
fn a_push_is_never_allowed_because_nobody_could_be_asked() {
    let home = Home::without_api();
    for service in ["git-receive-pack", "git-upload-pack", "git-upload-archive"] {
        let out = home.run(Some(&format!("{service} 'my-app.git'")), &["alice"]);
        assert_eq!(out.status.code(), Some(75), "{service}");
        assert!(text(&out.stderr).contains("cannot be asked"), "{}", text(&out.stderr));
        assert!(text(&out.stdout)[4..].starts_with("ERR "), "only git's own error packet");
        assert!(!text(&out.stderr).contains("secret-token"));
    }
    assert_eq!(home.left_behind(), 0);
}

#[test]
fn over_http_it_is_refused_in_the_same_words() {
    let home = Home::without_api();
    for exchange in ["--advertise", "--stateless-rpc"] {
        for service in ["git-receive-pack", "git-upload-pack"] {
            let out = home.run(Some(&format!("{service} 'my-app.git'")), &[exchange, "alice"]);
            assert_eq!(out.status.code(), Some(75), "{exchange} {service}");
            assert!(text(&out.stderr).contains("cannot be asked"), "{}", text(&out.stderr));
            assert!(text(&out.stdout)[4..].starts_with("ERR "), "{}", text(&out.stdout));
        }
        let out = home.run(Some("git-upload-archive 'my-app.git'"), &[exchange, "alice"]);
        assert_eq!(out.status.code(), Some(1));
        assert!(text(&out.stderr).contains("over ssh only"), "{}", text(&out.stderr));
    }
    assert_eq!(home.run(None, &["--advertise", "--stateless-rpc", "alice"]).status.code(), Some(2));
    assert_eq!(home.left_behind(), 0);
}

#[test]
fn keys_fails_closed() {
    let home = Home::without_api();
    let out = home.run(None, &["keys", "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"]);
    assert_eq!(out.status.code(), Some(75));
    assert_eq!(text(&out.stdout), "");
    assert_eq!(text(&out.stderr).lines().count(), 1, "{}", text(&out.stderr));
}

#[test]
fn the_configuration_may_be_named_before_the_subcommand() {
    let home = Home::without_api();
    let config = home.dir.path().join("config.toml");
    let fingerprint = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    let out = home.run(None, &["--config", config.to_str().unwrap(), "keys", fingerprint]);
    assert_eq!(out.status.code(), Some(75), "{}", text(&out.stderr));
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let home = Home::without_api();
    for args in [&[][..], &["Not A User"], &["alice", "bob"], &["keys"], &["keys", "nonsense"]] {
        assert_eq!(home.run(None, args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn check_reads_the_configuration_and_acts_on_nothing() {
    let home = Home::without_api();
    assert_eq!(home.run(None, &["--check"]).status.code(), Some(0));
    fs::write(home.dir.path().join("config.toml"), "[serve]\nnonsense = 1\n").unwrap();
    let out = home.run(None, &["--check"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("nonsense"), "{}", text(&out.stderr));
}
