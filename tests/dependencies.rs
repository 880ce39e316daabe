//! What a program links is what can be attacked in it: the lists are part of the design.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

/// The names of everything that a package links, itself included.
fn linked(package: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn expect_none_of(package: &str, unwanted: &[&str]) {
    let linked = linked(package);
    assert!(linked.iter().any(|name| name == package), "{linked:?}");
    for name in unwanted {
        assert!(!linked.iter().any(|one| one == name), "{package} links {name}");
    }
}

/// Invariant 4: no root process parses bytes that a tenant wrote.
#[test]
fn root_reads_neither_archives_nor_the_channel() {
    for package in ["ruko-container", "openruko"] {
        expect_none_of(package, &["ruko-archive", "ruko-channel", "ruko-storage", "tar", "flate2"]);
    }
    expect_none_of("ruko-container", &["ureq", "rustls", "ruko-api-client"]);
}

/// It is in every dyno, as its root.
#[test]
fn process_1_of_a_dyno_reads_no_archives_and_knows_no_network() {
    let unwanted = [
        "ruko-archive",
        "ruko-channel",
        "ruko-storage",
        "ruko-lxc",
        "tar",
        "flate2",
        "ureq",
        "rustls",
        "clap",
    ];
    expect_none_of("ruko-dyno", &unwanted);
}

/// Keys of storage sign addresses, in one program; whoever moves bytes gets an address.
#[test]
fn the_api_alone_holds_keys_of_storage() {
    for package in
        ["openruko-serve", "openruko-host", "openruko-git", "openruko-router", "ruko-fetch", "openruko"]
    {
        expect_none_of(package, &["ruko-presign", "rusty-s3"]);
    }
    expect_none_of("openruko-api", &["ruko-storage"]);
}

#[test]
fn the_host_side_of_a_push_unpacks_nothing() {
    expect_none_of("openruko-serve", &["ruko-archive", "ruko-lxc", "tar", "flate2"]);
}

#[test]
fn the_door_for_git_over_http_knows_nothing_of_repositories() {
    let unwanted = ["ruko-archive", "ruko-channel", "ruko-storage", "ruko-lxc", "tar", "sqlx"];
    expect_none_of("openruko-git", &unwanted);
}

/// It has the right to start containers and reads what developers send: no database, no server, no LXC of its own.
#[test]
fn the_agent_of_a_node_has_neither_a_database_nor_a_server_nor_lxc() {
    expect_none_of("openruko-host", &["sqlx", "axum", "hyper", "ruko-lxc", "ruko-http", "ruko-container"]);
}

/// What strangers reach first has nothing to lose but the traffic.
#[test]
fn the_router_has_neither_a_database_nor_containers_nor_storage() {
    let unwanted = ["sqlx", "ruko-lxc", "ruko-archive", "ruko-storage", "ruko-channel", "tar"];
    expect_none_of("openruko-router", &unwanted);
}

/// Pingora wants zlib-ng, which is C; `make build` builds the router apart, so that it stays in the router.
#[test]
fn c_for_compression_is_in_the_router_alone() {
    for package in ["openruko-api", "openruko-git", "openruko-serve", "ruko-fetch", "ruko-slug"] {
        expect_none_of(package, &["libz-ng-sys", "zstd-sys", "pingora-core"]);
    }
}

#[test]
fn tools_have_no_async_runtime() {
    for package in ["openruko-serve", "ruko-fetch", "ruko-container", "ruko-dyno", "ruko-slug"] {
        expect_none_of(package, &["tokio", "hyper", "sqlx"]);
    }
}

/// A developer's `openruko` carries many connections of the Heroku CLI at a time; it is no server for others.
#[test]
fn the_client_has_neither_a_database_nor_a_server_of_ours() {
    expect_none_of("openruko", &["sqlx", "axum", "ruko-http"]);
}
