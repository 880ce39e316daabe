//! Two pushes to one app never interleave.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::world::{SERVE, World, app, by, commit, opened, user};
use ruko_api_client::{ApiClientError, Opened};
use ruko_api_types::{Abort, BuildStatus, Holder};

fn held(answer: Opened) -> Holder {
    match answer {
        Opened::Held(holder) => holder,
        other => panic!("not held: {other:?}"),
    }
}

fn is_lost(error: &ApiClientError) -> bool {
    matches!(error, ApiClientError::Refused { status: 410, id, .. } if id == "lease_lost")
}

#[test]
fn the_second_push_is_told_who_has_the_lease_and_since_when() {
    let world = World::with_shop("");
    world.admin.add_user(&user("ann")).unwrap();
    world.admin.add_collaborator(&app("shop"), &user("ann")).unwrap();
    let first = world.open();
    let holder = held(world.serve.open_push(&app("shop"), &by("ann", 0)).unwrap());
    assert_eq!((&holder.push, holder.user.as_str()), (&first.push, "matt"));
    assert!(holder.seconds < 30 && holder.since.ends_with('Z'), "{holder:?}");
    assert_eq!(world.admin.app(&app("shop")).unwrap().push.unwrap().push, first.push);

    world.admin.create_app(&app("other"), &user("matt")).unwrap();
    assert!(matches!(world.serve.open_push(&app("other"), &by("matt", 0)).unwrap(), Opened::Push(_)));
}

#[test]
fn a_waiting_push_gets_the_lease_the_moment_it_is_given_back() {
    let world = World::with_shop("");
    for end in ["commit", "abort"] {
        let first = world.open();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let begun = Instant::now();
                (world.serve.open_push(&app("shop"), &by("matt", 30)).unwrap(), begun.elapsed())
            });
            // When this one, which came later, has waited for a second, the other is surely waiting.
            held(world.serve.open_push(&app("shop"), &by("matt", 1)).unwrap());
            match end {
                "commit" => {
                    world.serve.commit(&first.push, &commit(first.repo.version)).unwrap();
                }
                _ => world.serve.abort(&first.push, &Abort { reason: Some("no".into()) }).unwrap(),
            }
            let (answer, waited) = waiter.join().unwrap();
            let Opened::Push(second) = answer else { panic!("not opened: {answer:?}") };
            assert!(waited < Duration::from_secs(10), "{end}: waited {waited:?}");
            assert_ne!(second.push, first.push);
            world.serve.abort(&second.push, &Abort { reason: Some("done".into()) }).unwrap();
        });
    }
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::yield_now();
    }
}

#[test]
fn who_went_away_while_waiting_gets_no_lease() {
    let world = World::with_shop("");
    let first = world.open();
    let mut gone = TcpStream::connect(world.url.strip_prefix("http://").unwrap()).unwrap();
    let body = "{\"user\":\"matt\",\"wait_seconds\":30}";
    write!(
        gone,
        "POST /internal/apps/shop/pushes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SERVE}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    held(world.serve.open_push(&app("shop"), &by("matt", 1)).unwrap());
    drop(gone);
    held(world.serve.open_push(&app("shop"), &by("matt", 1)).unwrap());
    world.serve.abort(&first.push, &Abort { reason: Some("no".into()) }).unwrap();
    let answer = world.serve.open_push(&app("shop"), &by("matt", 0)).unwrap();
    assert!(matches!(answer, Opened::Push(_)), "{answer:?}");
}

#[test]
fn waiting_ends_with_the_holder_when_the_lease_stays_taken() {
    let world = World::with_shop("");
    let first = world.open();
    let begun = Instant::now();
    let holder = held(world.serve.open_push(&app("shop"), &by("matt", 1)).unwrap());
    assert_eq!(holder.push, first.push);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn of_many_at_once_exactly_one_gets_the_lease() {
    let world = World::with_shop("");
    let start = Barrier::new(8);
    let opened: usize = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let answer = world.serve.open_push(&app("shop"), &by("matt", 0)).unwrap();
                    usize::from(matches!(answer, Opened::Push(_)))
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(opened, 1);
}

#[test]
fn a_lease_that_is_not_renewed_runs_out_and_goes_to_who_waits() {
    let world = World::with_shop("lease_seconds = 1");
    let dead = world.open();
    let begun = Instant::now();
    let answer = world.serve.open_push(&app("shop"), &by("matt", 30)).unwrap();
    let Opened::Push(next) = answer else { panic!("not opened: {answer:?}") };
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    assert!(!world.serve.renew_lease(&dead.push).unwrap());
    let error = world.serve.commit(&dead.push, &commit(0)).unwrap_err();
    assert!(is_lost(&error), "{error:?}");
    world.serve.abort(&dead.push, &Abort { reason: Some("too late to say why".into()) }).unwrap();

    let builds = world.admin.builds(&app("shop")).unwrap();
    let lost = builds.iter().find(|build| build.push == dead.push).unwrap();
    assert_eq!(lost.status, BuildStatus::Lost);
    assert_eq!(lost.reason.as_deref(), Some("the push's process or machine died; its lease ran out"));
    assert!(lost.ended_at.is_some());
    assert_ne!(dead.repo.put, next.repo.put, "the dead push can overwrite nothing of the next");
}

#[test]
fn a_lease_that_ran_out_is_lost_even_if_nobody_else_came() {
    let world = World::with_shop("lease_seconds = 1");
    let push = world.open();
    wait_until(|| world.admin.app(&app("shop")).unwrap().push.is_none());
    let error = world.serve.commit(&push.push, &commit(0)).unwrap_err();
    assert!(is_lost(&error), "{error:?}");
    assert_eq!(world.admin.app(&app("shop")).unwrap().repo_version, 0);
    assert_eq!(world.admin.builds(&app("shop")).unwrap()[0].status, BuildStatus::Lost);
}

#[test]
fn a_lease_that_is_renewed_outlives_its_term() {
    let world = World::with_shop("lease_seconds = 1");
    let push = world.open();
    let begun = Instant::now();
    wait_until(|| {
        assert!(world.serve.renew_lease(&push.push).unwrap());
        begun.elapsed() > Duration::from_millis(2500)
    });
    world.serve.commit(&push.push, &commit(0)).unwrap();
}

#[test]
fn an_app_cannot_be_destroyed_under_a_push() {
    let world = World::with_shop("");
    let push = world.open();
    assert_eq!(world.admin.destroy_app(&app("shop")).unwrap_err().status(), Some(409));
    world.serve.abort(&push.push, &Abort { reason: Some("no".into()) }).unwrap();
    let destroyed = world.admin.destroy_app(&app("shop")).unwrap();
    assert_eq!(destroyed.app, push.app);
    let discard = world.to_delete();
    for object in [&push.slug.put, &push.repo.put, &push.cache.put] {
        assert!(discard.contains(object), "{object}: {discard:?}");
    }
    assert_eq!(world.admin.app(&app("shop")).unwrap_err().status(), Some(404));

    world.admin.create_app(&app("shop"), &user("matt")).unwrap();
    assert_ne!(opened(&world.serve).app.id, push.app.id, "an id is never used again");
}

#[test]
fn a_server_that_is_told_to_stop_does_not_wait_for_those_who_wait() {
    let mut world = World::with_shop("");
    let _first = world.open();
    let (serve, begun) = (world.serve.clone(), Instant::now());
    let waiter = std::thread::spawn(move || serve.open_push(&app("shop"), &by("matt", 30)));
    world.stop();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // Either told who holds the lease, or it came too late to be answered.
    assert!(!matches!(waiter.join().unwrap(), Ok(Opened::Push(_))));
}
