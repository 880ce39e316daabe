//! A real container, and what it can do: are names resolved there, is the internet reached?

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ruko_core::config::Config;
use ruko_core::container::{MAX_LINE, Purpose, RunEvent, RunLimits, RunSpec};
use ruko_core::exit::one_line;
use ruko_core::{ContainerName, TemplateName};
use ruko_sys::Tool;

use super::finding::Seen;
use super::judge::Inside;

/// How long a container may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it lives at most, in seconds.
const LIFE: u64 = 60;
/// What it may use, at most.
const MEMORY: u64 = 256 << 20;
const DISK: u64 = 256 << 20;
const PIDS: u64 = 100;

/// Prints what works, a word a line. The name is `$1`, the URL `$2`.
const TRY: &str = "getent ahostsv4 \"$1\" >/dev/null && echo resolves; \
    curl --silent --show-error --max-time 20 --output /dev/null \"$2\" && echo reaches";

/// What builds are told to reach, if anything; otherwise a place that most of them reach.
pub(super) fn usual_url(env: &BTreeMap<String, String>) -> String {
    let mirrors =
        ["PIP_INDEX_URL", "NPM_CONFIG_REGISTRY"].into_iter().find_map(|name| env.get(name).cloned());
    mirrors.unwrap_or_else(|| "https://deb.debian.org/".to_owned())
}

/// The host in a URL.
fn host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (!host.is_empty()).then_some(host)
}

/// Starts a container as a push does and tries both in it.
pub(super) fn look(config: &Config, template: TemplateName, url: &str) -> Seen<Inside> {
    let command = config.serve().map_err(|why| why.to_string())?.container_command.clone();
    let host = host(url).ok_or_else(|| format!("`{url}` is no URL"))?;
    // This is root already.
    let command: Vec<String> =
        command.into_iter().skip_while(|word| word == "sudo" || word == "-n").collect();
    let [program, before_run @ .., _run] = &command[..] else {
        return Err("`container_command` of [serve] is too short".to_owned());
    };
    let name = ContainerName::generate("doctor");
    let _keeper = Keeper::start(&command, &spec(config, template, name.clone())?)?;
    let env = &config.build.env;
    let out = Command::new(program)
        .args(before_run)
        .args(["exec", name.as_str(), "--", "env"])
        .args(env.iter().map(|(name, value)| format!("{name}={value}")))
        .args(["sh", "-c", TRY, "try", host, url])
        .stdin(Stdio::null())
        .output()
        .map_err(|why| format!("cannot run `{program}`: {why}"))?;
    let said = String::from_utf8_lossy(&out.stdout);
    let has = |word: &str| said.lines().any(|line| line == word);
    let has_proxy = env.keys().any(|name| name.to_ascii_lowercase().ends_with("_proxy"));
    Ok(Inside { resolves: has("resolves"), reaches: has("reaches"), has_proxy })
}

fn spec(config: &Config, template: TemplateName, name: ContainerName) -> Seen<RunSpec> {
    let max = config.container().map_err(|why| why.to_string())?.max;
    let limits = RunLimits {
        seconds: Some(LIFE.min(max.build_seconds)),
        memory_bytes: MEMORY.min(max.memory_bytes),
        pids: PIDS.min(max.pids),
        disk_bytes: DISK.min(max.disk_bytes),
    };
    Ok(RunSpec { name, template, stack: None, purpose: Purpose::Login { client_key: key()? }, limits })
}

/// The public half of a key that nobody has: nobody is to log in.
fn key() -> Seen<String> {
    let dir = tempfile::tempdir().map_err(|why| why.to_string())?;
    let path = dir.path().join("key");
    let maker =
        Tool::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "doctor", "-f"]).arg(&path);
    maker.run().map_err(|why| one_line(&ruko_core::exit::chain(&why)))?;
    let public = std::fs::read_to_string(path.with_extension("pub")).map_err(|why| why.to_string())?;
    Ok(public.trim().to_owned())
}

/// `ruko-container run`, and with its stdin the container; dropped, both end.
struct Keeper(Child);

impl Keeper {
    /// Returns when the container answers.
    fn start(command: &[String], spec: &RunSpec) -> Seen<Self> {
        let failed = |why: std::io::Error| format!("cannot run `{}`: {why}", command[0]);
        let child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()
            .map_err(failed)?;
        let mut keeper = Self(child);
        let line = serde_json::to_string(spec).map_err(|why| why.to_string())?;
        let stdin = keeper.0.stdin.as_mut().ok_or("it has no stdin")?;
        writeln!(stdin, "{line}").map_err(failed)?;
        let stdout = keeper.0.stdout.take().ok_or("it has no stdout")?;
        match first_event(stdout) {
            Some(RunEvent::Ready { .. }) => Ok(keeper),
            Some(RunEvent::Failed { message, .. }) => Err(format!("no container can be started: {message}")),
            Some(_) => Err("the container ended at once".to_owned()),
            None => Err(format!("no container answered within {} seconds", READY_WITHIN.as_secs())),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn first_event(stdout: ChildStdout) -> Option<RunEvent> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = Vec::new();
        let read = BufReader::new(stdout.take(MAX_LINE as u64)).read_until(b'\n', &mut line);
        let _ = sender.send(read.ok().and_then(|_| serde_json::from_slice(&line).ok()));
    });
    receiver.recv_timeout(READY_WITHIN).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_found() {
        assert_eq!(host("https://deb.debian.org/x"), Some("deb.debian.org"));
        assert_eq!(host("http://user:pass@mirror.example:8080?x"), Some("mirror.example"));
        assert_eq!(host("mirror.example"), None);
    }

    #[test]
    fn a_mirror_of_builds_is_what_is_tried() {
        let mut env = BTreeMap::new();
        assert_eq!(usual_url(&env), "https://deb.debian.org/");
        env.insert("PIP_INDEX_URL".to_owned(), "http://mirror/simple".to_owned());
        assert_eq!(usual_url(&env), "http://mirror/simple");
    }
}
