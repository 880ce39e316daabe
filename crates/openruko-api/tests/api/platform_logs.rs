//! Logs at the Platform API.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use ruko_api_types::{Abort, Output};
use serde_json::{Value, json};
use ureq::Agent;

use super::developer::{Answer, Developer};
use super::world::{World, commit};

/// An open stream, line by line.
pub(crate) struct Stream(BufReader<ureq::BodyReader<'static>>);

impl Stream {
    /// Reads with no token, as the CLI does.
    pub(crate) fn open(world: &World, url: &str, last: Option<&str>) -> Self {
        let within = Some(Duration::from_secs(60));
        let agent: Agent = Agent::config_builder().timeout_global(within).build().into();
        let mut request = agent.get(at(world, url)).header("Accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.call().unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(BufReader::new(response.into_body().into_reader()))
    }

    /// The next event's id and lines; none at the end.
    pub(crate) fn event(&mut self) -> Option<(String, Vec<String>)> {
        let (mut id, mut lines) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("data", value)) => lines.push(value.to_owned()),
                None if !lines.is_empty() => return Some((id, lines)),
                _ => {}
            }
        }
    }

    /// Reads on to a line with these words.
    pub(crate) fn until(&mut self, words: &str) -> String {
        loop {
            let (id, lines) = self.event().unwrap_or_else(|| panic!("it ended without `{words}`"));
            if lines.iter().any(|line| line.contains(words)) {
                return id;
            }
        }
    }

    pub(crate) fn rest(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.event()).flat_map(|(_, lines)| lines).collect()
    }
}

fn at(world: &World, url: &str) -> String {
    url.replace("http://paas.test", &world.public_url)
}

pub(crate) fn session(developer: &Developer, asked: Value) -> String {
    let session = developer.post("/apps/shop/log-sessions", asked).with(201);
    session["logplex_url"].as_str().unwrap().to_owned()
}

pub(crate) fn texts(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split_once(": ").unwrap().1).collect()
}

/// Reads without a token.
fn anyone(world: &World, url: &str) -> Answer {
    let path = url.strip_prefix("http://paas.test").unwrap();
    Developer::with_token(world, "").send("GET", path, &[("Authorization", "")], b"")
}

#[test]
fn the_log_tells_of_releases_and_builds_and_ends() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    world.push();
    let failed = world.open();
    world.serve.abort(&failed.push, &Abort { reason: Some("no\nProcfile".into()) }).unwrap();
    let empty = world.open();
    world.serve.abort(&empty.push, &Abort { reason: None }).unwrap();

    let url = session(&matt, json!({ "lines": 100, "tail": false }));
    assert!(anyone(&world, &url).text.starts_with("retry: 1\n\n"));
    let lines = Stream::open(&world, &url, None).rest();
    let mut told = texts(&lines);
    // The release and the end of its build are of the same moment.
    told.sort_unstable();
    let mut expected = vec![
        "Initial release by user matt",
        "Release v1 created by user matt",
        "Build started by user matt",
        "Deploy cccccccc by user matt",
        "Release v2 created by user matt",
        "Build succeeded",
        "Build started by user matt",
        "Build failed: no; Procfile",
    ];
    expected.sort_unstable();
    assert_eq!(told, expected);
    let (stamp, rest) = lines[0].split_once(' ').unwrap();
    assert!(stamp.ends_with("+00:00") && stamp.len() == 32, "{stamp}");
    assert!(rest.starts_with("app[api]: "), "{rest}");
    let mut sorted = lines.clone();
    sorted.sort_by_key(|line| line.split(' ').next().unwrap().to_owned());
    assert_eq!(sorted, lines);

    let last = session(&matt, json!({ "lines": 1, "tail": false }));
    assert_eq!(texts(&Stream::open(&world, &last, None).rest()), ["Build failed: no; Procfile"]);
}

#[test]
fn who_follows_is_told_at_once_and_resumes_where_they_were() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let url = session(&matt, json!({ "lines": 10, "tail": true }));
    let mut stream = Stream::open(&world, &url, None);
    stream.until("Release v1");
    let push = world.open();
    let piece = Output { offset: 0, text: "-----> Building\n".into() };
    world.serve.output(&push.push, &piece).unwrap();
    let seen = stream.until("Build started");
    drop(stream);
    world.serve.commit(&push.push, &commit(push.repo.version)).unwrap();

    let mut again = Stream::open(&world, &url, Some(&seen));
    let (_, first) = again.event().unwrap();
    assert!(!first[0].contains("v1") && !first[0].contains("Build started"), "{first:?}");
    let mut rest = first.join("\n");
    while !(rest.contains("Release v2") && rest.contains("Build succeeded")) {
        rest.push_str(&again.event().unwrap().1.join("\n"));
    }
    matt.post("/apps/shop/acm", json!({})).with(200);
    world.push();
    again.until("Release v3");
}

#[test]
fn a_session_is_for_the_lines_that_were_asked_for() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let count = |asked: Value| Stream::open(&world, &session(&matt, asked), None).rest().len();
    assert_eq!(count(json!({})), 2);
    assert_eq!(count(json!({ "dyno": "api", "source": "app" })), 2);
    assert_eq!(count(json!({ "dyno": "web" })), 0);
    assert_eq!(count(json!({ "source": "heroku" })), 0);
    assert_eq!(count(json!({ "lines": 0 })), 0);
}

#[test]
fn a_stream_is_over_when_its_time_its_app_or_its_readers_right_is() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let ann = Developer::named(&world, "ann");
    assert_eq!(ann.post("/apps/shop/log-sessions", json!({})).refused().0, 404);
    world.gives("ann", "view");
    let of_ann = session(&ann, json!({ "tail": true }));
    let mut stream = Stream::open(&world, &of_ann, None);
    stream.until("Release v1");
    world.admin.remove_collaborator(&super::world::app("shop"), &super::world::user("ann")).unwrap();
    assert_eq!(stream.rest(), Vec::<String>::new());

    let of_matt = session(&matt, json!({ "tail": true }));
    let mut stream = Stream::open(&world, &of_matt, None);
    stream.until("Release v1");
    world.execute("UPDATE log_sessions SET expires_at = 1", &[]);
    assert_eq!(stream.rest(), Vec::<String>::new());
    let (status, id, _) = anyone(&world, &of_matt).refused();
    assert_eq!((status, id.as_str()), (404, "not_found"));
    assert_eq!(anyone(&world, "http://paas.test/streams/guess").refused().0, 404);

    let last = session(&matt, json!({ "tail": true }));
    let mut stream = Stream::open(&world, &last, None);
    stream.until("Release v1");
    matt.delete("/apps/shop").with(200);
    assert_eq!(stream.rest(), Vec::<String>::new());
}

#[test]
fn nobody_takes_every_place_of_those_who_read_logs() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let ann = Developer::named(&world, "ann");
    world.gives("ann", "view");
    let of_matt = session(&matt, json!({ "tail": true }));
    let mut held: Vec<Stream> = (0..32).map(|_| Stream::open(&world, &of_matt, None)).collect();
    let (status, id, _) = anyone(&world, &of_matt).refused();
    assert_eq!((status, id.as_str()), (429, "too_many_connections"));
    Stream::open(&world, &session(&ann, json!({ "tail": true })), None).until("Release v1");
    held.iter_mut().for_each(|stream| drop(stream.until("Release v1")));
}

#[test]
fn a_stream_ends_with_the_server() {
    let mut world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let mut stream = Stream::open(&world, &session(&matt, json!({ "tail": true })), None);
    stream.until("Release v1");
    world.stop();
    assert_eq!(stream.rest(), Vec::<String>::new());
}

#[test]
fn drains_are_kept_shown_and_removed_by_url_token_or_id() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let drains = "/apps/shop/log-drains";
    let urls = ["syslog+tls://logs.test:6514", "https://u:p@logs.test/in?x=1", "syslog://logs.test:514"];
    let mut added = Vec::new();
    for url in urls {
        added.push(matt.post(drains, json!({ "url": url })).with(201));
    }
    assert_eq!(matt.get(drains).with(200), json!(added));
    assert!(added[0]["token"].as_str().unwrap().starts_with("d."));
    let (_, _, message) = matt.post(drains, json!({ "url": urls[0] })).refused();
    assert!(message.contains("already"), "{message}");
    for bad in ["", "logs.test", "ftp://logs.test", "https://", "syslog://a b", "https://h/#x", "file:///x"] {
        let (status, _, message) = matt.post(drains, json!({ "url": bad })).refused();
        assert!(status == 422 && message.contains("syslog+tls://"), "{bad}: {message}");
    }
    let token = added[0]["token"].as_str().unwrap();
    let id = added[2]["id"].as_str().unwrap();
    for called in [token, "https%3A%2F%2Fu%3Ap%40logs.test%2Fin%3Fx%3D1", id] {
        let at = format!("{drains}/{called}");
        let shown = matt.get(&at).with(200);
        assert_eq!(matt.delete(&at).with(200), shown);
        assert_eq!(matt.delete(&at).refused().0, 404);
    }
    let ann = Developer::named(&world, "ann");
    assert_eq!(ann.get(drains).refused().0, 404);
    world.gives("ann", "deploy view");
    assert_eq!(ann.get(drains).refused().0, 403);
}
