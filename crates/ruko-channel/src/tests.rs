use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use ruko_api_types::host::{ReleaseProgress, ReleaseStatus};
use ruko_api_types::{Committed, Stored};

use super::*;

#[derive(Default)]
struct Recorder {
    slug: Mutex<Vec<u8>>,
    repo: Option<Vec<u8>>,
    source: Option<&'static [u8]>,
    commits: Mutex<usize>,
}

impl Host for Recorder {
    fn build(&self) -> Result<BuildRequest, Refusal> {
        Ok(BuildRequest {
            push: PushId::generate(),
            request_id: "r".into(),
            app: "my-app".parse().unwrap(),
            stack: "openruko-12".parse().unwrap(),
            heroku_stack: None,
            config_vars: BTreeMap::from([("KEY".parse().unwrap(), "two\nlines".into())]),
            buildpacks: vec![],
            deploy_refs: vec!["refs/heads/main".into()],
            source_version: None,
            limits: BuildLimits::default(),
            env: BTreeMap::new(),
            git_urls: vec![],
            known_hosts: None,
        })
    }

    fn repo(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        Ok(self.repo.clone().map(|bytes| Box::new(std::io::Cursor::new(bytes)) as Box<dyn Read>))
    }

    fn source(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        self.source.map(|bytes| Some(Box::new(bytes) as Box<dyn Read>)).ok_or(Refusal("it is gone".into()))
    }

    fn submodule(&self, app: &AppName) -> Result<Option<Box<dyn Read>>, Refusal> {
        match app.as_str() {
            "lib" => Ok(Some(Box::new(&b"repository"[..]))),
            "new" => Ok(None),
            _ => Err(Refusal("there is none".into())),
        }
    }

    fn agent(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(message.iter().rev().copied().collect())
    }

    fn cache(&self) -> Option<Box<dyn Read>> {
        None
    }

    fn store_slug(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        let mut slug = self.slug.lock().unwrap();
        bytes.take(1000).read_to_end(&mut slug).unwrap();
        if slug.len() == 1000 {
            return Err(Refusal("too large".into()));
        }
        Ok(Stored { bytes: slug.len() as u64, sha256: String::new() })
    }

    fn store_repo(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        let bytes = std::io::copy(bytes, &mut std::io::sink()).map_err(|e| Refusal(e.to_string()))?;
        Ok(Stored { bytes, sha256: String::new() })
    }

    fn commit(&self, _: CommitRequest) -> Result<Committed, Refusal> {
        *self.commits.lock().unwrap() += 1;
        Ok(Committed { repo_version: 1, release: Some(7), web_url: "http://x/".into() })
    }

    fn progress(&self, output_from: u64) -> Result<ReleaseProgress, Refusal> {
        Ok(ReleaseProgress {
            output: "told".into(),
            output_to: output_from + 4,
            status: ReleaseStatus::Succeeded,
            reason: None,
            serving: Some(7),
            dynos: BTreeMap::new(),
        })
    }

    fn output(&self, _: &str) {}

    fn failed(&self, reason: &str) -> Vec<String> {
        vec![format!("met: {reason}")]
    }
}

fn with_host<T>(host: &Recorder, talk: impl FnOnce(&mut Client) -> T) -> T {
    let (here, there) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || serve(&there, host));
        talk(&mut Client::over(here))
    })
}

#[test]
fn a_whole_push_goes_over_one_connection() {
    let host = Recorder { repo: Some(vec![7; 3 << 20]), ..Recorder::default() };
    with_host(&host, |client| {
        assert_eq!(client.hello().unwrap().config_vars.values().next().unwrap(), "two\nlines");
        let repo = client.repo(|object| {
            let mut bytes = vec![];
            object.read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert_eq!(repo.unwrap(), Some(vec![7; 3 << 20]));
        assert!(client.cache(|_| ()).unwrap().is_none());
        let mut slug = client.slug().unwrap();
        slug.write_all(b"slug").unwrap();
        assert_eq!(slug.finish().unwrap().bytes, 4);
        assert_eq!(client.failed("why".into()).unwrap(), ["met: why"]);
        let request = CommitRequest { refs: vec![], manifest: None };
        assert_eq!(client.commit(request).unwrap(), (Some(7), "http://x/".into()));
    });
    assert_eq!(*host.slug.lock().unwrap(), b"slug");
}

#[test]
fn a_tarball_comes_as_an_object_or_with_the_words_why_not() {
    let take = |object: &mut dyn Read| {
        let mut bytes = vec![];
        object.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let host = Recorder { source: Some(b"tar"), ..Recorder::default() };
    with_host(&host, |client| assert_eq!(client.source(take).unwrap(), Some(b"tar".to_vec())));
    with_host(&Recorder::default(), |client| {
        assert_eq!(client.source(take).unwrap_err().to_string(), "it is gone");
        assert!(client.hello().is_ok(), "the connection can still be used");
    });
}

#[test]
fn a_refusal_arrives_even_when_the_object_was_not_read_to_its_end() {
    with_host(&Recorder::default(), |client| {
        let mut slug = client.slug().unwrap();
        slug.write_all(&vec![0; 5 << 20]).unwrap();
        assert_eq!(slug.finish().unwrap_err().to_string(), "too large");
        assert!(client.hello().is_ok(), "the connection can still be used");
    });
}

#[test]
fn an_object_that_is_only_begun_is_read_to_the_end_by_who_takes_half() {
    let host = Recorder { repo: Some(vec![1; 1 << 20]), ..Recorder::default() };
    with_host(&host, |client| {
        let first = client.repo(|object| {
            let mut byte = [0];
            object.read_exact(&mut byte).unwrap();
            byte[0]
        });
        assert_eq!(first.unwrap(), Some(1));
        assert!(client.hello().is_ok());
    });
}

#[test]
fn half_an_object_is_never_a_whole_one() {
    let (here, there) = UnixStream::pair().unwrap();
    let host = Recorder::default();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| serve(&there, &host));
        (&here).write_all(b"J\0\0\0\x12{\"request\":\"repo\"}D\0\0\0\x05ab").unwrap();
        here.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(served.join().unwrap().is_err());
    });
}

#[test]
fn hostile_records_are_refused_without_being_read_into_memory() {
    for bytes in [&b"J\xff\xff\xff\xff"[..], b"D\0\0\0\x01x", b"X\0\0\0\0", b"J\0\0\0\x02{}", b"J\0\0"] {
        let (here, there) = UnixStream::pair().unwrap();
        let host = Recorder::default();
        (&here).write_all(bytes).unwrap();
        here.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(serve(&there, &host).is_err(), "{bytes:?}");
        assert_eq!(*host.commits.lock().unwrap(), 0);
    }
}

#[test]
fn what_submodules_need_comes_over_the_channel_or_is_refused_in_words() {
    with_host(&Recorder::default(), |client| {
        let mut fetch = |app: &str| {
            client.submodule(&app.parse().unwrap(), |object| {
                let mut text = String::new();
                object.read_to_string(&mut text).unwrap();
                text
            })
        };
        assert_eq!(fetch("lib").unwrap().as_deref(), Some("repository"));
        assert_eq!(fetch("new").unwrap(), None);
        assert_eq!(fetch("other").unwrap_err().to_string(), "there is none");
        assert_eq!(client.agent(vec![11, 1]).unwrap(), [1, 11]);
        assert!(client.agent(vec![0; MAX_AGENT_MESSAGE + 1]).unwrap_err().to_string().contains("too long"));
    });
}
