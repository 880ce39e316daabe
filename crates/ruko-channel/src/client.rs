//! The container's side.

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use ruko_api_types::Stored;
use ruko_api_types::host::ReleaseProgress;
use ruko_core::AppName;

use crate::record::{self, ObjectReader, ObjectWriter};
use crate::{Answer, BuildRequest, CommitRequest, Request};

/// Why a request brought no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host side refused; its words are for the app developer.
    #[error("{0}")]
    Refused(String),
    /// The channel broke.
    #[error("the channel to the host broke")]
    Broken(#[from] io::Error),
    /// The answer does not belong to the request.
    #[error("the host gave an answer that does not fit the request")]
    Unexpected,
}

/// One connection to the host side.
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nothing listens at `socket`.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        Ok(Self::over(UnixStream::connect(socket)?))
    }

    /// Speaks over an existing connection.
    pub fn over(stream: UnixStream) -> Self {
        Self { stream: BufReader::with_capacity(128 << 10, stream) }
    }

    fn answer(&mut self) -> Result<Answer, ClientError> {
        match record::receive(&mut self.stream)? {
            Some(Answer::Refused { message }) => Err(ClientError::Refused(message)),
            Some(answer) => Ok(answer),
            None => Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        record::send(self.stream.get_mut(), request)?;
        self.answer()
    }

    /// What is to be built.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn hello(&mut self) -> Result<BuildRequest, ClientError> {
        match self.ask(&Request::Hello)? {
            Answer::Build(build) => Ok(*build),
            _ => Err(ClientError::Unexpected),
        }
    }

    fn get<T>(
        &mut self,
        request: &Request,
        take: impl FnOnce(&mut dyn Read) -> T,
    ) -> Result<Option<T>, ClientError> {
        match self.ask(request)? {
            Answer::Object { found: false } => Ok(None),
            Answer::Object { found: true } => {
                let mut object = ObjectReader::new(&mut self.stream);
                let taken = take(&mut object);
                object.drain()?;
                Ok(Some(taken))
            }
            _ => Err(ClientError::Unexpected),
        }
    }

    /// Streams the stored repository into `take`; none when nothing was ever pushed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn repo<T>(&mut self, take: impl FnOnce(&mut dyn Read) -> T) -> Result<Option<T>, ClientError> {
        self.get(&Request::RepoGet, take)
    }

    /// Streams the tarball that is built into `take`; none when this is a git push.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn source<T>(&mut self, take: impl FnOnce(&mut dyn Read) -> T) -> Result<Option<T>, ClientError> {
        self.get(&Request::SourceGet, take)
    }

    /// Streams the stored repository of another app into `take`; none when nothing was ever pushed to it.
    ///
    /// # Errors
    /// See [`ClientError`]: refused where the user of this push may not read that app.
    pub fn submodule<T>(
        &mut self,
        app: &AppName,
        take: impl FnOnce(&mut dyn Read) -> T,
    ) -> Result<Option<T>, ClientError> {
        self.get(&Request::SubmoduleGet { app: app.clone() }, take)
    }

    /// What the agent that has the app's deploy key answers.
    ///
    /// # Errors
    /// See [`ClientError`]: refused where the app has no such key, and once its code may run.
    pub fn agent(&mut self, message: Vec<u8>) -> Result<Vec<u8>, ClientError> {
        match self.ask(&Request::Agent { message })? {
            Answer::Agent { message } => Ok(message),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// Streams the build cache into `take`; none when there is none.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn cache<T>(&mut self, take: impl FnOnce(&mut dyn Read) -> T) -> Result<Option<T>, ClientError> {
        self.get(&Request::CacheGet, take)
    }

    /// Begins to hand over the slug.
    ///
    /// # Errors
    /// The channel broke.
    pub fn slug(&mut self) -> Result<Upload<'_>, ClientError> {
        self.upload(&Request::Slug)
    }

    /// Begins to hand over the repository.
    ///
    /// # Errors
    /// The channel broke.
    pub fn store_repo(&mut self) -> Result<Upload<'_>, ClientError> {
        self.upload(&Request::Repo)
    }

    fn upload(&mut self, request: &Request) -> Result<Upload<'_>, ClientError> {
        record::send(self.stream.get_mut(), request)?;
        let to = self.stream.get_mut().try_clone()?;
        Ok(Upload { object: ObjectWriter::new(to), client: self })
    }

    /// Makes what was stored the app's. Gives the release's version and the app's address.
    ///
    /// # Errors
    /// See [`ClientError`]; nothing is changed then.
    pub fn commit(&mut self, request: CommitRequest) -> Result<(Option<u64>, String), ClientError> {
        match self.ask(&Request::Commit(request))? {
            Answer::Committed { release, web_url } => Ok((release, web_url)),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// How far the release that the commit made is; waits until there is more than was told.
    ///
    /// # Errors
    /// See [`ClientError`]; refused when it is not worth waiting for any longer.
    pub fn progress(&mut self, output_from: u64) -> Result<ReleaseProgress, ClientError> {
        match self.ask(&Request::Progress { output_from })? {
            Answer::Progress(progress) => Ok(*progress),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// Appends to the build's record.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn output(&mut self, text: String) -> Result<(), ClientError> {
        self.ask(&Request::Output { text }).map(|_| ())
    }

    /// Says that the build failed; gives the bounds that it met, a sentence each.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn failed(&mut self, reason: String) -> Result<Vec<String>, ClientError> {
        match self.ask(&Request::Failed { reason })? {
            Answer::Limits { met } => Ok(met),
            _ => Err(ClientError::Unexpected),
        }
    }
}

/// An object on its way. Dropped without [`Upload::finish`], the host side forgets it.
pub struct Upload<'a> {
    object: ObjectWriter<UnixStream>,
    client: &'a mut Client,
}

impl Upload<'_> {
    /// Ends the object and waits until it is stored.
    ///
    /// # Errors
    /// See [`ClientError`]: refused, for example because it is too large.
    pub fn finish(self) -> Result<Stored, ClientError> {
        self.object.finish()?;
        match self.client.answer()? {
            Answer::Stored(stored) => Ok(stored),
            _ => Err(ClientError::Unexpected),
        }
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.object.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.object.flush()
    }
}
