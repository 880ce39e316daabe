//! The host's side.

use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;

use ruko_api_types::host::ReleaseProgress;
use ruko_api_types::{Committed, Stored};
use ruko_core::AppName;

use crate::record::{self, ObjectReader, ObjectWriter};
use crate::{Answer, BuildRequest, CommitRequest, MAX_AGENT_MESSAGE, Request};

/// Why the host side refuses; the words reach the app developer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// What the host side of a push does for its container.
pub trait Host: Sync {
    /// What is to be built.
    ///
    /// # Errors
    /// Nothing is: this is a fetch.
    fn build(&self) -> Result<BuildRequest, Refusal>;

    /// The stored repository; none when nothing was ever pushed.
    ///
    /// # Errors
    /// It is there but cannot be read.
    fn repo(&self) -> Result<Option<Box<dyn Read>>, Refusal>;

    /// The tarball that is built; none when this is a git push.
    ///
    /// # Errors
    /// It is there but cannot be read.
    fn source(&self) -> Result<Option<Box<dyn Read>>, Refusal>;

    /// The stored repository of another app; none when nothing was ever pushed to it.
    ///
    /// # Errors
    /// There is none that the user of this push may read, or the time for it is over.
    fn submodule(&self, app: &AppName) -> Result<Option<Box<dyn Read>>, Refusal>;

    /// What the agent that has the app's deploy key answers to a message.
    ///
    /// # Errors
    /// The app has no such key, or the time for it is over.
    fn agent(&self, message: &[u8]) -> Result<Vec<u8>, Refusal>;

    /// The build cache; none when there is none. From here on the app's own code may run, so that nothing is given
    /// out for its sources any more.
    fn cache(&self) -> Option<Box<dyn Read>>;

    /// Stores the slug, counting and hashing it.
    ///
    /// # Errors
    /// Too large, or storage failed.
    fn store_slug(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal>;

    /// Stores the repository, counting and hashing it.
    ///
    /// # Errors
    /// Storage failed.
    fn store_repo(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal>;

    /// Makes what was stored the app's.
    ///
    /// # Errors
    /// Not stored, not valid, lease lost, API down.
    fn commit(&self, request: CommitRequest) -> Result<Committed, Refusal>;

    /// How far the release that the commit made is; holds the call until there is more than was told.
    ///
    /// # Errors
    /// There is no release, or it is not worth waiting for any longer.
    fn progress(&self, output_from: u64) -> Result<ReleaseProgress, Refusal>;

    /// Keeps lines for the build's record.
    fn output(&self, text: &str);

    /// Keeps why the build failed; gives the bounds that it met.
    fn failed(&self, reason: &str) -> Vec<String>;
}

/// Answers the requests of one connection until its end.
///
/// # Errors
/// The connection broke, or what came over it is not the protocol.
pub fn serve(stream: &UnixStream, host: &dyn Host) -> io::Result<()> {
    let mut from = BufReader::with_capacity(128 << 10, stream);
    while let Some(request) = record::receive::<Request>(&mut from)? {
        match request {
            Request::RepoGet => give(stream, host.repo())?,
            Request::SourceGet => give(stream, host.source())?,
            Request::SubmoduleGet { app } => give(stream, host.submodule(&app))?,
            Request::CacheGet => give(stream, Ok(host.cache()))?,
            request => {
                let answer = answer(&mut from, host, request)?;
                record::send(&mut &*stream, &answer)?;
            }
        }
    }
    Ok(())
}

fn give(mut to: &UnixStream, object: Result<Option<Box<dyn Read>>, Refusal>) -> io::Result<()> {
    let mut object = match object {
        Err(Refusal(message)) => return record::send(&mut to, &Answer::Refused { message }),
        Ok(None) => return record::send(&mut to, &Answer::Object { found: false }),
        Ok(Some(object)) => object,
    };
    record::send(&mut to, &Answer::Object { found: true })?;
    let mut records = ObjectWriter::new(to);
    io::copy(&mut object, &mut records)?;
    records.finish()
}

fn answer(from: &mut impl Read, host: &dyn Host, request: Request) -> io::Result<Answer> {
    Ok(match request {
        Request::Hello => match host.build() {
            Ok(build) => Answer::Build(Box::new(build)),
            Err(Refusal(message)) => Answer::Refused { message },
        },
        Request::Slug => stored(from, |bytes| host.store_slug(bytes))?,
        Request::Repo => stored(from, |bytes| host.store_repo(bytes))?,
        Request::Commit(request) => match host.commit(request) {
            Ok(done) => Answer::Committed { release: done.release, web_url: done.web_url },
            Err(Refusal(message)) => Answer::Refused { message },
        },
        Request::Progress { output_from } => match host.progress(output_from) {
            Ok(progress) => Answer::Progress(Box::new(progress)),
            Err(Refusal(message)) => Answer::Refused { message },
        },
        Request::Output { text } => {
            host.output(&text);
            Answer::Noted
        }
        Request::Agent { message } if message.len() > MAX_AGENT_MESSAGE => {
            Answer::Refused { message: "The message for ssh-agent is too long.".to_owned() }
        }
        Request::Agent { message } => match host.agent(&message) {
            Ok(message) => Answer::Agent { message },
            Err(Refusal(message)) => Answer::Refused { message },
        },
        Request::Failed { reason } => Answer::Limits { met: host.failed(&reason) },
        Request::RepoGet | Request::SourceGet | Request::SubmoduleGet { .. } | Request::CacheGet => {
            unreachable!("answered by `give`")
        }
    })
}

fn stored(
    from: &mut impl Read,
    store: impl FnOnce(&mut dyn Read) -> Result<Stored, Refusal>,
) -> io::Result<Answer> {
    let mut object = ObjectReader::new(from);
    let outcome = store(&mut object);
    object.drain()?;
    Ok(match outcome {
        Ok(stored) => Answer::Stored(stored),
        Err(Refusal(message)) => Answer::Refused { message },
    })
}
