//! What only a database that is a file can do, or do wrong.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::sqlite::platform_log_lines::{Sender, line, numbered};
use crate::sqlite::program::{Program, ended};
use crate::sqlite::world::{ADMIN, SERVE, World, app, commit, config, opened, user};
use nix::sys::signal::Signal;
use ruko_api_client::ApiClient;
use ruko_api_types::Output;
use tempfile::TempDir;

/// Mounts, which only root may do; where it may not, the test of the store with a database of bounded
/// size stands alone.
#[test]
fn a_disk_that_was_full_is_said_so_and_does_no_lasting_harm() {
    let Some(small) = SmallDisk::mount() else { return };
    let database = format!("sqlite://{}/api.db", small.0.display());
    let mut program = Program::start_with(&small.0, &config(&small.0, &database, "127.0.0.1:0", ""));
    let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
    let serve = ApiClient::new(&program.url, SERVE.into()).unwrap();
    admin.add_user(&user("matt")).unwrap();
    admin.create_app(&app("shop"), &user("matt")).unwrap();
    let push = opened(&serve);

    let ballast = small.0.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    // The second time there may be room again for a moment: SQLite tidies up as a connection is closed.
    for _ in 0..3 {
        while file.write_all(&[0; 512]).is_ok() {}
        let refused = (0..1000).find_map(|_| serve.renew_lease(&push.push).err()).expect("the disk is full");
        assert_eq!(refused.status(), Some(507), "{refused:?}");
        assert!(refused.is_temporary() && refused.to_string().contains("disk"), "{refused}");
    }
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    assert!(serve.renew_lease(&push.push).unwrap());
    serve.commit(&push.push, &commit(0)).unwrap();
    program.signal(Signal::SIGTERM);
    assert_eq!(program.child.wait().unwrap().code(), Some(0));
}

/// Where nothing may be mounted, the tests of the store stand alone.
#[test]
fn a_disk_that_is_full_costs_lines_and_nothing_else() {
    let Some(small) = SmallDisk::mount() else { return };
    let dir = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/api.db", dir.path().display());
    let text = config(dir.path(), &database, "127.0.0.1:0", "");
    let text =
        text.replace(&format!("logs = '{}", dir.path().display()), &format!("logs = '{}", small.0.display()));
    let program = Program::start_with(dir.path(), &text);
    let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
    let serve = ApiClient::new(&program.url, SERVE.into()).unwrap();
    admin.add_user(&user("matt")).unwrap();
    admin.create_app(&app("shop"), &user("matt")).unwrap();
    let shop = admin.app(&app("shop")).unwrap().id;
    let mut sender = Sender::of(&program.url);
    sender.send(numbered(&shop, 0, 10));
    for n in 0..10 {
        sender.send((0..1000).map(|_| line(&shop, "web.1", &format!("{n} {}", "x".repeat(500)))).collect());
    }
    // Neither lines nor builds are refused for it.
    let push = opened(&serve);
    serve.output(&push.push, &Output { offset: 0, text: "-----> Building\n".into() }).unwrap();
    serve.commit(&push.push, &commit(0)).unwrap();
    program.signal(Signal::SIGTERM);
    let said: Vec<String> =
        program.rest().into_iter().filter(|line| line.contains("lines of logs")).collect();
    assert!(said.len() == 1 && said[0].contains("are lost"), "{said:?}");
    let free = nix::sys::statvfs::statvfs(&small.0).unwrap();
    assert!(free.blocks_available() > 0, "the last of the disk is left to others");
    let kept = std::fs::read_to_string(small.0.join(format!("logs/{shop}.log"))).unwrap();
    assert!(kept.contains("app[web.1]: line 9\n") && kept.ends_with('\n'));
}

/// A file system of two MiB in memory.
struct SmallDisk(PathBuf, #[expect(dead_code, reason = "removed when it is dropped")] TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("small");
        std::fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(at, dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the program that was killed may not be gone yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn only_the_apis_own_user_can_read_the_database() {
    let world = World::with_shop("");
    for file in ["api.db", "api.db-wal", "api.db-shm"] {
        let path = world.home.dir.path().join(file);
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_database_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |dir: &std::path::Path| {
        let database = format!("sqlite://{}/api.db", dir.display());
        config(dir, &database, "127.0.0.1:0", "")
    };
    let missing = dir.path().join("missing");
    let (status, said) = ended(dir.path(), &at(&missing), &[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("missing/api.db`"), "{said}");

    std::fs::write(dir.path().join("api.db"), "this is not a database, however long it is read").unwrap();
    let (status, said) = ended(dir.path(), &at(dir.path()), &[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("api.db`: ") && said.contains("not a database"), "{said}");
}
