//! The real program, met by real git clients. openruko-serve is a script that runs git in a repository
//! beside it, the API a mock.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::fs;
use std::io::{Read, Write};

use world::{GITS, Repo, World, eventually};

#[test]
fn every_git_pushes_and_clones_in_every_protocol() {
    for git in GITS {
        for version in ["0", "1", "2"] {
            let world = World::new();
            let repo = Repo::new(&world, git);
            repo.commit("file", "one");
            let protocol = format!("protocol.version={version}");
            let pushed = repo.git(&["-c", &protocol, "push", &world.remote("good", "shop"), "main"]);
            assert!(pushed.ok, "{git} {version}: {}", pushed.said);
            let into = world.dir().join("clone");
            let cloned = repo.git(&[
                "-c",
                &protocol,
                "clone",
                "-q",
                &world.remote("good", "shop"),
                into.to_str().unwrap(),
            ]);
            assert!(cloned.ok, "{git} {version}: {}", cloned.said);
            assert_eq!(fs::read_to_string(into.join("file")).unwrap(), "one");
            let started = world.seen("started");
            assert!(started.contains("--advertise ada git-receive-pack 'shop.git'"), "{started}");
            assert!(started.contains("--stateless-rpc ada git-upload-pack 'shop.git'"), "{started}");
            assert_eq!(started.contains("version=2"), version == "2", "{started}");
        }
    }
}

#[test]
fn a_large_push_comes_in_chunks_and_a_probe_starts_nothing() {
    for git in GITS {
        let world = World::new();
        let repo = Repo::new(&world, git);
        repo.commit_noise(5 << 20);
        let trace = world.dir().join("trace");
        let mut push = repo.command(&["-c", "http.postBuffer=65536", "push"]);
        push.arg(world.remote("good", "shop")).arg("main").env("GIT_TRACE_CURL", &trace);
        let pushed = world::run(&mut push);
        assert!(pushed.ok, "{git}: {}", pushed.said);
        let trace = fs::read_to_string(trace).unwrap().to_lowercase();
        assert!(trace.contains("transfer-encoding: chunked") && trace.contains("content-length: 4"));
        assert_eq!(world.seen("started").lines().count(), 2, "{}", world.seen("started"));
        assert_eq!(repo.head(), world.served("rev-parse", &["main"]));
    }
}

#[test]
fn a_long_negotiation_is_packed() {
    for git in GITS {
        let world = World::new();
        let repo = Repo::new(&world, git);
        (0..40).for_each(|n| repo.commit("file", &n.to_string()));
        assert!(repo.git(&["push", &world.remote("good", "shop"), "main"]).ok);
        repo.git(&["checkout", "-q", "-b", "other"]);
        (0..60).for_each(|n| repo.commit("other", &n.to_string()));
        world.serve_a_new_commit();
        let trace = world.dir().join("trace");
        let mut fetch = repo.command(&["fetch", &world.remote("good", "shop"), "main"]);
        let fetched = world::run(fetch.env("GIT_TRACE_CURL", &trace));
        assert!(fetched.ok, "{git}: {}", fetched.said);
        assert!(fs::read_to_string(trace).unwrap().to_lowercase().contains("content-encoding: gzip"));
    }
}

#[test]
fn a_credential_helper_is_asked_and_its_token_goes_nowhere_else() {
    for git in GITS {
        let world = World::new();
        let repo = Repo::new(&world, git);
        repo.commit("file", "one");
        let helper = "credential.helper=!f() { echo username=heroku; echo password=good; }; f";
        let pushed = repo.git(&["-c", helper, "push", &world.url("shop"), "main"]);
        assert!(pushed.ok, "{git}: {}", pushed.said);
        let refused = repo.git(&["push", &world.remote("wrong", "shop"), "main"]);
        assert!(!refused.ok && refused.said.contains("Authentication failed"), "{}", refused.said);
        let environment = world.seen("environment");
        assert!(environment.contains("SSH_ORIGINAL_COMMAND="));
        for trace in [environment, world.seen("started"), world.log()] {
            assert!(!trace.contains("good") && !trace.contains("wrong"), "{trace}");
        }
        let log = world.log();
        assert!(
            log.contains("service=\"git-receive-pack\" app=shop user=ada address=127.0.0.1 status=200"),
            "{log}"
        );
    }
}

#[test]
fn a_token_that_may_only_read_pushes_nothing() {
    for git in GITS {
        let world = World::new();
        let repo = Repo::new(&world, git);
        repo.commit("file", "one");
        assert!(repo.git(&["ls-remote", &world.remote("narrow", "shop")]).ok);
        let refused = repo.git(&["push", &world.remote("narrow", "shop"), "main"]);
        assert!(
            !refused.ok && refused.said.contains("It does not cover pushing."),
            "{git}: {}",
            refused.said
        );
    }
}

#[test]
fn a_stranger_learns_nothing_and_reads_it_in_words() {
    for git in GITS {
        let world = World::new();
        let repo = Repo::new(&world, git);
        repo.commit("file", "one");
        for app in ["secret", "nowhere"] {
            for call in [&["push", "URL", "main"][..], &["ls-remote", "URL"]] {
                let url = world.remote("good", app);
                let call: Vec<&str> =
                    call.iter().map(|word| if *word == "URL" { url.as_str() } else { word }).collect();
                let refused = repo.git(&call);
                assert!(!refused.ok);
                let expected = format!("There is no app {app} here that you may use.");
                assert!(refused.said.contains(&expected), "{git}: {}", refused.said);
                assert!(refused.said.contains("not found"), "{}", refused.said);
            }
        }
        assert_eq!(world.seen("started"), "");
    }
}

#[test]
fn nobody_is_let_in_because_the_api_could_not_be_asked() {
    let world = World::without_api();
    let repo = Repo::new(&world, GITS[0]);
    repo.commit("file", "one");
    let refused = repo.git(&["push", &world.remote("good", "shop"), "main"]);
    assert!(!refused.ok && refused.said.contains("503"), "{}", refused.said);
    assert!(refused.said.contains("The server cannot be asked at the moment"), "{}", refused.said);
    assert_eq!(world.seen("started"), "");
}

#[test]
fn too_many_wrong_tokens_are_told_in_the_apis_words() {
    let world = World::new();
    let repo = Repo::new(&world, GITS[0]);
    let refused = repo.git(&["ls-remote", &world.remote("throttled", "shop")]);
    assert!(refused.said.contains("Too many attempts") && refused.said.contains("429"), "{}", refused.said);
}

#[test]
fn a_refusal_of_openruko_serve_is_read_whenever_it_comes() {
    for git in GITS {
        let world = World::new();
        let repo = Repo::new(&world, git);
        repo.commit("file", "one");
        assert!(repo.git(&["push", &world.remote("good", "shop"), "main"]).ok);
        repo.commit_noise(3 << 20);
        let url = world.remote("good", "shop");
        let push = ["-c", "http.postBuffer=65536", "push", &url, "main"];

        world.refuse("--advertise", 75);
        let refused = repo.git(&push);
        assert!(!refused.ok && refused.said.contains("503"), "{git}: {}", refused.said);
        assert!(refused.said.contains("!     Ada is pushing; nothing was changed."), "{}", refused.said);

        world.refuse("--stateless-rpc", 75);
        let refused = repo.git(&push);
        assert!(!refused.ok);
        assert!(
            refused.said.contains("remote:  !     Ada is pushing; nothing was changed."),
            "{}",
            refused.said
        );
        assert!(refused.said.contains("remote:  !     Push again later."), "{}", refused.said);
        assert!(
            refused.said.contains("! [remote rejected] main -> main (nothing was changed)"),
            "{}",
            refused.said
        );

        for version in ["0", "2"] {
            let protocol = format!("protocol.version={version}");
            let into = world.dir().join("clone");
            let refused = repo.git(&["-c", &protocol, "clone", &url, into.to_str().unwrap()]);
            assert!(!refused.ok);
            let words = "remote error: Ada is pushing; nothing was changed.\nPush again later.";
            assert!(refused.said.contains(words), "{git} {version}: {}", refused.said);
        }
    }
}

#[test]
fn who_waits_is_told_so_at_once() {
    let world = World::new();
    let repo = Repo::new(&world, GITS[0]);
    repo.commit("file", "one");
    let release = world.say_and_wait("-----> Bob has been pushing for 3 seconds; waiting");
    let mut push = repo.begin(&["push", &world.remote("good", "shop"), "main"]);
    let mut stderr = push.stderr.take().unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("remote: -----> Bob has been pushing") {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    release();
    assert!(push.wait().unwrap().success());
}

#[test]
fn a_silent_build_keeps_the_connection_alive() {
    let world = World::new();
    let repo = Repo::new(&world, GITS[0]);
    repo.commit("file", "one");
    world.served("config", &["receive.keepAlive", "1"]);
    let release = world.hook_that_waits();
    let trace = world.dir().join("trace");
    let mut command = repo.command(&["push", &world.remote("good", "shop"), "main"]);
    let mut push = command.env("GIT_TRACE_CURL", &trace).spawn().unwrap();
    eventually(|| fs::read_to_string(&trace).unwrap_or_default().contains("0005."));
    release();
    assert!(push.wait().unwrap().success());
}

#[test]
fn a_git_that_breaks_off_does_not_leave_its_client_waiting() {
    for git in GITS {
        let world = World::new();
        let repo = Repo::new(&world, git);
        repo.commit("file", "one");
        world.break_off();
        let pushed = repo.git(&["push", &world.remote("good", "shop"), "main"]);
        assert!(!pushed.ok, "{}", pushed.said);
        assert!(pushed.said.contains("remote: building"), "{}", pushed.said);
        assert!(pushed.said.contains("remote:  !     The build was stopped"), "{}", pushed.said);
        for version in ["0", "2"] {
            let protocol = format!("protocol.version={version}");
            let fetched = repo.git(&["-c", &protocol, "fetch", &world.remote("good", "shop"), "main"]);
            assert!(!fetched.ok, "{}", fetched.said);
        }
    }
}

#[test]
fn a_request_above_the_bound_is_refused_and_the_bound_named() {
    for git in GITS {
        let world = World::with("max_request_bytes = 1000000");
        let repo = Repo::new(&world, git);
        repo.commit_noise(3 << 20);
        let push = |buffer: &str| {
            repo.git(&[
                "-c",
                &format!("http.postBuffer={buffer}"),
                "push",
                &world.remote("good", "shop"),
                "main",
            ])
        };
        let chunked = push("65536");
        assert!(!chunked.ok);
        assert!(chunked.said.contains("The request is larger than 1000000 bytes"), "{}", chunked.said);
        let whole = push("100000000");
        assert!(!whole.ok && whole.said.contains("413"), "{}", whole.said);
    }
}

#[test]
fn a_client_that_goes_away_takes_its_service_with_it() {
    let world = World::new();
    let head = |length: usize| {
        format!(
            "POST /shop.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\
             Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let request = format!("0068{id} {id} refs/heads/main\0side-band-64k0000", id = "0".repeat(40));
    world.chatter();
    for length in [request.len(), request.len() + 1000] {
        let before = world.seen("ended").lines().count();
        let mut stream = world.connect();
        stream.write_all(head(length).as_bytes()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 300];
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
        drop(stream);
        eventually(|| world.seen("ended").lines().count() > before);
    }
}

#[test]
fn a_body_is_not_asked_for_before_the_client_may_send_it() {
    let world = World::new();
    let ask = |token: &str, app: &str| {
        let mut stream = world.connect();
        let head = format!(
            "POST /{app}.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 4\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    assert_eq!(ask("good", "shop"), "100");
    assert_eq!(ask("good", "secret"), "404");
    assert_eq!(ask("wrong", "shop"), "401");
}

#[test]
fn what_is_not_git_is_told_so() {
    let world = World::new();
    let ask = |line: &str, headers: &str| {
        let mut stream = world.connect();
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let good = "Authorization: Basic eDpnb29k\r\n";
    for (line, headers, status, words) in [
        ("GET /", "", "404", "git repositories"),
        ("GET /shop.git/info/refs", good, "403", "dumb HTTP protocol"),
        ("GET /shop.git/HEAD", good, "403", "dumb HTTP protocol"),
        ("GET /shop.git/info/refs?service=git-upload-archive", good, "403", "git-upload-pack"),
        ("PUT /shop.git/git-upload-pack", good, "405", "POST"),
        ("GET /Shop/info/refs?service=git-upload-pack", good, "404", "No app can have this name"),
        ("POST /shop.git/git-upload-pack", good, "415", "application/x-git-upload-pack-request"),
        ("GET /shop.git/info/refs?service=git-upload-pack", "", "401", "token as the password"),
    ] {
        let answer = ask(line, headers);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
        assert!(answer.contains(words) && answer.contains("no-cache"), "{line}: {answer}");
        let challenge = "www-authenticate: basic realm=\"openruko\"";
        assert_eq!(answer.to_lowercase().contains(challenge), status == "401", "{answer}");
    }
    assert_eq!(world.seen("started"), "");
}

#[test]
fn tls_is_spoken() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name).display().to_string());
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let world = World::with(&format!("tls = {{ certificate = '{certificate}', key = '{key}' }}"));
    for git in GITS {
        let repo = Repo::new(&world, git);
        repo.commit(git, "one");
        let url = format!("https://heroku:good@localhost:{}/shop.git", world.port());
        let trust = format!("http.sslCAInfo={certificate}");
        let pushed = repo.git(&["-c", &trust, "push", "-f", &url, "main"]);
        assert!(pushed.ok, "{git}: {}", pushed.said);
        assert!(!repo.git(&["push", &url, "main"]).ok, "an unknown certificate is not trusted");
    }
}
