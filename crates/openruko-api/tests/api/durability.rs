//! What was acknowledged is there after the worst end.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::program::Program;
use crate::world::{ADMIN, SERVE, World, app, commit, database, opened, user};
use nix::sys::signal::Signal;
use ruko_api_client::ApiClient;
use ruko_api_types::BuildStatus;
use tempfile::TempDir;

#[test]
fn a_commit_survives_kill_9_right_after_it_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let mut program = Program::start(dir.path());
        let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
        let serve = ApiClient::new(&program.url, SERVE.into()).unwrap();
        admin.add_user(&user("matt")).unwrap();
        admin.create_app(&app("shop"), &user("matt")).unwrap();
        let push = opened(&serve);
        assert_eq!(push.repo.version, round, "the commit of the round before is there");
        let committed = serve.commit(&push.push, &commit(round)).unwrap();
        program.signal(Signal::SIGKILL);
        program.child.wait().unwrap();

        let program = Program::start(dir.path());
        let serve = ApiClient::new(&program.url, SERVE.into()).unwrap();
        assert_eq!(serve.commit(&push.push, &commit(round)).unwrap(), committed);
        let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
        let build = admin.builds(&app("shop")).unwrap().remove(0);
        assert_eq!((build.push, build.status), (push.push, BuildStatus::Succeeded));
        assert_eq!(admin.releases(&app("shop")).unwrap()[0].version, round + 2);
    }
}

/// Mounts, which only root may do; where it may not, the test of the store with a database of bounded
/// size stands alone.
#[test]
fn a_disk_that_was_full_is_said_so_and_does_no_lasting_harm() {
    let Some(small) = SmallDisk::mount() else { return };
    let mut program = Program::start(&small.0);
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

/// A file system of one MiB in memory.
struct SmallDisk(PathBuf, #[expect(dead_code, reason = "removed when it is dropped")] TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("small");
        std::fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(at, dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the program that was killed may not be gone yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_lease_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
    admin.add_user(&user("matt")).unwrap();
    admin.create_app(&app("shop"), &user("matt")).unwrap();
    let push = opened(&ApiClient::new(&program.url, SERVE.into()).unwrap());
    program.signal(Signal::SIGKILL);
    program.child.wait().unwrap();
    let program = Program::start(dir.path());
    let serve = ApiClient::new(&program.url, SERVE.into()).unwrap();
    assert!(serve.renew_lease(&push.push).unwrap());
    serve.commit(&push.push, &commit(0)).unwrap();
}

#[test]
fn only_the_apis_own_user_can_read_the_database() {
    let world = World::with_shop("");
    for file in ["api.db", "api.db-wal", "api.db-shm"] {
        let path = database(world.dir.path()).with_file_name(file);
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
