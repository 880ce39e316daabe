//! The buildpacks that ship for further languages: a push of a small app with a dependency, which answers then, and a
//! second push, which finds what the first one kept.

use std::fs;
use std::process::Command;

use openruko_tests::{Repo, World};

use super::{Running, probe};
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("running::languages::ruby", ruby),
    ("running::languages::go", go),
    ("running::languages::rust", rust),
    ("running::languages::php", php),
    ("running::languages::java", java),
];

/// Pushes a fixture twice. Gives the app, its repository, and what the developer saw each time.
fn deploy_twice<'w>(
    world: &'w World,
    language: &str,
    repo: &Repo<'_>,
    app: Running<'w>,
    hello: &str,
) -> (Running<'w>, [String; 2]) {
    let first = repo.deploy(&app.name);
    assert!(first.contains(&format!("-----> {language} app detected")), "{first}");
    assert!(!first.contains("build cache"), "{first}");
    assert_eq!(app.body("/"), hello);
    repo.commit(&[("changed.txt", "now")]);
    let second = repo.deploy(&app.name);
    assert!(second.contains("of the build cache"), "{second}");
    assert_eq!(app.body("/"), hello);
    assert_eq!(world.deploys(&app.name), 2);
    (app, [first, second])
}

fn web_command(app: &Running<'_>) -> String {
    app.world.current_release(&app.name)["process_types"]["web"].as_str().unwrap().to_owned()
}

fn ruby(world: &World) {
    let dev = world.developer("ruby-dev");
    let repo = dev.fixture("ruby");
    fs::create_dir_all(repo.path().join("vendor/cache")).unwrap();
    let packed = Command::new("gem")
        .args(["build", "--quiet", "--output", "../../vendor/cache/shout-1.0.gem", "shout.gemspec"])
        .current_dir(repo.path().join("gems/shout"))
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    repo.commit(&[]);
    let app = probe(world, &dev, "ruby-app");
    let (_, [first, second]) = deploy_twice(world, "Ruby", &repo, app, "Hello from Ruby!\n");
    assert!(first.contains("Installing shout 1.0"), "{first}");
    assert!(second.contains("Using shout 1.0"), "{second}");

    repo.git(&["rm", "-q", "Gemfile.lock"]);
    repo.commit(&[]);
    let refused = repo.push("ruby-app", &["main"]);
    assert!(!refused.ok && refused.seen.contains(" !     Gemfile.lock is missing"), "{}", refused.seen);
}

fn go(world: &World) {
    let dev = world.developer("go-dev");
    let repo = dev.fixture("go");
    let app = probe(world, &dev, "go-app");
    let _ = world.admin(&["config", "set", "go-app", "GO_LINKER_SYMBOL=main.Version"]);
    let (app, _) = deploy_twice(world, "Go", &repo, app, "Hello from Go\n");
    assert_eq!(web_command(&app), "bin/hello");
    // The commit is in the program.
    assert_eq!(app.body("/version"), format!("{}\n", repo.head()));

    repo.commit(&[("main.go", "package library\n")]);
    let refused = repo.push("go-app", &["main"]);
    assert!(!refused.ok && refused.seen.contains("the module has no package main"), "{}", refused.seen);
}

fn rust(world: &World) {
    let dev = world.developer("rust-dev");
    let repo = dev.fixture("rust");
    let app = probe(world, &dev, "rust-app");
    let (app, [first, second]) = deploy_twice(world, "Rust", &repo, app, "Hello from Rust 1\n");
    assert_eq!(web_command(&app), "target/release/hello");
    assert!(first.contains("Compiling itoa"), "{first}");
    assert!(!second.contains("Compiling itoa") && second.contains("Compiling hello"), "{second}");
}

fn php(world: &World) {
    let dev = world.developer("php-dev");
    let repo = dev.fixture("php");
    let app = probe(world, &dev, "php-app");
    let (app, [first, _]) = deploy_twice(world, "PHP", &repo, app, "Hello from PHP\n");
    assert!(first.contains("Installing example/greeting (1.0.0)"), "{first}");
    assert!(first.contains("Serving the files of public/"), "{first}");
    assert_eq!(app.body("/no/such/page"), "Hello from PHP\n", "the front controller takes what is no file");

    // Without a directory for it, everything that is for visitors lies beside what is not.
    repo.git(&["rm", "-q", "-r", "public"]);
    repo.commit(&[
        ("index.php", "<?php require 'vendor/autoload.php'; echo Greeting\\Text::HELLO, \"\\n\";"),
        ("style.css", "p {}\n"),
        (".env", "SECRET=1\n"),
    ]);
    repo.deploy("php-app");
    assert_eq!(app.body("/"), "Hello from PHP\n");
    assert_eq!(app.body("/style.css"), "p {}\n");
    let web = world.web("php-app");
    for hidden in [
        "/.env",
        "/%2eenv",
        "/./.env",
        "//composer.lock",
        "/Composer.json",
        "/vendor/autoload.php",
        "/.openruko/router.php",
    ] {
        let answered = web.get(hidden);
        assert!(answered.status == 404 && answered.body == "Not found\n", "{hidden}: {answered:?}");
    }

    repo.git(&["rm", "-q", "composer.lock"]);
    repo.commit(&[]);
    let refused = repo.push("php-app", &["main"]);
    assert!(!refused.ok && refused.seen.contains(" !     composer.lock is missing"), "{}", refused.seen);
}

fn java(world: &World) {
    let dev = world.developer("java-dev");
    let repo = dev.fixture("java");
    repo.commit(&[("system.properties", "java.runtime.version=1.8\n")]);
    let app = probe(world, &dev, "java-app");
    let (app, [first, _]) = deploy_twice(world, "Java", &repo, app, "Hello from Java\n");
    assert_eq!(web_command(&app), "java -Dserver.port=${PORT:-5000} $JAVA_OPTS -jar target/hello-1.0.jar");
    assert!(first.contains(" !     The app asks for Java 8; the stack has "), "{first}");
    assert!(!first.contains('\u{1b}'), "{first}");
}
