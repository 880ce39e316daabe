//! Storage that is no directory: an object store, by S3 and then by Swift, under a whole platform.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::unistd::User;
use openruko_tests::{World, eventually};
use ruko_core::config::{ApiConfig, Config, S3Config, SwiftConfig, SwiftDigest};
use ruko_test_objects::{self as store, Server};
use serde_json::json;

use crate::running::{PATIENCE, next_version, probe, quick};

/// Pushes, runs, fetches, retains and deletes with nothing on this machine but what it works with: first by S3, then
/// over the same objects by Swift.
pub(crate) fn everything_is_in_an_object_store() {
    let server = Server::start();
    let world = World::start(|config| {
        quick(config);
        by_s3(config, server.address());
    });
    let dev = world.developer("stora");
    let app = probe(&world, &dev, "stored");
    let repo = dev.fixture("probe");
    repo.deploy("stored");
    assert_eq!(app.body("/"), "version 1\n");
    next_version(&repo, "2");
    repo.deploy("stored");
    assert_eq!(app.body("/"), "version 2\n");
    assert!(fs::read_dir(world.state().join("storage")).unwrap().next().is_none(), "nothing is in files");

    world.down();
    let mut config = world.config();
    by_swift(&mut config, server.address());
    world.configure(&config);
    world.up([]);
    // What S3 stored is found by Swift; the node makes its image anew, with an address that it asks for.
    eventually("the app answers", PATIENCE, || {
        world.web("stored").try_get("/").ok().filter(|answered| answered.body == "version 2\n").map(drop)
    });
    let old = repo.head();
    next_version(&repo, "3");
    repo.deploy("stored");
    assert_eq!(app.body("/"), "version 3\n");
    assert_ne!(repo.remote_ref("stored", "refs/heads/main").unwrap(), old);

    // Two deploys are kept: the first cannot be gone back to any more, and its slug is deleted.
    eventually("what is not kept is deleted", PATIENCE, || {
        let _ = world.admin(&["storage", "--gc"]);
        (world.admin_json(&["storage"])["to_delete"] == json!(0)).then_some(())
    });
    let usage = world.admin_json(&["storage"]);
    assert_eq!(usage["apps"][0]["repositories"], 2, "{usage}");
    let (status, refused) = app.platform.call("POST", "/apps/stored/releases", &json!({ "release": "v2" }));
    assert_eq!((status, refused["id"].as_str()), (422, Some("slug_removed")), "{refused}");
    let _ = app.call("POST", "/releases", &json!({ "release": "v3" }));
    app.wait_for_body("/", "version 2\n");

    // Storage that is away is told in one line, and changes nothing.
    next_version(&repo, "4");
    server.kill();
    let refused = repo.push("stored", &["main"]);
    assert!(!refused.ok);
    assert!(
        refused.seen.contains("cannot be read. Tell the server's admin; nothing was changed."),
        "{}",
        refused.seen
    );
    assert!(!refused.seen.contains("hung up"), "nothing is guessed: {}", refused.seen);
    assert_eq!(app.body("/"), "version 2\n");
    server.start_again();
    for secret in ["X-Amz-Sig", "temp_url_sig", store::SECRET, store::TEMPURL_KEY] {
        assert!(!world.log().contains(secret), "{secret}");
    }
    let _ = world.admin(&["app", "destroy", "stored", "--confirm", "stored"]);
    eventually("what the app had is deleted", PATIENCE, || {
        (world.admin_json(&["storage"])["to_delete"] == json!(0)).then_some(())
    });
}

fn api(config: &mut Config) -> &mut ApiConfig {
    let api = config.api.as_mut().unwrap();
    api.retention.keep_releases = 2;
    api
}

fn by_s3(config: &mut Config, server: SocketAddr) {
    let api = api(config);
    api.storage = format!("s3://{}/platform", store::BUCKET);
    api.s3 = Some(S3Config {
        endpoint: format!("http://{server}"),
        region: store::REGION.to_owned(),
        path_style: true,
        access_key_id: store::ACCESS_KEY_ID.to_owned(),
        secret_file: secret(api, "s3.secret", store::SECRET),
    });
}

fn by_swift(config: &mut Config, server: SocketAddr) {
    let api = api(config);
    api.storage = format!("swift://{}/platform", store::BUCKET);
    api.s3 = None;
    api.swift = Some(SwiftConfig {
        url: store::account(server),
        key_file: secret(api, "swift.key", store::TEMPURL_KEY),
        digest: SwiftDigest::Sha256,
    });
}

/// A file that the API alone can read.
fn secret(api: &ApiConfig, name: &str, text: &str) -> std::path::PathBuf {
    let file = Path::new(api.database.strip_prefix("sqlite://").unwrap()).with_file_name(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let user = User::from_name("openruko").unwrap().unwrap();
    chown(&file, Some(0), Some(user.gid.as_raw())).unwrap();
    file
}
