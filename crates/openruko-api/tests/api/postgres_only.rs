//! What only a database server can do, or do wrong.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::postgres::developer::Developer;
use crate::postgres::program::{Program, ended};
use crate::postgres::world::{ADMIN, Home, SERVE, World, app, by, commit, config, opened, user};
use nix::sys::signal::Signal;
use ruko_api_client::{ApiClient, Opened};
use ruko_api_types::{Abort, Output, TakeBuild};
use ruko_test_postgres::{Database, Server};
use serde_json::json;
use tempfile::TempDir;

/// The API on a server of its own.
struct Alone<'s> {
    program: Program,
    admin: ApiClient,
    serve: ApiClient,
    #[expect(dead_code, reason = "removed when it is dropped")]
    dir: TempDir,
    #[expect(dead_code, reason = "dropped after the program")]
    database: Database<'s>,
}

impl<'s> Alone<'s> {
    fn new(database: Database<'s>) -> Self {
        Self::with(database, "")
    }

    fn with(database: Database<'s>, extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program =
            Program::start_with(dir.path(), &config(dir.path(), &database.url(), "127.0.0.1:0", extra));
        let (admin, serve) = clients(&program);
        admin.add_user(&user("matt")).unwrap();
        admin.create_app(&app("shop"), &user("matt")).unwrap();
        Self { program, admin, serve, dir, database }
    }
}

fn clients(program: &Program) -> (ApiClient, ApiClient) {
    let client = |token: &str| ApiClient::new(&program.url, token.into()).unwrap();
    (client(ADMIN), client(SERVE))
}

#[test]
fn a_server_that_stops_is_said_so_and_found_again_when_it_is_back() {
    let server = Server::start();
    let api = Alone::new(server.database());
    let push = opened(&api.serve);
    for crash in [false, true] {
        if crash {
            server.crash()
        } else {
            server.stop()
        }
        for _ in 0..3 {
            let begun = Instant::now();
            let errors = [
                api.serve.renew_lease(&push.push).map(drop).unwrap_err(),
                api.admin.apps().map(drop).unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.status(), Some(503), "{error:?}");
                assert!(error.to_string().contains("database cannot be reached"), "{error}");
            }
            assert!(begun.elapsed() < Duration::from_secs(15));
        }
        server.start_again();
        assert!(api.serve.renew_lease(&push.push).unwrap());
        assert_eq!(api.admin.apps().unwrap().len(), 1);
    }
    api.serve.commit(&push.push, &commit(0)).unwrap();
}

#[test]
fn a_commit_survives_a_crash_of_the_server_right_after_it_was_acknowledged() {
    let server = Server::start();
    let api = Alone::new(server.database());
    let push = opened(&api.serve);
    let committed = api.serve.commit(&push.push, &commit(0)).unwrap();
    server.crash();
    server.start_again();
    assert_eq!(api.serve.commit(&push.push, &commit(0)).unwrap(), committed);
    assert_eq!(api.admin.releases(&app("shop")).unwrap()[0].version, 2);
}

#[test]
fn sessions_that_the_server_ended_are_replaced() {
    let server = Server::start();
    let api = Alone::new(server.database());
    for _ in 0..3 {
        let push = opened(&api.serve);
        api.admin.apps().unwrap();
        server.sql(
            "postgres",
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'openruko-api'",
        );
        assert_eq!(api.admin.apps().unwrap().len(), 1);
        api.serve.abort(&push.push, &Abort { reason: None }).unwrap();
    }
}

#[test]
fn several_processes_on_one_database_keep_one_lease_and_hear_of_its_end() {
    let (home, elsewhere) = (Home::new(), tempfile::tempdir().unwrap());
    let there = config(elsewhere.path(), &home.database(), "127.0.0.1:0", "");
    let (one, other) = (Program::start(&home), Program::start_with(elsewhere.path(), &there));
    let ((admin, serve), (_, other_serve)) = (clients(&one), clients(&other));
    admin.add_user(&user("matt")).unwrap();
    admin.create_app(&app("shop"), &user("matt")).unwrap();
    for version in 0..3 {
        let push = opened(&serve);
        let held = other_serve.open_push(&app("shop"), &by("matt", 0)).unwrap();
        assert!(matches!(&held, Opened::Held(holder) if holder.push == push.push), "{held:?}");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| other_serve.open_push(&app("shop"), &by("matt", 30)).unwrap());
            serve.commit(&push.push, &commit(version)).unwrap();
            let answer = waiter.join().unwrap();
            let Opened::Push(next) = answer else { panic!("not opened: {answer:?}") };
            assert_eq!(next.repo.version, version + 1);
            // Whichever process is asked, the push is the same one.
            assert!(serve.renew_lease(&next.push).unwrap());
            serve.abort(&next.push, &Abort { reason: None }).unwrap();
        });
    }
}

/// What another process is told is seen within seconds, where nothing else ends the wait before thirty.
#[test]
fn whoever_waits_at_another_process_hears_of_a_tarball_and_of_an_answer_in_the_browser() {
    let (home, elsewhere) = (Home::new(), tempfile::tempdir().unwrap());
    let there = config(elsewhere.path(), &home.database(), "127.0.0.1:0", "");
    let (one, other) = (Program::start(&home), Program::start_with(elsewhere.path(), &there));
    let world = World::of(&one.url, &one.public_url, home);
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let (begun, soon) = (Instant::now(), Duration::from_secs(20));
    std::thread::scope(|scope| {
        let serve = clients(&other).1;
        let waiter = scope.spawn(move || serve.take_build(&TakeBuild { wait_seconds: 30 }).unwrap());
        let source = matt.post("/sources", json!({})).with(201)["source_blob"].clone();
        let put = source["put_url"].as_str().unwrap().strip_prefix("http://paas.test").unwrap();
        assert_eq!(matt.send("PUT", put, &[("Authorization", "")], b"a tarball").status, 200);
        let blob = json!({ "url": source["get_url"], "version": "1" });
        matt.post("/apps/shop/builds", json!({ "source_blob": blob })).with(201);
        assert_eq!(waiter.join().unwrap().unwrap().app.name, app("shop"));
    });
    assert!(begun.elapsed() < soon, "{:?}", begun.elapsed());

    let begun = Instant::now();
    let login = matt.post("/cli-login/auth", json!({})).with(201);
    let page = format!("/cli-login{}", login["browser_url"].as_str().unwrap());
    std::thread::scope(|scope| {
        let token = login["token"].as_str().unwrap().to_owned();
        let program = Developer::with_token(&World::of(&other.url, &other.public_url, Home::new()), &token);
        let waiter = scope.spawn(move || program.get("/cli-login/token"));
        assert_eq!(matt.get(&page).status, 200);
        let form = [("Content-Type", "application/x-www-form-urlencoded"), ("Authorization", "")];
        assert_eq!(matt.send("POST", &page, &form, b"decision=deny").status, 200);
        assert_eq!(waiter.join().unwrap().with(200)["error"], "The login was denied in the browser.");
    });
    assert!(begun.elapsed() < soon, "{:?}", begun.elapsed());
}

#[test]
fn many_pushes_through_several_processes_lose_nothing() {
    let home = Home::new();
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let start = |dir: &TempDir| {
        Program::start_with(dir.path(), &config(dir.path(), &home.database(), "127.0.0.1:0", ""))
    };
    let programs: Vec<_> = dirs.iter().map(start).collect();
    let (admin, _) = clients(&programs[0]);
    admin.add_user(&user("matt")).unwrap();
    admin.create_app(&app("shop"), &user("matt")).unwrap();
    std::thread::scope(|scope| {
        for program in &programs {
            for _ in 0..3 {
                let (admin, serve) = clients(program);
                scope.spawn(move || {
                    for round in 0..5 {
                        let Opened::Push(push) = serve.open_push(&app("shop"), &by("matt", 30)).unwrap()
                        else {
                            panic!("not opened")
                        };
                        serve.commit(&push.push, &commit(push.repo.version)).unwrap();
                        let change =
                            [("ROUND".parse().unwrap(), Some(format!("{round}{}", push.push)))].into();
                        admin.change_config_vars(&app("shop"), &change).unwrap();
                    }
                });
            }
        }
    });
    let shop = admin.app(&app("shop")).unwrap();
    assert_eq!((shop.repo_version, shop.release), (30, 61));
    let releases = admin.releases(&app("shop")).unwrap();
    assert!(releases.iter().map(|release| release.version).eq((1..=61).rev()));
}

#[test]
fn a_server_that_is_not_there_or_not_ours_is_named_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let said = |database: &str| {
        let (status, said) = ended(dir.path(), &config(dir.path(), database, "127.0.0.1:0", ""), &[]);
        assert!(!said.contains("hunter2"), "{said}");
        (status, said)
    };
    let (status, nobody) = said("postgres://127.0.0.1:1/openruko");
    assert_eq!(status, Some(75), "{nobody}");
    assert!(nobody.contains("cannot use the database `postgres://127.0.0.1:1/openruko`"), "{nobody}");

    let missing = format!("postgres:///nothere?host={}&user=postgres", Server::shared().dir().display());
    let (status, nothing) = said(&missing);
    assert_eq!(status, Some(1), "{nothing}");
    assert!(nothing.contains("\"nothere\" does not exist"), "{nothing}");

    let (status, refused) = said("postgres://ruko:hunter2@localhost/openruko");
    assert_eq!(status, Some(1), "{refused}");
    assert!(refused.contains("database contains a password"), "{refused}");
}

#[test]
fn over_the_network_there_is_tls_and_the_password_of_the_file() {
    let server = Server::start_on_loopback();
    let database = server.database();
    database.sql("CREATE USER ruko PASSWORD 'it''s & a=secret'");
    database.sql("GRANT ALL ON SCHEMA public TO ruko");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "it's & a=secret\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let (address, certificate) = server.loopback();
    let with = |parameters: &str| {
        let url = format!("postgres://ruko@{address}/{}?{parameters}", database.name());
        config(dir.path(), &url, "127.0.0.1:0", &format!("database_password_file = '{}'", file.display()))
    };
    let trusted = format!("sslmode=verify-full&sslrootcert={}", certificate.display());
    let program = Program::start_with(dir.path(), &with(&trusted));
    assert!(clients(&program).0.add_user(&user("matt")).unwrap().new);
    drop(program);

    for (parameters, why) in [("sslmode=verify-full", "certificate"), ("sslmode=disable", "no encryption")] {
        let (status, said) = ended(dir.path(), &with(parameters), &[]);
        assert!(status != Some(0) && said.contains(why) && !said.contains("secret"), "{parameters}: {said}");
    }
    std::fs::write(&file, "wrong secret").unwrap();
    let (status, said) = ended(dir.path(), &with(&trusted), &[]);
    assert!(said.contains("password authentication failed") && !said.contains("wrong"), "{said}");
    assert_eq!(status, Some(1));
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let (status, said) = ended(dir.path(), &with(&trusted), &[]);
    assert!(said.contains("its mode is 644") && status == Some(1), "{said}");
}

/// Mounts, which only root may do.
#[test]
fn a_disk_that_was_full_is_said_so_and_does_no_lasting_harm() {
    let server = Server::start();
    let Some(small) = SmallDisk::mount(&server) else { return };
    let api = Alone::with(server.database_in(&small.0), "limits = { output_bytes = 100000000 }");
    let ballast = small.0.join("ballast");
    std::fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let push = opened(&api.serve);
    let mut offset = 0;
    let mut print = || -> Result<(), _> {
        let text = incompressible(offset);
        let length = u64::try_from(text.len()).unwrap();
        let sent = api.serve.output(&push.push, &Output { offset, text });
        offset += length;
        sent
    };
    let refused = (0..2000).find_map(|_| print().err()).expect("the disk is full");
    assert_eq!(refused.status(), Some(507), "{refused:?}");
    assert!(refused.is_temporary() && refused.to_string().contains("disk"), "{refused}");
    api.admin.apps().unwrap();
    std::fs::remove_file(&ballast).unwrap();
    print().unwrap();
    api.serve.commit(&push.push, &commit(0)).unwrap();
    api.program.signal(Signal::SIGTERM);
}

/// Text that the database stores as it is, another one for each seed.
fn incompressible(seed: u64) -> String {
    use sha2::{Digest, Sha256};
    let piece = |n: u64| Sha256::digest([seed.to_be_bytes(), n.to_be_bytes()].concat());
    (0..900).flat_map(piece).map(|byte| format!("{byte:02x}")).collect()
}

/// A file system in memory that belongs to the server.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(server: &Server) -> Option<Self> {
        let at = server.dir().join("small");
        std::fs::create_dir(&at).unwrap();
        let options = format!("size=16m,mode=0700,uid={}", server.owner());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at);
        mount.output().is_ok_and(|done| done.status.success()).then(|| Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server still has it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
