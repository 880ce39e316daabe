//! `make bench`: what a million keys add to a login, against a script that looks into the same database with
//! sqlite3, and against an authorized_keys file. Everything goes through a real sshd, with the same forced command.
//! Adds to `target/bench/results.json`.
#![expect(clippy::unwrap_used, reason = "a program for developers")]

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use openruko_tests::results::{self, figure};
use openruko_tests::{Developer, PlainSshd, World, without_dynos};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

/// Keys of others in the database.
const KEYS: u32 = 1_000_000;
/// Keys of each of their users.
const KEYS_OF_USER: u32 = 100;
/// Lines in the file: sshd reads all of them twice, which takes seconds.
const LINES: u32 = 100_000;
/// Logins of each kind, in turns.
const LOGINS: usize = 40;
/// Those with the long file.
const SLOW_LOGINS: usize = 5;
/// The user whose logins are measured.
const USER: &str = "bench";

fn main() {
    let (few, many) = (World::start(without_dynos), World::start(without_dynos));
    let (of_few, of_many) = (few.developer(USER), many.developer(USER));
    many.down();
    seed(&many);
    many.up([]);
    let scripted = script(&many, &of_many);
    let (short, long) = (file(&few, &of_few, 0), file(&few, &of_few, LINES));

    let doors: [(&Developer, SocketAddr); 4] = [
        (&of_few, few.ssh()),
        (&of_many, many.ssh()),
        (&of_many, scripted.address()),
        (&of_few, short.address()),
    ];
    let mut times: [Vec<Duration>; 4] = Default::default();
    // The first login of each is not counted.
    for turn in 0..=LOGINS {
        for ((dev, door), times) in doors.iter().zip(&mut times) {
            let time = login(dev, *door);
            if turn > 0 {
                times.push(time);
            }
        }
    }
    let slow = (0..SLOW_LOGINS).map(|_| login(&of_few, long.address())).collect();
    let [few_ms, many_ms, script_ms, short_ms] = times.map(median_ms);
    let long_ms = median_ms(slow);
    let of_a_million = f64::from(KEYS) / f64::from(LINES);
    results::add(vec![
        figure("login_1_key_ms", few_ms),
        figure("login_1m_keys_ms", many_ms),
        figure("login_1m_keys_extra_ms", many_ms - few_ms),
        figure("login_1m_keys_vs_1_key", many_ms / few_ms),
        figure("login_file_of_1_key_ms", short_ms),
        figure("login_1m_keys_over_file_of_1_key_ms", many_ms - short_ms),
        figure("login_1m_keys_sqlite3_script_extra_ms", script_ms - short_ms),
        figure("login_100k_keys_file_extra_ms", long_ms - short_ms),
        figure("login_1m_keys_file_extra_ms_extrapolated", (long_ms - short_ms) * of_a_million),
    ]);
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

/// From ssh's start until it has been greeted and has ended.
fn login(dev: &Developer, door: SocketAddr) -> Duration {
    let mut ssh = dev.ssh(door);
    // sshd's own default costs more than all of this, and varies by more.
    ssh.args(["-T", "-o", "KexAlgorithms=curve25519-sha256"]);
    let begun = Instant::now();
    let out = ssh.output().unwrap();
    let time = begun.elapsed();
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && told.contains("You are bench"), "{told}");
    time
}

/// A number as text of this width.
fn padded(number: &str, width: usize) -> String {
    format!("substr('{:0>width$}' || ({number}), -{width})", "")
}

/// A million keys of ten thousand users, all others than the one that logs in.
fn seed(world: &World) {
    let url = world.config().api().unwrap().database.clone();
    sqlx::any::install_default_drivers();
    let users = KEYS / KEYS_OF_USER;
    let below = |table: &str, bound: u32| {
        format!("{table}(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM {table} WHERE i < {})", bound - 1)
    };
    let now = "1760000000000";
    let statements = [
        "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000".to_owned(),
        format!(
            "INSERT INTO users (id, name, created_at, updated_at) WITH RECURSIVE {} \
             SELECT '01H1' || {}, 'user-' || {}, {now}, {now} FROM u",
            below("u", users),
            padded("u.i", 22),
            padded("u.i", 6),
        ),
        format!(
            "INSERT INTO ssh_keys (id, fingerprint, user_id, public_key, comment, created_at) WITH RECURSIVE {} \
             SELECT '01H2' || {}, 'SHA256:' || substr(hex(randomblob(22)), 1, 43), '01H1' || {}, \
             'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI' || {}, 'somebody@laptop', {now} FROM k",
            below("k", KEYS),
            padded("k.i", 22),
            padded(&format!("k.i / {KEYS_OF_USER}"), 22),
            padded("k.i", 43),
        ),
        "ANALYZE".to_owned(),
    ];
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let mut db = AnyConnection::connect(&url).await.unwrap();
        for statement in statements {
            db.execute(AssertSqlSafe(statement)).await.unwrap();
        }
        db.close().await.unwrap();
    });
}

/// What sshd is given for a key of the developer: the line that openruko itself would give.
fn line(world: &World, dev: &Developer) -> String {
    let keys = world.admin_json(&["key", "list", dev.name()]);
    let fingerprint = keys[0]["fingerprint"].as_str().unwrap();
    let out = world.program("libexec/openruko/openruko-serve").args(["keys", fingerprint]).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

/// How a script of sshd's runs sqlite3, installed or only unpacked: sshd hands on nothing of the environment.
fn sqlite3() -> String {
    let installed = Path::new("/usr/bin/sqlite3");
    if installed.exists() {
        return format!("exec {}", installed.display());
    }
    let root = results::file().with_file_name("root");
    let libraries =
        ["usr/lib", "lib"].map(|dir| fs::read_dir(root.join(dir)).into_iter().flatten().flatten());
    let libraries: Vec<String> =
        libraries.into_iter().flatten().map(|entry| entry.path().display().to_string()).collect();
    format!("LD_LIBRARY_PATH={} exec {}/usr/bin/sqlite3", libraries.join(":"), root.display())
}

/// An sshd that asks a script, which asks sqlite3.
fn script(world: &World, dev: &Developer) -> PlainSshd {
    let database = world.config().api().unwrap().database.clone();
    let line = line(world, dev);
    // restrict,command="SERVE --config FILE --key ID USER" KEY
    let command = line.split(" --key ").next().unwrap().replace('"', "\\\"");
    let text = format!(
        "#!/bin/sh\n{} 'file:{}?mode=ro' \"SELECT '{command} --key ' || k.id || ' ' || u.name || '\\\" ' || \
         k.public_key FROM ssh_keys k JOIN users u ON u.id = k.user_id WHERE k.fingerprint = '$1'\"\n",
        sqlite3(),
        database.strip_prefix("sqlite://").unwrap()
    );
    let path = world.state().join("keys-of-sqlite3");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let keys = format!(
        "AuthorizedKeysFile none\nAuthorizedKeysCommand {} %f\nAuthorizedKeysCommandUser root\n",
        path.display()
    );
    PlainSshd::with(world, dev, &keys)
}

/// An sshd that reads a file in which the developer's key is the last, after so many of others.
fn file(world: &World, dev: &Developer, others: u32) -> PlainSshd {
    let own = line(world, dev);
    let (command, _) = own.split_once(" ssh-ed25519 ").unwrap();
    let mut text = String::new();
    for number in 0..others {
        writeln!(text, "{command} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{number:043}").unwrap();
    }
    text.push_str(&own);
    let path = world.state().join(format!("authorized_keys-{others}"));
    fs::write(&path, text).unwrap();
    PlainSshd::start(world, dev, &path)
}
