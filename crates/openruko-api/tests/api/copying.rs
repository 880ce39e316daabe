//! `openruko-api copy-database`.

use std::process::Command;

use crate::postgres::world::Home as Server;
use crate::sqlite::program::Program;
use crate::sqlite::world::{ADMIN, Home as File, SERVE, app, commit, config, opened, user};
use nix::sys::signal::Signal;
use ruko_api_client::ApiClient;

/// Status, stdout and stderr.
fn copy(from: &str, to: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openruko-api"));
    let done = command.env_clear().args(["copy-database", "--from", from, "--to", to]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

/// The API on a database, as far as these tests go.
struct Api {
    program: Program,
    admin: ApiClient,
    serve: ApiClient,
    #[expect(dead_code, reason = "removed when it is dropped")]
    dir: tempfile::TempDir,
}

impl Api {
    fn start(database: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::start_with(dir.path(), &config(dir.path(), database, "127.0.0.1:0", ""));
        let client = |token: &str| ApiClient::new(&program.url, token.into()).unwrap();
        Self { admin: client(ADMIN), serve: client(SERVE), program, dir }
    }

    fn stop(mut self) {
        self.program.signal(Signal::SIGTERM);
        assert_eq!(self.program.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn an_installation_moves_to_a_server_and_back() {
    let (file, server, other) = (File::new(), Server::new(), File::new());
    let api = Api::start(&file.database());
    api.admin.add_user(&user("matt")).unwrap();
    api.admin.create_app(&app("shop"), &user("matt")).unwrap();
    let push = opened(&api.serve);
    let committed = api.serve.commit(&push.push, &commit(0)).unwrap();
    let (status, out, said) = copy(&file.database(), &server.database());
    assert_eq!((status, out.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("api.db` is in use by another program"), "{said}");
    api.stop();

    for (from, to) in [(file.database(), server.database()), (server.database(), other.database())] {
        let (status, out, said) = copy(&from, &to);
        assert_eq!((status, said.as_str()), (Some(0), ""), "{out}");
        assert!(out.contains("\nusers: 1 row\n") && out.contains("\nprocess_types: 2 rows\n"), "{out}");
        assert!(out.lines().last().unwrap().starts_with("copied "), "{out}");
        let api = Api::start(&to);
        assert_eq!(api.serve.commit(&push.push, &commit(0)).unwrap(), committed);

        let (status, _, said) = copy(&to, &file.database());
        assert_eq!((status, said.contains("is in use by another program")), (Some(1), true), "{said}");
        api.stop();
        let (status, _, said) = copy(&from, &to);
        assert_eq!(status, Some(1));
        assert!(said.contains("is not empty: its table audit has rows"), "{said}");
    }
    let api = Api::start(&other.database());
    let next = opened(&api.serve);
    assert_eq!(api.serve.commit(&next.push, &commit(1)).unwrap().release, Some(3), "it goes on from there");
}

#[test]
fn a_target_that_is_in_use_is_refused_though_nobody_has_asked_anything_of_it_yet() {
    let (file, server) = (File::new(), Server::new());
    for (from, to) in [(file.database(), server.database()), (server.database(), file.database())] {
        Api::start(&from).stop();
        let api = Api::start(&to);
        let (status, out, said) = copy(&from, &to);
        assert_eq!((status, out.as_str(), said.contains("in use")), (Some(1), "", true), "{said}");
        api.stop();
        let (status, _, said) = copy(&from, &to);
        assert_eq!(status, Some(0), "{said}");
    }
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    let secret = "postgres://ruko:hunter2@localhost/openruko";
    for (from, to) in [("sqlite:///nowhere.db", secret), (secret, "sqlite:///nowhere.db")] {
        let (status, out, said) = copy(from, to);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{said}");
        assert!(said.contains("contains a password") && !said.contains("hunter2"), "{said}");
    }
}
