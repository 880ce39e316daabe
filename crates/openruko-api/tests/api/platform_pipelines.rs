//! Pipelines and promotions at the Platform API.

use serde_json::{Value, json};

use super::developer::{Answer, Developer};
use super::platform_logs::Stream;
use super::world::World;

fn couple(developer: &Developer, app: &str, stage: &str) -> Value {
    let new = json!({ "app": app, "pipeline": "line", "stage": stage });
    developer.post("/pipeline-couplings", new).with(201)
}

/// `shop` with a slug in staging, `live` in production.
fn line(world: &World) -> (Developer, Value) {
    let matt = Developer::named(world, "matt");
    let account = matt.get("/users/~").with(200);
    let owner = json!({ "id": account["id"], "type": "user" });
    let new = json!({ "name": "line", "owner": owner, "generation": { "name": "cedar" } });
    let pipeline = matt.post("/pipelines", new).with(201);
    matt.app("shop");
    matt.app("live");
    couple(&matt, "shop", "staging");
    couple(&matt, "live", "production");
    (matt, pipeline)
}

fn promote(developer: &Developer, pipeline: &Value, source: &str, targets: &[&str]) -> Answer {
    let id = |name: &str| json!({ "app": { "id": name } });
    let targets: Vec<Value> = targets.iter().map(|name| id(name)).collect();
    let body = json!({ "pipeline": { "id": pipeline["id"] }, "source": id(source), "targets": targets });
    developer.post("/pipeline-promotions", body)
}

#[test]
fn a_pipeline_is_made_found_renamed_and_destroyed() {
    let world = World::new();
    let (matt, pipeline) = line(&world);
    assert_eq!((&pipeline["name"], &pipeline["owner"]["type"]), (&json!("line"), &json!("user")));
    let id = pipeline["id"].as_str().unwrap();
    for path in ["/pipelines/line".to_owned(), format!("/pipelines/{id}")] {
        assert_eq!(matt.get(&path).with(200), pipeline);
    }
    assert_eq!(matt.get("/pipelines").with(200), json!([pipeline]));
    assert_eq!(matt.get("/pipelines?eq[name]=line").with(200), json!([pipeline]));
    assert_eq!(matt.get("/pipelines?eq[name]=other").with(200), json!([]));
    let (status, _, message) = matt.post("/pipelines", json!({ "name": "line" })).refused();
    assert!(status == 422 && message.contains("already taken"), "{message}");
    assert_eq!(matt.post("/pipelines", json!({ "name": "A line" })).refused().0, 422);
    let team = json!({ "name": "line-2", "owner": { "id": "01234567-89ab-cdef-0123-456789abcdef", "type": "team" } });
    assert_eq!(matt.post("/pipelines", team).refused().0, 422);
    assert_eq!(matt.patch("/pipelines/line", json!({ "name": "row" })).with(200)["name"], "row");
    assert_eq!(matt.get("/pipelines/row/test-runs").with(200), json!([]));
    assert_eq!(matt.get("/pipelines/row/stage/test/config-vars").with(200), json!({}));
    matt.delete("/pipelines/row").with(200);
    assert_eq!(matt.get("/pipelines/row").refused().0, 404);
    matt.get("/apps/shop").with(200);
}

#[test]
fn apps_are_put_in_moved_and_taken_out() {
    let world = World::new();
    let (matt, pipeline) = line(&world);
    let of_shop = matt.get("/apps/shop/pipeline-couplings").with(200);
    assert_eq!((&of_shop["stage"], &of_shop["pipeline"]["name"]), (&json!("staging"), &json!("line")));
    let id = pipeline["id"].as_str().unwrap();
    let all = matt.get(&format!("/pipelines/{id}/pipeline-couplings")).with(200);
    assert_eq!((&all[0]["app"]["name"], &all[1]["app"]["name"]), (&json!("live"), &json!("shop")));
    assert_eq!(matt.get("/pipeline-couplings").with(200), all);
    let filter = json!({ "in": { "id": [all[0]["app"]["id"], "01234567-89ab-cdef-0123-456789abcdef"] } });
    let apps = matt.post("/filters/apps", filter).with(200);
    assert_eq!((&apps[0]["name"], apps.as_array().unwrap().len()), (&json!("live"), 1));
    let again = json!({ "app": "shop", "pipeline": "line", "stage": "production" });
    assert!(matt.post("/pipeline-couplings", again).refused().2.contains("already in the pipeline line"));
    let nowhere = json!({ "app": "shop", "pipeline": "line", "stage": "heaven" });
    assert_eq!(matt.post("/pipeline-couplings", nowhere).refused().0, 422);
    let at = format!("/pipeline-couplings/{}", of_shop["id"].as_str().unwrap());
    assert_eq!(matt.patch(&at, json!({ "stage": "review" })).with(200)["stage"], "review");
    matt.delete(&at).with(200);
    let answer = matt.get("/apps/shop/pipeline-couplings");
    assert_eq!(answer.json()["resource"], "pipeline_coupling");
    assert_eq!(answer.refused().0, 404);
}

#[test]
fn who_follows_the_log_of_an_app_is_told_of_a_promotion_to_it() {
    let world = World::new();
    let (matt, pipeline) = line(&world);
    world.push();
    let session = matt.post("/apps/live/log-sessions", json!({ "lines": 10, "tail": true })).with(201);
    let mut stream = Stream::open(&world, session["logplex_url"].as_str().unwrap(), None);
    stream.until("Release v1 created");
    promote(&matt, &pipeline, "shop", &["live"]).with(201);
    stream.until("Promote shop v2 cccccccc by user matt");
}

#[test]
fn a_promotion_releases_the_same_slug_and_outlives_its_source() {
    let world = World::new();
    let (matt, pipeline) = line(&world);
    assert!(promote(&matt, &pipeline, "shop", &["live"]).refused().2.contains("nothing to promote"));
    world.push();
    let promotion = promote(&matt, &pipeline, "shop", &["live"]).with(201);
    assert_eq!(promotion["status"], "completed");
    let at = format!("/pipeline-promotions/{}", promotion["id"].as_str().unwrap());
    assert_eq!(matt.get(&at).with(200), promotion);
    let targets = matt.get(&format!("{at}/promotion-targets")).with(200);
    assert_eq!((&targets[0]["status"], &targets[0]["error_message"]), (&json!("succeeded"), &Value::Null));
    assert!(targets[0]["release"]["id"].is_string());

    let of = |name: &str| world.admin.releases(&super::world::app(name)).unwrap();
    let (from, to) = (of("shop").remove(0), of("live").remove(0));
    assert_eq!((to.version, to.description.as_str()), (2, "Promote shop v2 cccccccc"));
    assert_eq!((&to.slug_url, &to.process_types), (&from.slug_url, &from.process_types));
    assert!(to.slug_url.is_some());

    matt.delete("/apps/shop").with(200);
    let left = of("live").remove(0);
    assert_eq!((left.slug_url, left.slug, left.commit), (to.slug_url, to.slug, to.commit));
    assert_eq!(matt.get("/apps/live").with(200)["slug_size"], 500);
}

#[test]
fn a_promotion_is_judged_as_a_whole() {
    let world = World::new();
    let (matt, pipeline) = line(&world);
    world.push();
    matt.app("outside");
    for (targets, word) in [
        (&["live", "outside"][..], "outside is not in this pipeline"),
        (&["live", "live"], "twice"),
        (&["shop"], "itself"),
        (&[], "from 1 to"),
    ] {
        let (status, _, message) = promote(&matt, &pipeline, "shop", targets).refused();
        assert!(status == 422 && message.contains(word), "{message}");
    }
    assert_eq!(world.admin.releases(&super::world::app("live")).unwrap().len(), 1);
}

#[test]
fn a_pipeline_is_its_owners_and_seen_by_whoever_sees_an_app_in_it() {
    let world = World::new();
    let (matt, pipeline) = line(&world);
    world.push();
    let ann = Developer::named(&world, "ann");
    let coupling = matt.get("/apps/shop/pipeline-couplings").with(200);
    let at = format!("/pipeline-couplings/{}", coupling["id"].as_str().unwrap());
    for path in ["/pipelines/line", "/pipelines/line/pipeline-couplings", &at] {
        assert_eq!(ann.get(path).refused().0, 404, "{path}");
    }
    assert_eq!(ann.get("/pipelines").with(200), json!([]));
    assert_eq!(ann.get("/pipeline-couplings").with(200), json!([]));
    assert_eq!(promote(&ann, &pipeline, "shop", &["live"]).refused().0, 404);

    world.gives("ann", "view");
    assert_eq!(ann.get("/pipelines").with(200), json!([pipeline]));
    ann.get(&at).with(200);
    // She sees the source, but knows nothing of the target.
    assert_eq!(promote(&ann, &pipeline, "shop", &["live"]).refused().0, 404);
    for answer in [
        ann.patch("/pipelines/line", json!({ "name": "mine" })),
        ann.delete("/pipelines/line"),
        ann.patch(&at, json!({ "stage": "production" })),
        ann.delete(&at),
    ] {
        assert_eq!(answer.refused().0, 403);
    }
    // An app of her own does not get her into somebody else's pipeline.
    ann.app("ann-app");
    let new = json!({ "app": "ann-app", "pipeline": "line", "stage": "production" });
    assert_eq!(ann.post("/pipeline-couplings", new).refused().0, 403);
    let swapped = promote(&ann, &pipeline, "live", &["shop"]);
    assert_eq!(swapped.refused().0, 404);
}
