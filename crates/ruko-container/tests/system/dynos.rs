//! Dynos: what they see, how they end, what bounds them.

use std::io::{IoSlice, PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, io};

use ruko_core::container::{Purpose, RunEvent, RunLimits, RunRequest, RunSpec};
use ruko_core::dyno::DynoStart;
use ruko_core::names::ImageName;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::world::{ENDED, PATIENCE, Run, Site, copy, only_child};

mod bounds;
mod endings;
mod environment;
mod isolation;
mod many;
mod slugs;
mod terminal;

pub(crate) const LIMITS: RunLimits =
    RunLimits { seconds: None, memory_bytes: 128 << 20, pids: 64, disk_bytes: 64 << 20 };

/// An installation that can run dynos, with a slug.
pub(crate) struct Platform {
    pub(crate) site: Site,
    slug: ImageName,
}

impl Platform {
    pub(crate) fn new() -> Self {
        Self::with("slots = 240\n", &[("hello.txt", "hello\n")])
    }

    fn with(container: &str, files: &[(&str, &str)]) -> Self {
        let site = Site::with(container, "");
        let built = PathBuf::from(env!("CARGO_BIN_EXE_ruko-container")).with_file_name("ruko-dyno");
        assert!(built.exists(), "`cargo build --package ruko-dyno` comes first");
        copy(&built, &site.dir.join("tools/ruko-dyno"));
        let slug = image(&site, 'a', files);
        Self { site, slug }
    }

    pub(crate) fn spec(&self, name: &str, limits: RunLimits) -> RunSpec {
        RunSpec {
            name: name.parse().unwrap(),
            template: "openruko-dyno".parse().unwrap(),
            stack: None,
            purpose: Purpose::Dyno { image: self.slug.clone(), shares: 1 },
            limits,
        }
    }

    /// Starts a dyno, which then waits for what it is to run.
    #[track_caller]
    fn start(&self, name: &str, limits: RunLimits) -> Dyno<'_> {
        self.start_as(&self.spec(name, limits))
    }

    #[track_caller]
    pub(crate) fn start_as(&self, spec: &RunSpec) -> Dyno<'_> {
        let (stdin, input) = io::pipe().unwrap();
        let (output, stdout) = io::pipe().unwrap();
        let mut run = run(&self.site, spec, &[stdin.as_fd(), stdout.as_fd()]);
        drop((stdin, stdout));
        let event = run.event();
        let RunEvent::Started { address } = event else { panic!("{event:?}") };
        let name = spec.name.to_string();
        let slot = self.site.listed(&name)["slot"].as_u64().unwrap();
        Dyno {
            platform: self,
            name,
            run,
            address,
            slot,
            input: Some(input),
            output: Written::follow(output.into()),
        }
    }

    /// Starts a dyno and has it run something.
    #[track_caller]
    fn runs(&self, name: &str, what: DynoStart) -> Dyno<'_> {
        let mut dyno = self.start(name, LIMITS);
        dyno.tell(&what);
        dyno
    }

    /// What a command writes that ends with success.
    #[track_caller]
    fn says(&self, command: &str) -> String {
        let dyno = self.runs("says", line(command));
        let (ended, output) = dyno.end();
        assert_eq!(ended, done(0), "{command}: {output}");
        output
    }
}

/// A command with the environment that the platform gives at least.
pub(crate) fn line(command: &str) -> DynoStart {
    let env =
        [("HOME", "/app"), ("PATH", "/usr/local/bin:/usr/bin:/bin"), ("PORT", "5000"), ("DYNO", "web.1")];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    DynoStart { command: command.to_owned(), env, terminal: None, stdin: false }
}

/// The end of a dyno that nobody had to kill.
pub(crate) fn done(status: u8) -> RunEvent {
    RunEvent::Ended { status: Some(status), killed: false, out_of_memory: false }
}

/// Makes an image as openruko-host does: of files that belong to the dyno's user.
fn image(site: &Site, digit: char, files: &[(&str, &str)]) -> ImageName {
    let tree = site.dir.join(format!("tree-{digit}"));
    for (path, content) in files {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let name: ImageName = digit.to_string().repeat(64).parse().unwrap();
    let made = Command::new("mksquashfs")
        .arg(&tree)
        .arg(site.dir.join("slugs").join(name.as_str()))
        .args(["-quiet", "-no-progress", "-noappend", "-no-xattrs", "-comp", "lz4"])
        .args(["-force-uid", "1000", "-force-gid", "1000"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::remove_dir_all(tree).unwrap();
    name
}

/// `ruko-container run` with a socket as stdin, over which these files come.
fn run(site: &Site, spec: &RunSpec, files: &[BorrowedFd<'_>]) -> Run {
    let (theirs, ours) = UnixStream::pair().unwrap();
    let line = serde_json::to_string(spec).unwrap() + "\n";
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(files)));
    }
    let sent = sendmsg(&ours, &[IoSlice::new(line.as_bytes())], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, line.len());
    site.run_with(theirs.into(), ours.into())
}

pub(crate) struct Dyno<'a> {
    platform: &'a Platform,
    name: String,
    run: Run,
    address: Ipv4Addr,
    slot: u64,
    /// What it reads as its stdin.
    input: Option<PipeWriter>,
    output: Written,
}

impl Dyno<'_> {
    /// What it is to run.
    pub(crate) fn tell(&mut self, what: &DynoStart) {
        let line = serde_json::to_string(what).unwrap() + "\n";
        self.write(line.as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn stop(&self, seconds: u64) {
        self.run.ask(RunRequest::Stop { seconds });
    }

    /// Waits for its end, with all that it wrote.
    #[track_caller]
    pub(crate) fn end(mut self) -> (RunEvent, String) {
        let event = self.run.event();
        (event, self.output.all())
    }

    #[track_caller]
    fn usage(&mut self) -> (u64, u64) {
        self.run.ask(RunRequest::Usage);
        let event = self.run.event();
        let RunEvent::Usage { memory_bytes, oom_kills } = event else { panic!("{event:?}") };
        (memory_bytes, oom_kills)
    }

    fn lxc_start(&self) -> String {
        only_child(&self.platform.site.listed(&self.name)["owner"].to_string())
    }

    /// Its process 1, as the host sees it.
    fn init(&self) -> String {
        only_child(&self.lxc_start())
    }

    fn remains(&self) -> Vec<String> {
        self.platform.site.remains(&self.name, self.slot)
    }
}

/// What a dyno writes, read as it comes.
struct Written {
    so_far: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Written {
    fn follow(file: OwnedFd) -> Self {
        let so_far = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&so_far);
        let reader = std::thread::spawn(move || {
            let mut file = fs::File::from(file);
            let mut chunk = [0; 65536];
            while let Ok(count @ 1..) = file.read(&mut chunk) {
                shared.lock().unwrap().extend_from_slice(&chunk[..count]);
            }
        });
        Self { so_far, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.so_far.lock().unwrap()).into_owned()
    }

    /// Waits until it wrote this.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.text().contains(text) {
            assert!(Instant::now() < until, "no `{text}` in `{}`", self.text());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Everything, once nobody can write any more.
    fn all(&mut self) -> String {
        self.reader.take().unwrap().join().unwrap();
        self.text()
    }
}
