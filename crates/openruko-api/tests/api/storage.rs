//! What is kept in storage, and what is not.

use ruko_api_types::Abort;
use ruko_api_types::storage::StorageDone;
use serde_json::json;

use super::developer::Developer;
use super::world::{World, app, commit};

const KEEP_TWO: &str = "retention = { keep_releases = 2 }";

/// Pushes so often, and gives where the slugs are.
fn pushes(world: &World, count: usize) -> Vec<String> {
    let push = |_| {
        let push = world.open();
        world.serve.commit(&push.push, &commit(push.repo.version)).unwrap();
        push.slug.put
    };
    (0..count).map(push).collect()
}

/// The names of what the rules let go.
fn collected(world: &World, dry_run: bool) -> Vec<String> {
    world.admin.collect_garbage(dry_run).unwrap().objects.into_iter().map(|object| object.name).collect()
}

#[test]
fn slugs_of_the_last_deploys_are_kept_and_older_ones_deleted_once() {
    let world = World::with_shop(KEEP_TWO);
    let slugs = pushes(&world, 4);
    let _ = world.to_delete();
    assert_eq!(collected(&world, true), slugs[..2]);
    assert_eq!(collected(&world, true), slugs[..2], "a dry run changes nothing");
    assert!(world.to_delete().is_empty());
    assert_eq!(collected(&world, false), slugs[..2]);
    assert!(collected(&world, false).is_empty());
    assert_eq!(world.to_delete(), slugs[..2]);
    assert!(world.to_delete().is_empty());
    let usage = world.admin.storage().unwrap();
    assert_eq!((usage.apps[0].slugs, usage.apps[0].repositories, usage.to_delete), (2, 2, 0));
    assert_eq!(usage.apps[0].slug_bytes, 2 * commit(0).release.unwrap().slug.bytes);
    let urls: Vec<_> =
        world.admin.releases(&app("shop")).unwrap().into_iter().map(|one| one.slug_url).collect();
    assert_eq!(urls.iter().filter(|url| url.is_some()).count(), 2, "{urls:?}");
}

#[test]
fn a_release_whose_slug_was_removed_is_nothing_to_go_back_to() {
    let world = World::with_shop(KEEP_TWO);
    let matt = Developer::named(&world, "matt");
    pushes(&world, 3);
    collected(&world, false);
    let releases = matt.get("/apps/shop/releases").with(200);
    let eligible: Vec<_> =
        releases.as_array().unwrap().iter().map(|one| one["eligible_for_rollback"].clone()).collect();
    assert_eq!(eligible, [false, false, true, true]);
    let refused = matt.post("/apps/shop/releases", json!({ "release": "v2" })).with(422);
    assert_eq!(refused["id"], "slug_removed");
    assert_eq!(
        refused["message"],
        "`shop` cannot go back to v2: its slug was removed, since only those of the last 2 deploys are kept. \
         Push the code again."
    );
    let slug = releases[1]["slug"]["id"].clone();
    assert_eq!(matt.post("/apps/shop/releases", json!({ "slug": slug })).with(422)["id"], "slug_removed");
    matt.post("/apps/shop/releases", json!({ "release": "v3" })).with(201);
}

#[test]
fn what_is_gone_back_to_and_what_a_host_runs_is_kept() {
    let world = World::with_shop("retention = { keep_releases = 1 }");
    let matt = Developer::named(&world, "matt");
    let slugs = pushes(&world, 3);
    // v5 runs what v2 ran, and a dyno of v3 has not ended yet.
    matt.post("/apps/shop/releases", json!({ "release": "v2" })).with(201);
    let shop = world.admin.app(&app("shop")).unwrap().id;
    let dyno = "INSERT INTO dynos (id, app_id, type, number, release, generation, state, since, command, size, routed, \
                created_at) VALUES ('01ARZ3NDEKTSV4RRFFQ69G5FA0', $1, 'web', 1, 3, 0, 'up', 1, 'run', 'Basic', 0, 1)";
    world.execute(dyno, &[&shop]);
    let _ = world.to_delete();
    assert_eq!(collected(&world, false), slugs[2..]);
    world.execute("DELETE FROM dynos", &[]);
    assert_eq!(collected(&world, false), slugs[1..2]);
    assert_eq!(world.to_delete(), [slugs[1].clone(), slugs[2].clone()]);
}

#[test]
fn a_slug_that_another_app_has_outlives_the_app_that_it_was_built_for() {
    let world = World::with_shop("retention = { keep_releases = 1 }");
    let matt = Developer::named(&world, "matt");
    let slugs = pushes(&world, 1);
    matt.post("/apps", json!({ "name": "stage" })).with(201);
    let pipeline = matt.post("/pipelines", json!({ "name": "line" })).with(201)["id"].clone();
    for (name, stage) in [("shop", "staging"), ("stage", "production")] {
        let coupling = json!({ "app": name, "pipeline": pipeline, "stage": stage });
        matt.post("/pipeline-couplings", coupling).with(201);
    }
    let id = |name| matt.get(&format!("/apps/{name}")).with(200)["id"].clone();
    let promotion = json!({
        "pipeline": { "id": pipeline },
        "source": { "app": { "id": id("shop") } },
        "targets": [{ "app": { "id": id("stage") } }],
    });
    matt.post("/pipeline-promotions", promotion).with(201);
    pushes(&world, 1);
    assert!(!collected(&world, false).contains(&slugs[0]), "the other app runs it");
    world.admin.destroy_app(&app("shop")).unwrap();
    assert!(!world.to_delete().contains(&slugs[0]));
    assert!(collected(&world, false).is_empty());
    world.admin.destroy_app(&app("stage")).unwrap();
    assert_eq!(collected(&world, false), slugs);
    assert!(world.to_delete().contains(&slugs[0]));
}

#[test]
fn what_a_push_leaves_that_fails_or_dies_is_deleted() {
    let world = World::with_shop("lease_seconds = 1");
    let failed = world.open();
    world.serve.abort(&failed.push, &Abort { reason: Some("failed to compile".into()) }).unwrap();
    let mut left = world.to_delete();
    left.sort();
    assert_eq!(left, [failed.repo.put, failed.slug.put], "at once: nobody stores anything for it any more");

    let dead = world.open();
    assert!(collected(&world, false).is_empty(), "it may be alive");
    let (id, long_ago) = (dead.push.to_string(), "1".to_owned());
    world.execute("UPDATE pushes SET lease_ends = CAST($1 AS BIGINT) WHERE id = $2", &[&long_ago, &id]);
    assert_eq!(collected(&world, false), [dead.repo.put, dead.slug.put]);
    assert!(world.serve.commit(&dead.push, &commit(0)).is_err(), "it comes too late");
    assert!(collected(&world, false).is_empty());
}

#[test]
fn whoever_dies_before_a_deletion_is_followed_by_another() {
    let world = World::with_shop("");
    let failed = world.open();
    world.serve.abort(&failed.push, &Abort { reason: Some("no".into()) }).unwrap();
    let ask = || world.serve.storage_work(&StorageDone::default()).unwrap().delete;
    let told = ask();
    assert_eq!(told.len(), 2);
    assert!(ask().is_empty(), "somebody has been told");
    world.execute("UPDATE discarded_objects SET handed_at = handed_at - 600000", &[]);
    assert_eq!(ask(), told, "who has not said that it is done");
    let done = StorageDone { deleted: vec![told[0].key.clone()], ..StorageDone::default() };
    assert!(world.serve.storage_work(&done).unwrap().delete.is_empty());
    world.execute("UPDATE discarded_objects SET handed_at = handed_at - 600000", &[]);
    assert_eq!(ask(), told[1..]);
}

#[test]
fn nothing_that_is_kept_is_ever_told_to_be_deleted() {
    let world = World::with_shop("");
    pushes(&world, 1);
    world.execute("INSERT INTO discarded_objects (object_key, since) SELECT object_key, 1 FROM slugs", &[]);
    world.execute(
        "INSERT INTO discarded_objects (object_key, since) SELECT object_key, 1 FROM repo_versions",
        &[],
    );
    assert!(world.to_delete().is_empty());
}

#[test]
fn an_idle_cache_is_let_go_and_the_next_one_has_another_key() {
    let world = World::with_shop("retention = { cache_days = 1 }");
    let before = world.open();
    world.serve.commit(&before.push, &commit(0)).unwrap();
    assert!(collected(&world, false).is_empty());
    world.execute("UPDATE pushes SET created_at = created_at - 200000000", &[]);
    assert_eq!(collected(&world, false), [before.cache.put.as_str()]);
    assert!(collected(&world, false).is_empty());
    assert_ne!(world.open().cache.get, before.cache.put);
}

#[test]
fn files_that_nothing_refers_to_are_found() {
    let world = World::with_shop("");
    pushes(&world, 2);
    let open = world.open();
    let root = world.storage("");
    let key = |url: &str| url.strip_prefix(&root).unwrap().to_owned();
    let shop = &open.app.id;
    let stray = format!("slugs/{shop}/01ARZ3NDEKTSV4RRFFQ69G5FAV.tar.gz");
    let old_cache = "caches/01ARZ3NDEKTSV4RRFFQ69G5FAV.tar.gz".to_owned();
    let found = vec![
        key(&open.slug.put),
        key(&open.repo.get[0]),
        key(&open.cache.get),
        "foreign/file".to_owned(),
        "slugs/README".to_owned(),
        stray.clone(),
        old_cache.clone(),
    ];
    let work = world.serve.storage_work(&StorageDone { found, ..StorageDone::default() }).unwrap();
    let told: Vec<_> = work.delete.into_iter().map(|object| object.key).collect();
    assert_eq!(told, [old_cache, stray]);
    collected(&world, false);
    let list = world.serve.storage_work(&StorageDone::default()).unwrap().list.unwrap();
    assert_eq!(format!("{}/", list.below), root);
    assert_eq!(list.older_than_seconds, 2 * 86400);
    let many = StorageDone { found: vec![String::new(); 501], ..StorageDone::default() };
    assert_eq!(world.serve.storage_work(&many).unwrap_err().status(), Some(422));
}
