//! The buildpacks that ship, with the interpreters of this machine and without a network.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use world::{Container, Push, World, commit};

/// Makes a wheel of a package `demo` with a script of the same name.
const MAKE_WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/demo-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("demo/__init__.py", "def main():\n    print('demo runs')\n")
    wheel.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("demo-1.0.dist-info/entry_points.txt", "[console_scripts]\ndemo = demo:main\n")
    wheel.writestr("demo-1.0.dist-info/RECORD", "")
"#;

/// A world whose pip finds the wheel above and nothing else.
fn python_world() -> World {
    let world = World::new();
    let wheels = world.path("wheels");
    fs::create_dir(&wheels).unwrap();
    let made = Command::new("/usr/bin/python3").args(["-c", MAKE_WHEEL]).arg(&wheels).status().unwrap();
    assert!(made.success());
    let env = [("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", wheels.to_str().unwrap())];
    world.host.kept().env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    world
}

/// Puts the slug where the app runs from, as a dyno would have it: at the container's home, over nothing.
fn install_slug(world: &World, container: &Container) -> PathBuf {
    let home = container.dir.join("app");
    fs::remove_dir_all(&home).unwrap();
    let slug = world.host.kept().slug.clone().unwrap();
    let limits = ruko_archive::Limits {
        bytes: 1 << 30,
        entries: 100_000,
        path_bytes: 4000,
        links: ruko_archive::LinkRule::Any,
    };
    ruko_archive::unpack(&slug[..], &container.dir, &limits).unwrap();
    home
}

/// A command of the app, run as a dyno runs it: after the scripts of `.profile.d`.
fn dyno(home: &Path, command: &str) -> Command {
    let mut shell = Command::new("bash");
    let script = format!("for s in .profile.d/*.sh; do [ -f \"$s\" ] && . \"$s\"; done\nexec {command}");
    shell.args(["-c", &script]).current_dir(home).env_clear();
    shell.env("HOME", home).env("PATH", "/usr/local/bin:/usr/bin:/bin");
    shell
}

fn said(mut command: Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn push_with_cache(world: &World, container: &Container, app: &Path) -> Push {
    let push = world.push_into(container, app, &["main"]);
    push.assert_ok();
    let cache = container.run(&["cache"]);
    assert!(cache.status.success(), "{}", String::from_utf8_lossy(&cache.stderr));
    world.host.kept().cache = Some(cache.stdout);
    push
}

#[test]
fn a_python_app_is_installed_runs_from_its_home_and_is_cached() {
    let world = python_world();
    let app = world.app(&[
        ("requirements.txt", "demo==1.0\n"),
        ("Procfile", "web: demo\n"),
        ("runtime.txt", "python-2.7.18\n"),
    ]);
    let container = world.container();
    let push = push_with_cache(&world, &container, &app);
    push.assert_line("-----> Python app detected");
    push.assert_line("-----> Installing requirements with pip");
    push.assert_contains("       Successfully installed demo-1.0");
    push.assert_contains(" !     The app asks for Python 2.7.18");

    let home = install_slug(&world, &container);
    assert_eq!(said(dyno(&home, "demo")), "demo runs");
    assert_eq!(
        said(dyno(&home, "python -c 'import demo; print(demo.__file__)'")).split("/.heroku/").next().unwrap(),
        home.to_str().unwrap()
    );
    let script = fs::read_to_string(home.join(".heroku/python/bin/demo")).unwrap();
    assert_eq!(script.lines().next().unwrap(), format!("#!{}/.heroku/python/bin/python", home.display()));
    let compiled = find(&home.join(".heroku/python"), "__init__.cpython-");
    // PEP 552: the flags word is 1 for a file that is checked against no source.
    assert_eq!(fs::read(&compiled).unwrap()[4..8], [1, 0, 0, 0], "{}", compiled.display());
    assert!(!home.join(".heroku/python/bin/pip").exists());

    commit(&app, &[("more", "x")]);
    let again = world.container_at(container.dir);
    let push = push_with_cache(&world, &again, &app);
    push.assert_line("-----> Requirements unchanged: using the installed packages from cache");
    assert!(!push.text.contains("Installing requirements"), "{}", push.text);
    assert_eq!(said(dyno(&install_slug(&world, &again), "demo")), "demo runs");

    commit(&app, &[("requirements.txt", "# nothing\n")]);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("-----> Installing requirements with pip");
    assert!(!world.slug_entries().iter().any(|entry| entry.contains("demo")));
}

/// The first file below `dir` whose name begins so.
fn find(dir: &Path, begin: &str) -> PathBuf {
    let found = said({
        let mut find = Command::new("find");
        find.arg(dir).args(["-path", "*demo*", "-name"]).arg(format!("{begin}*"));
        find
    });
    PathBuf::from(found.lines().next().expect("a compiled file"))
}

#[test]
fn requirements_that_cannot_be_met_reject_the_push() {
    let world = python_world();
    let app = world.app(&[("requirements.txt", "no-such-package==1\n")]);
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("No matching distribution found for no-such-package");
    push.assert_line(" !     Push rejected, failed to compile Python app.");
}

#[test]
fn a_node_app_is_built_with_its_scripts_and_config_vars() {
    let world = World::new();
    let package = r#"{"name": "a", "version": "1.0.0", "scripts": {
        "heroku-prebuild": "echo \"prebuild $NODE_ENV $FOR_BUILD\"",
        "build": "node -e \"require('fs').writeFileSync('built.txt', process.env.FOR_BUILD)\"",
        "start": "node -p 6*7"}}"#;
    let app = world.app(&[("package.json", package)]);
    world.host.kept().config_vars = [("FOR_BUILD", "from config"), ("PATH", "/nowhere")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let container = world.container();
    let push = world.push_into(&container, &app, &["main"]);
    push.assert_ok();
    push.assert_line("-----> Node.js app detected");
    push.assert_line("       prebuild production from config");
    push.assert_line("-----> Installing dependencies with npm install (no package-lock.json)");
    push.assert_line("       Default types for Node.js   -> web");
    let manifest = world.host.kept().commits[0].manifest.clone().unwrap();
    assert_eq!(manifest.process_types[&"web".parse().unwrap()], "npm start");
    let home = install_slug(&world, &container);
    assert_eq!(fs::read_to_string(home.join("built.txt")).unwrap(), "from config");
    assert!(said(dyno(&home, "npm start")).ends_with("42"));
}

#[test]
fn a_package_json_that_is_none_says_so() {
    let world = World::new();
    let app = world.app(&[("package.json", "{,}")]);
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains(" !     package.json cannot be read");
}

/// A web process, killed at the test's end.
struct Web {
    child: Child,
    port: String,
}

impl Web {
    /// Starts the app's default web command on a port of the system's choice.
    fn start(world: &World, home: &Path) -> Self {
        let manifest = world.host.kept().commits.last().unwrap().manifest.clone().unwrap();
        let command = &manifest.process_types[&"web".parse().unwrap()];
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let mut child = dyno(home, command).env("PORT", &free).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(&free), "{line}");
        Self { child, port: free }
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{}", self.port)).unwrap();
        write!(stream, "{request}\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1"))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn a_static_site_serves_its_files_and_nothing_else() {
    let world = World::new();
    let app = world.app(&[
        ("index.html", "<p>home"),
        ("a b.txt", "spaced"),
        ("sub/index.html", "<p>sub"),
        ("empty/x.css", "p {}"),
        ("404.html", "<p>lost"),
        (".env", "secret"),
        (".well-known/x", "known"),
        ("Procfile", "worker: true\n"),
    ]);
    std::os::unix::fs::symlink("/etc/hostname", app.join("out")).unwrap();
    commit(&app, &[]);
    let container = world.container();
    let push = world.push_into(&container, &app, &["main"]);
    push.assert_ok();
    push.assert_line("-----> Static site app detected");
    let home = install_slug(&world, &container);
    let web = Web::start(&world, &home);

    assert!(web.get("/").ends_with("<p>home") && web.get("/").contains("text/html; charset=utf-8"));
    assert!(web.get("/a%20b.txt?x=1").ends_with("spaced"));
    assert!(web.get("/sub/").ends_with("<p>sub"));
    assert!(web.get("/.well-known/x").ends_with("known"));
    assert!(web.get("/sub").contains("Location: /sub/\r\n"));
    assert!(web.get("//example.test/..").starts_with("HTTP/1.1 404"));
    for path in [
        "/Procfile",
        "/./Procfile",
        "//Procfile",
        "/%50rocfile",
        "/.env",
        "/.openruko/static.py",
        "/.git/HEAD",
        "/empty/",
        "/nothing",
        "/../index.html",
        "/..%2f..%2fetc/passwd",
        "/out",
        "/x%00",
        "/%ff",
        "/.profile.d/",
    ] {
        let answer = web.get(path);
        assert_eq!(status(&answer), "404", "{path}: {answer}");
        assert!(answer.ends_with("<p>lost"), "{path}: {answer}");
    }
    let head = web.ask("HEAD / HTTP/1.1");
    assert!(status(&head) == "200" && head.ends_with("\r\n\r\n"), "{head}");
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    assert_eq!(status(&web.ask(&format!("GET / HTTP/1.1\r\nIf-None-Match: {tag}"))), "304");
    // Times in a slug mean nothing: a cache that asks by time gets the file.
    let by_time = web.ask("GET / HTTP/1.1\r\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT");
    assert!(status(&by_time) == "200" && !by_time.contains("Last-Modified"), "{by_time}");
    assert_eq!(status(&web.ask("POST / HTTP/1.1\r\nContent-Length: 0")), "501");
}

#[test]
fn a_static_site_may_name_its_directory() {
    let world = World::new();
    let app =
        world.app(&[("static.json", r#"{"root": "/dist/"}"#), ("dist/index.html", "<p>dist"), ("top", "x")]);
    let container = world.container();
    world.push_into(&container, &app, &["main"]).assert_line("-----> Serving the files of dist/");
    let home = install_slug(&world, &container);
    let web = Web::start(&world, &home);
    assert!(web.get("/").ends_with("<p>dist"));
    assert_eq!(status(&web.get("/top")), "404");
    assert_eq!(status(&web.get("/static.json")), "404");

    for (root, why) in [("../..", "not a directory of the app"), ("none", "is not there")] {
        commit(&app, &[("static.json", &format!(r#"{{"root": "{root}"}}"#))]);
        let push = world.push(&app, &["main"]);
        push.assert_refused();
        push.assert_contains(why);
    }
}

#[test]
fn the_first_buildpack_in_order_takes_an_app() {
    for (files, name) in [
        (&["package.json", "requirements.txt", "index.html", "Procfile"][..], "Node.js"),
        (&["requirements.txt", "index.html", "Procfile"], "Python"),
        // Rails brings a package.json, Laravel as well; a site in front of a program is the program's.
        (&["Gemfile", "package.json", "index.html"], "Ruby"),
        (&["pom.xml", "composer.json"], "Java"),
        (&["composer.json", "go.mod"], "PHP"),
        (&["index.php"], "PHP"),
        (&["go.mod", "Cargo.toml", "index.html"], "Go"),
        (&["Cargo.toml", "static.json"], "Rust"),
        (&["public/index.html", "Procfile"], "Static site"),
        (&["Procfile"], "Procfile"),
    ] {
        let world = World::new();
        for file in files {
            let path = world.path("app").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let out = world.container().run(&["detect", world.path("app").to_str().unwrap()]);
        let said = String::from_utf8(out.stdout).unwrap();
        assert_eq!(said.trim_end().split('\t').nth(1), Some(name));
    }
}

/// The PATH of a stack that has what every stack has, and no language.
fn poor_stack(world: &World) -> PathBuf {
    let path = world.path("poor");
    fs::create_dir(&path).unwrap();
    for program in
        ["basename", "bash", "cat", "cp", "cut", "dirname", "env", "head", "mkdir", "rm", "sed", "sh", "tr"]
    {
        std::os::unix::fs::symlink(format!("/usr/bin/{program}"), path.join(program)).unwrap();
    }
    path
}

#[test]
fn a_stack_without_the_language_says_what_to_install() {
    let world = World::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../buildpacks");
    let path = poor_stack(&world);
    let app =
        world.app(&[("pom.xml", ""), ("Gemfile", ""), ("go.mod", ""), ("Cargo.toml", ""), ("index.php", "")]);
    for (buildpack, first_line) in [
        (
            "ruby",
            " !     This stack has no Ruby (ruby is missing): install ruby and ruby-bundler on the node, or use a stack",
        ),
        ("go", " !     This stack has no Go (go is missing): install golang-go on the node, or use a stack"),
        (
            "rust",
            " !     This stack has no Rust (cargo is missing): install cargo (or cargo-web, which is newer) on the node, or use a stack",
        ),
        ("php", " !     This stack has no PHP (php is missing): install php-cli on the node, or use a stack"),
        (
            "java",
            " !     This stack has no Java (java is missing): install default-jdk-headless on the node, or use a stack",
        ),
    ] {
        let mut compile = Command::new(shipped.join(buildpack).join("bin/compile"));
        compile.args([&app, &world.path("cache"), &world.path("env")]).env_clear().env("PATH", &path);
        let out = compile.output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{buildpack}: {said}");
        assert_eq!(said.lines().collect::<Vec<_>>(), [first_line, " !     that has it."], "{buildpack}");
        assert!(out.stdout.is_empty());
    }
}

#[test]
fn buildpacks_that_share_a_script_have_the_same() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../buildpacks");
    let script = |buildpack: &str| {
        let text = fs::read_to_string(shipped.join(buildpack).join("lib/env.sh")).unwrap();
        // Which names are kept from config vars differs with the language.
        text.lines().filter(|line| !line.starts_with("denied=")).map(str::to_owned).collect::<Vec<_>>()
    };
    let all = script("ruby");
    for buildpack in ["go", "rust", "php", "java"] {
        assert_eq!(script(buildpack), all, "{buildpack}");
    }
    assert!(all.starts_with(&script("nodejs")) && all.starts_with(&script("python")));
}
