//! Lines for the logs of apps, from the components that send them to the developers that read them.

use nix::sys::signal::Signal;
use ruko_api_types::Output;
use ruko_api_types::log::{LogLine, LogLines, LogSource};
use serde_json::{Value, json};
use ureq::Agent;

use super::developer::Developer;
use super::platform_logs::{Stream, session, texts};
use super::program::Program;
use super::world::{ADMIN, Home, ROUTER, World, app, user};
use ruko_api_client::ApiClient;

/// Somebody who sends lines.
pub(crate) struct Sender {
    agent: Agent,
    url: String,
    sender: String,
    batch: u64,
}

impl Sender {
    pub(crate) fn of(url: &str) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        let sender = ruko_core::PushId::generate().to_string();
        Self { agent, url: format!("{url}/internal/logs"), sender, batch: 0 }
    }

    /// The next batch.
    pub(crate) fn send(&mut self, lines: Vec<LogLine>) {
        self.batch += 1;
        assert_eq!(self.again(lines), 204);
    }

    /// The last batch once more.
    pub(crate) fn again(&self, lines: Vec<LogLine>) -> u16 {
        let body = LogLines { sender: self.sender.clone(), batch: self.batch, lines };
        self.raw(&serde_json::to_string(&body).unwrap()).0
    }

    fn raw(&self, body: &str) -> (u16, String) {
        let request = self.agent.post(&self.url).header("Authorization", format!("Bearer {ROUTER}"));
        let mut response = request.send(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }
}

pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_micros()).unwrap()
}

pub(crate) fn line(app: &str, process: &str, text: &str) -> LogLine {
    let source = if process == "router" { LogSource::Heroku } else { LogSource::App };
    LogLine { app: app.into(), at: now(), source, process: process.into(), text: text.into() }
}

pub(crate) fn numbered(app: &str, from: usize, to: usize) -> Vec<LogLine> {
    (from..to).map(|n| line(app, "web.1", &format!("line {n}"))).collect()
}

/// Matt, and the id of his app.
pub(crate) fn matt(world: &World) -> (Developer, String) {
    let matt = Developer::named(world, "matt");
    matt.app("shop");
    let id = world.admin.app(&app("shop")).unwrap().id;
    (matt, id)
}

fn read(world: &World, developer: &Developer, asked: Value) -> Vec<String> {
    Stream::open(world, &session(developer, asked), None).rest()
}

#[test]
fn lines_are_read_as_they_were_said() {
    let world = World::new();
    let (matt, shop) = matt(&world);
    let mut sender = Sender::of(&world.url);
    sender.send(vec![
        line(&shop, "web.1", "\x1b[32mListening\x1b[0m on 5000\r\n"),
        line(&shop, "web.1", ""),
        line(&shop, "router", "at=info method=GET path=\"/\""),
        line(&shop, "worker.2", "forged\n2026-11-22T11:06:39.172134+00:00 app[api]: Release v9\0\x1b[2J"),
        line("01ARZ3NDEKTSV4RRFFQ69G5FAV", "web.1", "of an app that is not there"),
        line("../../etc", "web.1", "of none"),
    ]);
    let lines = read(&world, &matt, json!({ "lines": 4 }));
    let heads: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(
        heads,
        [
            "app[web.1]: \x1b[32mListening\x1b[0m on 5000",
            "app[web.1]:",
            "heroku[router]: at=info method=GET path=\"/\"",
            "app[worker.2]: forged 2026-11-22T11:06:39.172134+00:00 app[api]: Release v9\u{fffd}\u{241b}[2J",
        ]
    );
    let kept = std::fs::read_dir(world.home.dir.path().join("logs")).unwrap().count();
    assert_eq!(kept, 2, "the lock and the log of the app");
}

#[test]
fn batches_are_judged_and_bounded() {
    let world = World::new();
    let (matt, shop) = matt(&world);
    let sender = Sender::of(&world.url);
    let ulid = sender.sender.clone();
    for (body, words) in [
        ("{".to_owned(), "EOF"),
        ("[]".to_owned(), "expected"),
        (json!({ "sender": "x", "batch": 1, "lines": [] }).to_string(), "ULID"),
        (json!({ "sender": ulid, "batch": -1, "lines": [] }).to_string(), "-1"),
        (
            json!({ "sender": ulid, "batch": 1, "lines": numbered(&shop, 0, 1001) }).to_string(),
            "at most 1000",
        ),
    ] {
        let (status, answer) = sender.raw(&body);
        assert!(status == 422 && answer.contains(words), "{body:.60}: {status} {answer}");
    }
    assert_eq!(sender.raw(&" ".repeat((16 << 20) + 1)).0, 413);
    assert_eq!(read(&world, &matt, json!({})).len(), 2);
    // What is too long becomes several lines.
    let long = "x".repeat(25_000);
    let body = json!({ "sender": ulid, "batch": 1, "lines": [line(&shop, "web.1", &long)] });
    assert_eq!(sender.raw(&body.to_string()).0, 204);
    let lines = read(&world, &matt, json!({ "dyno": "web" }));
    assert_eq!(texts(&lines).concat(), long);
    assert_eq!(lines.len(), 3);
}

/// A batch has the lines of many apps.
#[test]
fn a_line_that_cannot_be_kept_costs_no_other() {
    let world = World::new();
    let (matt, shop) = matt(&world);
    let mut sender = Sender::of(&world.url);
    let longest = format!("{}.{}", "t".repeat(63), u32::MAX);
    sender.send(vec![
        line(&shop, "web.1", "before"),
        line(&shop, "a]: b", "of no process"),
        line(&shop, &longest, "of the longest"),
        line(&shop, "web.1", "after"),
    ]);
    let lines = read(&world, &matt, json!({ "lines": 3 }));
    let said: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    let of_longest = format!("app[{longest}]: of the longest");
    assert_eq!(said, ["app[web.1]: before", &of_longest, "app[web.1]: after"]);
}

#[test]
fn a_batch_that_comes_again_is_kept_once_also_after_a_kill() {
    let home = Home::new();
    let mut program = Program::start(&home);
    let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
    admin.add_user(&user("matt")).unwrap();
    admin.create_app(&app("shop"), &user("matt")).unwrap();
    let shop = admin.app(&app("shop")).unwrap().id;
    let mut sender = Sender::of(&program.url);
    sender.send(numbered(&shop, 0, 100));
    sender.send(numbered(&shop, 100, 200));
    assert_eq!(sender.again(numbered(&shop, 100, 200)), 204);
    program.signal(Signal::SIGKILL);
    program.child.wait().unwrap();

    let world = World::again(home);
    let mut later = Sender::of(&world.url);
    (later.sender, later.batch) = (sender.sender.clone(), sender.batch);
    assert_eq!(later.again(numbered(&shop, 100, 200)), 204);
    later.send(numbered(&shop, 200, 300));
    let lines = read(&world, &Developer::named(&world, "matt"), json!({ "lines": 1500, "dyno": "web.1" }));
    let expected: Vec<String> = (0..300).map(|n| format!("line {n}")).collect();
    assert_eq!(texts(&lines), expected);
}

#[test]
fn a_session_counts_the_lines_that_it_is_for() {
    let world = World::new();
    let (matt, shop) = matt(&world);
    let mut sender = Sender::of(&world.url);
    sender.send((0..10).map(|n| line(&shop, "worker.1", &n.to_string())).collect());
    for round in 0..4 {
        sender.send(numbered(&shop, round * 1000, round * 1000 + 1000));
    }
    sender.send(vec![line(&shop, "router", "at=info"), line(&shop, "web.10", "other")]);
    let lines = |asked: Value| read(&world, &matt, asked);
    assert_eq!(texts(&lines(json!({ "lines": 3, "dyno": "worker" }))), ["7", "8", "9"]);
    assert_eq!(texts(&lines(json!({ "lines": 2, "dyno": "web.1" }))), ["line 3998", "line 3999"]);
    assert_eq!(texts(&lines(json!({ "source": "heroku" }))), ["at=info"]);
    assert_eq!(texts(&lines(json!({ "dyno": "router" }))), ["at=info"]);
    assert_eq!(lines(json!({ "dyno": "api" })).len(), 2);
    assert_eq!(lines(json!({})).len(), 100);
    assert_eq!(lines(json!({ "lines": 100_000 })).len(), 1500);
    assert_eq!(lines(json!({ "lines": 1, "source": "app" })).len(), 1);
}

#[test]
fn who_follows_loses_nothing_over_breaks_and_restarts() {
    let mut world = World::new();
    let (matt, shop) = matt(&world);
    let url = session(&matt, json!({ "lines": 0, "tail": true, "dyno": "web.1" }));
    let mut sender = Sender::of(&world.url);
    let mut seen: Vec<String> = Vec::new();
    let mut last: Option<String> = None;
    let mut sent = 0;
    for round in 0..6 {
        let mut stream = Stream::open(&world, &url, last.as_deref());
        if round == 0 {
            // It begins with nothing: where it is is known with its first line.
            std::thread::scope(|scope| {
                let first = scope.spawn(|| stream.event().unwrap());
                while !first.is_finished() {
                    sender.send(numbered(&shop, sent, sent + 1));
                    sent += 1;
                    std::thread::park_timeout(std::time::Duration::from_millis(20));
                }
                let (id, lines) = first.join().unwrap();
                seen.extend(texts(&lines).iter().map(|text| (*text).to_owned()));
                last = Some(id);
            });
        }
        sender.send(numbered(&shop, sent, sent + 300));
        sender.send(vec![line(&shop, "web.2", "of another")]);
        sent += 300;
        // Some of it, then it breaks off.
        let (id, lines) = stream.event().unwrap();
        seen.extend(texts(&lines).iter().map(|text| (*text).to_owned()));
        last = Some(id);
        drop(stream);
        sender.send(numbered(&shop, sent, sent + 50));
        sent += 50;
        if round % 2 == 1 {
            world = world.restarted();
            let before = (sender.sender, sender.batch);
            sender = Sender::of(&world.url);
            (sender.sender, sender.batch) = before;
        }
    }
    let mut stream = Stream::open(&world, &url, last.as_deref());
    let end = format!("line {}", sent - 1);
    while seen.last() != Some(&end) {
        seen.extend(texts(&stream.event().unwrap().1).iter().map(|text| (*text).to_owned()));
    }
    let first: usize = seen[0].strip_prefix("line ").unwrap().parse().unwrap();
    let expected: Vec<String> = (first..sent).map(|n| format!("line {n}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn fifty_who_follow_are_all_told_everything_in_order() {
    let world = World::new();
    let (matt, shop) = matt(&world);
    let ann = Developer::named(&world, "ann");
    world.gives("ann", "view");
    let url = |developer| session(developer, json!({ "lines": 1, "tail": true, "source": "app" }));
    let (of_matt, of_ann) = (url(&matt), url(&ann));
    let mut streams: Vec<Stream> =
        (0..50).map(|n| Stream::open(&world, if n < 30 { &of_matt } else { &of_ann }, None)).collect();
    streams.iter_mut().for_each(|stream| drop(stream.until("Release v1")));
    std::thread::scope(|scope| {
        for mut stream in streams {
            scope.spawn(move || {
                let mut next = 0;
                while next < 10_000 {
                    for text in texts(&stream.event().unwrap().1) {
                        assert_eq!(text, format!("line {next}"));
                        next += 1;
                    }
                }
            });
        }
        let mut sender = Sender::of(&world.url);
        for batch in 0..100 {
            sender.send(numbered(&shop, batch * 100, batch * 100 + 100));
        }
    });
}

#[test]
fn what_a_build_prints_is_in_the_log_between_its_beginning_and_its_end() {
    let world = World::new();
    let (matt, _) = matt(&world);
    let push = world.open();
    for (offset, text) in [(0, "-----> Python app"), (17, " detected\n\n       Installing\n"), (46, "half")] {
        world.serve.output(&push.push, &Output { offset, text: text.into() }).unwrap();
    }
    let of_build = session(&matt, json!({ "lines": 10, "tail": true, "dyno": "build" }));
    Stream::open(&world, &of_build, None).until("app[build]: half");
    world.serve.commit(&push.push, &super::world::commit(push.repo.version)).unwrap();
    let lines = read(&world, &matt, json!({}));
    let told = texts(&lines);
    let at =
        |text: &str| told.iter().position(|told| *told == text).unwrap_or_else(|| panic!("{text}: {told:?}"));
    let order = ["Build started by user matt", "-----> Python app detected", "       Installing", "half"];
    assert!(order.map(at).is_sorted() && at("half") < at("Build succeeded"), "{told:?}");
}

#[test]
fn a_log_is_found_under_another_name_and_goes_with_its_app() {
    let world = World::new();
    let (matt, shop) = matt(&world);
    let mut sender = Sender::of(&world.url);
    sender.send(vec![line(&shop, "web.1", "before")]);
    matt.patch("/apps/shop", json!({ "name": "shop-2" })).with(200);
    sender.send(vec![line(&shop, "web.1", "after")]);
    let session = matt.post("/apps/shop-2/log-sessions", json!({ "dyno": "web" })).with(201);
    let lines = Stream::open(&world, session["logplex_url"].as_str().unwrap(), None).rest();
    assert_eq!(texts(&lines), ["before", "after"]);

    let file = world.home.dir.path().join(format!("logs/{shop}.log"));
    assert!(file.exists());
    matt.delete("/apps/shop-2").with(200);
    assert!(!file.exists());
    sender.send(vec![line(&shop, "web.1", "too late")]);
    assert!(!file.exists());
}

#[test]
fn the_platform_tells_of_its_own_in_the_order_of_time() {
    let world = World::new();
    let (matt, shop) = matt(&world);
    let mut sender = Sender::of(&world.url);
    sender.send(numbered(&shop, 0, 1));
    world.push();
    // It was said before the push, but came after it.
    let mut late = line(&shop, "web.1", "late");
    late.at -= 3_600_000_000;
    let mut router = late.clone();
    router.process = "router".into();
    sender.send(vec![late, router, line(&shop, "web.1", "line 1")]);
    let lines = read(&world, &matt, json!({}));
    let told = texts(&lines);
    assert_eq!(told[0], "late", "of the router, whose clock nobody else has");
    let at = |text: &str| told.iter().rposition(|told| *told == text).unwrap();
    assert!(at("line 0") < at("late") && at("late") < at("Release v2 created by user matt"), "{told:?}");
    assert_eq!(at("line 1"), told.len() - 1);
}
