//! What was acknowledged is there after the worst end.

use super::program::Program;
use super::world::{ADMIN, Home, SERVE, app, commit, opened, user};
use nix::sys::signal::Signal;
use ruko_api_client::ApiClient;
use ruko_api_types::BuildStatus;

#[test]
fn a_commit_survives_kill_9_right_after_it_was_acknowledged() {
    let home = Home::new();
    for round in 0..5 {
        let mut program = Program::start(&home);
        let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
        let serve = ApiClient::new(&program.url, SERVE.into()).unwrap();
        admin.add_user(&user("matt")).unwrap();
        admin.create_app(&app("shop"), &user("matt")).unwrap();
        let push = opened(&serve);
        assert_eq!(push.repo.version, round, "the commit of the round before is there");
        let committed = serve.commit(&push.push, &commit(round)).unwrap();
        program.signal(Signal::SIGKILL);
        program.child.wait().unwrap();

        let program = Program::start(&home);
        let serve = ApiClient::new(&program.url, SERVE.into()).unwrap();
        assert_eq!(serve.commit(&push.push, &commit(round)).unwrap(), committed);
        let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
        let build = admin.builds(&app("shop")).unwrap().remove(0);
        assert_eq!((build.push, build.status), (push.push, BuildStatus::Succeeded));
        assert_eq!(admin.releases(&app("shop")).unwrap()[0].version, round + 2);
    }
}

#[test]
fn a_lease_survives_a_restart() {
    let home = Home::new();
    let mut program = Program::start(&home);
    let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
    admin.add_user(&user("matt")).unwrap();
    admin.create_app(&app("shop"), &user("matt")).unwrap();
    let push = opened(&ApiClient::new(&program.url, SERVE.into()).unwrap());
    program.signal(Signal::SIGKILL);
    program.child.wait().unwrap();
    let program = Program::start(&home);
    let serve = ApiClient::new(&program.url, SERVE.into()).unwrap();
    assert!(serve.renew_lease(&push.push).unwrap());
    serve.commit(&push.push, &commit(0)).unwrap();
}
