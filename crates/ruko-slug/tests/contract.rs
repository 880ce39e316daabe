//! What buildpacks may rely on, and where they come from: the rules of Heroku's buildpack API beyond the plain case.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use world::{World, commit, git};

const APP: [(&str, &str); 1] = [("Procfile", "web: one\n")];

/// A buildpack that says its name, and that it was compiled.
fn named(name: &str) -> [(&'static str, String); 2] {
    [("bin/detect", format!("#!/bin/sh\necho {name}\n")), ("bin/compile", "#!/bin/sh\n".to_owned())]
}

fn buildpack(world: &World, name: &str) -> PathBuf {
    let files = named(name);
    let url = world.buildpack(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
    url.strip_prefix("file://").unwrap().into()
}

/// Serves the files below a directory over HTTP; below `/silent` it never answers.
fn web_server(dir: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut silent = vec![];
        for stream in listener.incoming().flatten() {
            let mut request = String::new();
            let _ = BufReader::new(&stream).read_line(&mut request);
            let path = request.split(['?', ' ']).nth(1).unwrap_or_default();
            if path.starts_with("/silent") {
                silent.push(stream);
            } else {
                let _ = answer(stream, fs::read(dir.join(path.trim_start_matches('/'))).ok());
            }
        }
    });
    url
}

fn answer(mut to: TcpStream, file: Option<Vec<u8>>) -> std::io::Result<()> {
    let (status, body) = match file {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", b"<html>gone</html>".to_vec()),
    };
    write!(to, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    to.write_all(&body)?;
    // What else the client said is read, or closing would throw away what it has not read yet.
    to.shutdown(std::net::Shutdown::Write)?;
    std::io::copy(&mut to, &mut std::io::sink()).map(drop)
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the repositories below a directory over git's own protocol.
fn git_daemon(dir: &Path) -> (String, Daemon) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut daemon = Command::new("git");
    daemon.args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"]);
    daemon.args([format!("--port={port}"), format!("--base-path={}", dir.display())]).arg(dir);
    daemon
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    let daemon = Daemon(daemon.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "git daemon listens");
        thread::yield_now();
    }
    (format!("git://127.0.0.1:{port}"), daemon)
}

const HTTPS: &str = r#"
import functools, http.server, ssl, sys
directory, certificate, key = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// Serves the files below a directory over HTTPS, with this certificate.
fn https_server(world: &World, dir: &Path) -> (String, PathBuf, Daemon) {
    let (certificate, key) = (world.path("cert.pem"), world.path("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    openssl.args(["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-out"]).arg(&certificate);
    let made = openssl.arg("-keyout").arg(&key).stderr(Stdio::null()).status().unwrap();
    assert!(made.success());
    let mut server = Command::new("/usr/bin/python3");
    server.args(["-c", HTTPS]).arg(dir).arg(&certificate).arg(&key).stdin(Stdio::null());
    let mut server = Daemon(server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (format!("https://127.0.0.1:{}", port.trim()), certificate, server)
}

/// Pushes a change of the app with this buildpack.
fn push_with(world: &World, app: &Path, buildpack: &str) -> world::Push {
    world.host.kept().config_vars = [("BUILDPACK_URL".to_owned(), buildpack.to_owned())].into();
    commit(app, &[]);
    world.push(app, &["main"])
}

#[test]
fn buildpacks_come_over_git_http_and_ssh_at_a_branch_a_tag_or_a_commit() {
    let world = World::new();
    let app = world.app(&APP);
    let source = buildpack(&world, "Old");
    let old = git(&source, &["rev-parse", "HEAD"]);
    git(&source, &["tag", "-a", "-m", "v1", "v1"]);
    git(&source, &["switch", "-q", "-c", "dev/x"]);
    commit(&source, &[("bin/detect", "#!/bin/sh\necho Dev\n")]);
    git(&source, &["switch", "-q", "main"]);
    commit(&source, &[("bin/detect", "#!/bin/sh\necho New\n")]);
    let bare = world.path("served/pack.git");
    git(&source, &["clone", "-q", "--bare", source.to_str().unwrap(), bare.to_str().unwrap()]);
    // What a web server without git needs to be cloned from; it can give no shallow clone.
    git(&bare, &["update-server-info"]);

    let (over_git, _daemon) = git_daemon(&world.path("served"));
    let over_http = web_server(world.path("served"));
    // The host says which ssh is used. This one is no ssh, and shows that git asks for the host and command it should.
    let ssh = world.path("ssh");
    let log = world.path("ssh.log");
    fs::write(
        &ssh,
        format!("#!/bin/sh\necho \"$@\" >>{}\nfor last; do :; done\neval \"$last\"\n", log.display()),
    )
    .unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let (over_https, certificate, _server) = https_server(&world, &world.path("served"));
    git(&source, &["archive", "-o", world.path("served/pack.tgz").to_str().unwrap(), "HEAD"]);
    let trusted = certificate.display().to_string();
    world.host.kept().env = [
        ("GIT_SSH_COMMAND".to_owned(), ssh.display().to_string()),
        ("GIT_SSL_CAINFO".to_owned(), trusted.clone()),
        ("CURL_CA_BUNDLE".to_owned(), trusted),
    ]
    .into();
    let over_ssh = format!("ssh://git@host.test:2222{}", world.path("served").display());

    for (base, revisions) in [
        (&over_git, [("", "New"), ("#dev/x", "Dev"), ("#v1", "Old"), (&format!("#{old}") as &str, "Old")]),
        (&over_http, [("", "New"), ("#dev/x", "Dev"), ("#v1", "Old"), (&format!("#{old}"), "Old")]),
        (&over_https, [("", "New"), ("#dev/x", "Dev"), ("#v1", "Old"), (&format!("#{old}"), "Old")]),
        (&over_ssh, [("", "New"), ("#dev/x", "Dev"), ("#v1", "Old"), (&format!("#{old}"), "Old")]),
    ] {
        for (revision, name) in revisions {
            let push = push_with(&world, &app, &format!("{base}/pack.git{revision}"));
            push.assert_ok();
            push.assert_line(&format!("-----> {name} app detected"));
        }
        let push = push_with(&world, &app, &format!("{base}/none.git"));
        push.assert_refused();
        push.assert_contains(&format!("cannot fetch the buildpack {base}/none.git").replace("git@", ""));
    }
    push_with(&world, &app, &format!("{over_https}/pack.tgz")).assert_line("-----> New app detected");
    assert!(fs::read_to_string(log).unwrap().contains("-p 2222 git@host.test git-upload-pack"));
}

#[test]
fn a_tarball_comes_over_http_or_its_failure_is_said_in_curls_words() {
    let world = World::new();
    let app = world.app(&APP);
    let source = buildpack(&world, "Tar");
    let served = world.path("served");
    fs::create_dir(&served).unwrap();
    git(&source, &["archive", "-o", served.join("b.tgz").to_str().unwrap(), "HEAD"]);
    let evil = "import io, sys, tarfile\nt = tarfile.open(sys.argv[1], 'w:gz')\n\
                for n in ['bin/detect', 'bin/compile', '../../escaped']:\n  t.addfile(tarfile.TarInfo(n), io.BytesIO())\nt.close()";
    let made = Command::new("python3").args(["-c", evil]).arg(served.join("evil.tgz")).status().unwrap();
    assert!(made.success());
    fs::write(served.join("page.tgz"), "<html>login</html>").unwrap();
    let url = web_server(served);

    let push = push_with(&world, &app, &format!("{url}/b.tgz?token=hunter2hunter2"));
    push.assert_ok();
    push.assert_line(&format!("-----> Fetching the buildpack {url}/b.tgz"));
    push.assert_line("-----> Tar app detected");

    let refused = |file: &str, why: &str| {
        let push = push_with(&world, &app, &format!("{url}/{file}"));
        push.assert_refused();
        push.assert_contains(&format!("cannot fetch the buildpack {url}/"));
        push.assert_contains(why);
        assert!(!push.text.contains("hunter2"), "{}", push.text);
    };
    refused("none.tgz?token=hunter2hunter2", "The requested URL returned error: 404");
    refused("page.tgz", "gzip");
    refused("evil.tgz", "..");
    assert!(!world.path("escaped").exists());

    world.host.kept().env = [("CURL_TIMEOUT".to_owned(), "1".to_owned())].into();
    refused("silent.tgz", "Operation timed out after 1");
}

#[test]
fn submodules_of_a_buildpack_are_fetched_to_any_depth() {
    let world = World::new();
    let app = world.app(&APP);
    let add = |to: &Path, name: &str, from: &Path| {
        let from = format!("file://{}", from.display());
        git(to, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &from, name]);
    };
    let inner = buildpack(&world, "Inner");
    commit(&inner, &[("said.txt", "from below\n")]);
    let middle = buildpack(&world, "Middle");
    add(&middle, "inner", &inner);
    commit(&middle, &[]);
    let outer = buildpack(&world, "Outer");
    add(&outer, "middle", &middle);
    commit(&outer, &[("bin/compile", "#!/bin/sh\ncat \"${0%/*}/../middle/inner/said.txt\"\n")]);
    let (base, _daemon) = git_daemon(outer.parent().unwrap());
    let name = outer.file_name().unwrap().to_str().unwrap();
    let head = git(&outer, &["rev-parse", "HEAD"]);
    for url in [format!("{base}/{name}"), format!("{base}/{name}#{head}"), format!("{base}/{name}#main")] {
        let push = push_with(&world, &app, &url);
        push.assert_ok();
        push.assert_line("from below");
    }
}

#[test]
fn a_buildpack_has_a_copy_of_its_own_for_each_build() {
    let world = World::new();
    let app = world.app(&APP);
    let url = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Own\n"),
        (
            "bin/compile",
            "#!/bin/sh\ncd \"${0%/*}/..\"\n[ -e mine ] && echo old\necho new >mine && cat mine\n",
        ),
        // Without the execute bit.
        ("bin/release", "echo 'default_process_types: {console: sh}'\n"),
    ]);
    for _ in 0..2 {
        let push = push_with(&world, &app, &url);
        push.assert_ok();
        push.assert_line("new");
        assert!(!push.lines.iter().any(|line| line == "old"), "{}", push.text);
    }
}

#[test]
fn scripts_without_the_execute_bit_are_run() {
    let world = World::new();
    let app = world.app(&APP);
    let dir = buildpack(&world, "Plain");
    commit(
        &dir,
        &[
            ("bin/release", "#!/bin/sh\necho 'default_process_types: {console: sh}'\n"),
            ("bin/report", "#!/bin/sh\necho plain\n"),
        ],
    );
    git(&dir, &["update-index", "--chmod=-x", "bin/detect", "bin/compile", "bin/release", "bin/report"]);
    git(&dir, &["commit", "-q", "-m", "modes"]);
    git(&dir, &["checkout", "-q", "--force", "HEAD"]);
    let push = push_with(&world, &app, &format!("file://{}", dir.display()));
    push.assert_ok();
    push.assert_line("       Default types for Plain     -> console");
    assert!(world.host.kept().output.contains("Plain reports: plain"));
}

#[test]
fn reports_are_kept_in_the_record_however_the_build_went() {
    let world = World::new();
    let app = world.app(&APP);
    let report = "#!/bin/bash\n[ -z \"$EXPORTED\" ] || exit 1\n[ -d \"$1\" ] && [ -d \"$2\" ] && [ -d \"$3\" ] && echo \"{\\\"seen\\\": \\\"$(cat \"$2/seen\")\\\"}\"\n";
    let with = |name: &str, last_line: &str, report: &str| {
        world.buildpack(&[
            ("bin/detect", &format!("#!/bin/sh\necho {name}\n")),
            ("bin/compile", &format!("#!/bin/sh\necho {name} >\"$2/seen\"\necho 'export EXPORTED=1' >\"${{0%/*}}/../export\"\n{last_line}\n")),
            ("bin/report", report),
        ])
    };
    let first = with("First", "true", report);
    let broken = with("Broken", "exit 1", report);
    let mute = with("Mute", "true", "#!/bin/sh\necho secret-less >&2\nexit 3\n");
    world.host.kept().buildpacks = vec![first.clone(), mute];
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    world.host.kept().buildpacks = vec![first, broken];
    commit(&app, &[]);
    let refused = world.push(&app, &["main"]);
    refused.assert_refused();
    assert!(!push.text.contains("reports") && !refused.text.contains("reports"), "{}", push.text);
    let record = world.host.kept().output.clone();
    for line in [
        "       First reports: {\"seen\": \"Mute\"}\n",
        "       Mute reports nothing: bin/report failed (exit status: 3)\n",
        "       First reports: {\"seen\": \"Broken\"}\n",
        "       Broken reports: {\"seen\": \"Broken\"}\n",
    ] {
        assert!(record.contains(line), "{line} of {record}");
    }
}

#[test]
fn exports_accumulate_and_concern_later_buildpacks_alone() {
    let world = World::new();
    let app = world.app(&APP);
    let with = |name: &str, export: &str| {
        let compile = format!(
            "#!/bin/bash\necho \"{name} sees $PATH, $SEEN\"\ncat >\"${{0%/*}}/../export\" <<'END'\n{export}\nEND\n"
        );
        let release = "#!/bin/bash\n[ -z \"$SEEN\" ] || exit 1\n";
        world.buildpack(&[
            ("bin/detect", &format!("#!/bin/sh\necho {name}\n")),
            ("bin/compile", &compile),
            ("bin/release", release),
        ])
    };
    let list = vec![
        with("One", "export PATH=\"/one/bin:$PATH\"\nexport SEEN=\"$SEEN$NOT_THERE,one\""),
        // As careless ones are: it prints, it fails, it leaves.
        with("Two", "echo noise\nset -u\nexport PATH=\"/two/bin:$PATH\" SEEN=\"$SEEN,two\"\nfalse\nexit 3"),
        with("Three", "export SEEN=never"),
    ];
    world.host.kept().buildpacks = list;
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    let first = &push.lines[push.position("One sees")];
    assert!(!first.contains("/one/bin") && first.ends_with(','), "{first}");
    assert!(push.lines[push.position("Two sees")].starts_with("Two sees /one/bin:/usr"), "{}", push.text);
    let third = &push.lines[push.position("Three sees")];
    assert!(
        third.starts_with("Three sees /two/bin:/one/bin:/usr") && third.ends_with(", ,one,two"),
        "{third}"
    );
    assert!(!push.text.contains("noise"), "{}", push.text);
}

#[test]
fn the_build_directory_may_be_emptied_or_made_anew() {
    let world = World::new();
    let app =
        world.app(&[("Procfile", "web: one\n"), ("sub/Procfile", "web: from sub\n"), ("sub/app.txt", "x")]);
    let moving = "#!/bin/sh\nset -e\ncd /\nmv \"$1/sub\" \"$2/kept\"\nrm -rf \"$1\"\nmkdir \"$1\"\ncp -r \"$2/kept/.\" \"$1\"\n";
    let url = world.buildpack(&[("bin/detect", "#!/bin/sh\necho Sub\n"), ("bin/compile", moving)]);
    push_with(&world, &app, &url).assert_ok();
    let manifest = world.host.kept().commits[0].manifest.clone().unwrap();
    assert_eq!(manifest.process_types[&"web".parse().unwrap()], "from sub");
    assert!(world.slug_entries().iter().any(|entry| entry == "./app/app.txt"));

    let gone = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Gone\n"),
        ("bin/compile", "#!/bin/sh\ncd /\nrm -rf \"$1\"\n"),
    ]);
    let push = push_with(&world, &app, &gone);
    push.assert_refused();
    push.assert_contains(" !     ");
}

#[test]
fn several_buildpacks_that_take_an_app_are_listed_and_the_first_is_used() {
    let world = World::new();
    let app = world.app(&[("requirements.txt", ""), ("index.html", "<p>"), ("Procfile", "web: x\n")]);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line(
        " !     Several buildpacks take this app: python, static. The first of them, python, is used.",
    );
    push.assert_line("-----> Python app detected");
}

#[test]
fn what_detect_and_release_said_is_shown_when_the_push_fails_for_it() {
    let world = World::new();
    let app = world.app(&APP);
    let no = "#!/bin/sh\nprintf '\\n  Error: no setup.cfg\\n    in the top directory.\\n' >&2\nexit 1\n";
    let url = world.buildpack(&[("bin/detect", no), ("bin/compile", "#!/bin/sh\n")]);
    let push = push_with(&world, &app, &url);
    push.assert_refused();
    push.assert_line("         Error: no setup.cfg");
    push.assert_line("           in the top directory.");
    push.assert_contains("does not recognise the app.");

    let release = "#!/bin/sh\necho 'default_process_types: {web: x}'\necho 'no manifest' >&2\nexit 4\n";
    let url = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Bad\n"),
        ("bin/compile", "#!/bin/sh\n"),
        ("bin/release", release),
    ]);
    let push = push_with(&world, &app, &url);
    push.assert_refused();
    push.assert_line("       no manifest");
    push.assert_contains("Push rejected, failed to compile Bad app: bin/release failed (exit status: 4)");
}

#[test]
fn output_keeps_its_indentation_backslashes_and_order() {
    let world = World::new();
    let app = world.app(&APP);
    let compile = "#!/bin/bash\necho '-----> Step'\necho '       a'\necho '         \\n nested \\t' >&2\n\
                   printf '       \\033[1;31mred\\033[0m\\r\\n'\necho ' !     warned' >&2\necho '=====> Heading'\nprintf 'last, without an end'\n";
    let url = world.buildpack(&[("bin/detect", "#!/bin/sh\necho Out\n"), ("bin/compile", compile)]);
    let push = push_with(&world, &app, &url);
    push.assert_ok();
    let begin = push.position("-----> Step");
    assert_eq!(
        push.lines[begin..][..7],
        [
            "-----> Step",
            "       a",
            "         \\n nested \\t",
            "       \u{1b}[1;31mred\u{1b}[0m",
            " !     warned",
            "=====> Heading",
            "last, without an end",
        ],
        "{}",
        push.text
    );
}

#[test]
fn what_a_build_leaves_running_is_ended_and_said() {
    let world = World::new();
    let app = world.app(&APP);
    let compile = "#!/bin/bash\nsetsid bash -c 'trap \"\" TERM HUP; exec -a left-behind sleep 600' &\nnohup sleep 600 &\necho done\n";
    let url = world.buildpack(&[("bin/detect", "#!/bin/sh\necho Daemon\n"), ("bin/compile", compile)]);
    let push = push_with(&world, &app, &url);
    push.assert_ok();
    push.assert_line("       Stopped processes that the buildpack left running: 2");
}
