//! The log of pushes, with what their steps took; and the audit of what admins do on the machine.

use super::world::{World, app, commit, user};
use ruko_api_client::ApiClientError;
use ruko_api_types::push_log::{Step, StepTime, Steps};
use ruko_api_types::{Abort, BuildStatus};
use ruko_core::PushId;

fn steps(times: &[(Step, u64)]) -> Steps {
    Steps { steps: times.iter().map(|&(step, ms)| StepTime { step, ms }).collect() }
}

#[test]
fn pushes_are_listed_with_what_their_steps_took() {
    let world = World::with_shop("");
    let good = world.open();
    world.serve.commit(&good.push, &commit(0)).unwrap();
    let told = steps(&[(Step::Authorize, 3), (Step::Lease, 40), (Step::Slot, 2), (Step::Compile, 700)]);
    world.serve.tell_steps(&good.push, &told).unwrap();
    let bad = world.open();
    world.serve.abort(&bad.push, &Abort { reason: Some("Push rejected, because".into()) }).unwrap();

    let all = world.admin.pushes(None, None, false, 10).unwrap();
    assert_eq!(all.iter().map(|one| &one.push).collect::<Vec<_>>(), [&bad.push, &good.push], "newest first");
    let [failed, released] = &all[..] else { panic!() };
    assert_eq!(
        (failed.status, failed.reason.as_deref()),
        (BuildStatus::Failed, Some("Push rejected, because"))
    );
    assert_eq!((failed.waited_ms, failed.steps.len()), (None, 0));
    assert_eq!((released.app.as_str(), released.user.as_str(), released.release), ("shop", "matt", Some(2)));
    assert_eq!(released.refs[0].name, "refs/heads/main");
    assert_eq!((&released.steps, released.waited_ms), (&told.steps, Some(42)));

    let count = |of: Option<&str>, by: Option<&str>, failed, limit| {
        let (of, by) = (of.map(app), by.map(user));
        world.admin.pushes(of.as_ref(), by.as_ref(), failed, limit).unwrap().len()
    };
    assert_eq!(count(None, None, true, 10), 1);
    assert_eq!(count(None, None, false, 1), 1);
    assert_eq!(count(Some("shop"), Some("matt"), false, 10), 2);
    assert_eq!(count(Some("other"), None, false, 10), 0);
    assert_eq!(count(None, Some("eve"), false, 10), 0);
}

#[test]
fn steps_are_told_of_pushes_that_there_are_and_in_order() {
    let world = World::with_shop("");
    let push = world.open();
    let status = |outcome: Result<(), ApiClientError>| outcome.unwrap_err().status();
    let twice = steps(&[(Step::Lease, 1), (Step::Lease, 1)]);
    assert_eq!(status(world.serve.tell_steps(&push.push, &twice)), Some(422));
    assert_eq!(status(world.serve.tell_steps(&PushId::generate(), &Steps::default())), Some(404));
    // The last word counts.
    world.serve.tell_steps(&push.push, &steps(&[(Step::Lease, 1)])).unwrap();
    world.serve.tell_steps(&push.push, &steps(&[(Step::Lease, 2)])).unwrap();
    assert_eq!(world.admin.pushes(None, None, false, 1).unwrap()[0].waited_ms, Some(2));
}

#[test]
fn what_an_admin_changes_on_the_machine_is_in_the_audit() {
    let world = World::with_shop("");
    world.admin.add_user(&user("eve")).unwrap();
    world.admin.add_collaborator(&app("shop"), &user("eve")).unwrap();
    // What is only looked at, or refused, is not.
    world.admin.apps().unwrap();
    world.admin.remove_user(&user("matt")).unwrap_err();
    let audit = world.admin.audit(None, 10).unwrap();
    let seen: Vec<_> = audit.iter().map(|entry| (entry.action.as_str(), entry.detail.as_str())).collect();
    assert_eq!(seen[1], ("POST /internal/users", "/internal/users/eve"));
    let shared = &audit[0];
    assert_eq!((shared.user.as_str(), shared.app.as_deref()), ("openruko admin", Some("shop")));
    assert_eq!(shared.detail, "/internal/apps/shop/collaborators/eve");
    assert_eq!(world.admin.audit(Some(&app("shop")), 10).unwrap()[0], *shared);
}
