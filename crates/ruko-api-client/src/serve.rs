//! The calls of the component `serve`: keys, access, pushes and fetches.

use std::io::Read;
use std::time::Duration;

use ruko_api_types::host::ReleaseProgress;
use ruko_api_types::push_log::Steps;
use ruko_api_types::storage::{StorageDone, StorageWork};
use ruko_api_types::{
    Abort, Access, Authenticate, Authenticated, Commit, Committed, Fetch, Greeting, Holder,
    INSUFFICIENT_SCOPE, INVALID_TOKEN, KeyOwner, KeyPage, MAX_KEY_PAGE, OpenFetch, OpenPush, Output, Push,
    TakeBuild,
};
use ruko_core::{AppName, PushId, UserName};

use crate::http::{escape, held};
use crate::{ApiClient, ApiClientError};

/// The answer to opening a push.
#[derive(Clone, Debug)]
pub enum Opened {
    /// The push is open and has the app's lease.
    Push(Box<Push>),
    /// Another push has the lease, and kept it for as long as the call was willing to wait.
    Held(Holder),
    /// The user may not write this app, or there is no such app.
    Denied,
}

/// The answer to the question whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// This user's.
    User(UserName),
    /// Nobody's, or it has expired.
    Refused,
    /// Its scope does not cover what it is shown for; in the API's own words.
    TooNarrow(String),
    /// There were too many wrong ones; the API's own words say when to try again.
    Throttled(String),
}

impl ApiClient {
    /// Whose token it is, if it is good for the access that is asked for.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call: nobody is then let in.
    pub fn authenticate(&self, asked: &Authenticate) -> Result<Authentication, ApiClientError> {
        let answer = self.post("/internal/authenticate", asked)?;
        match answer.json::<Authenticated>() {
            Ok(Authenticated { user }) => Ok(Authentication::User(user)),
            Err(ApiClientError::Refused { status: 401, id, .. }) if id == INVALID_TOKEN => {
                Ok(Authentication::Refused)
            }
            Err(ApiClientError::Refused { status: 403, id, message }) if id == INSUFFICIENT_SCOPE => {
                Ok(Authentication::TooNarrow(message))
            }
            Err(ApiClientError::Refused { status: 429, message, .. }) => {
                Ok(Authentication::Throttled(message))
            }
            Err(other) => Err(other),
        }
    }

    /// Whose key has this fingerprint (`SHA256:…`); none when it is nobody's.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn key(&self, fingerprint: &str) -> Result<Option<KeyOwner>, ApiClientError> {
        let answer = self.get(&format!("/internal/keys?fingerprint={}", escape(fingerprint)))?;
        if answer.status() == 404 {
            return Ok(None);
        }
        answer.json().map(Some)
    }

    /// A piece of all keys, beginning after the key with this id; from the first one where it is empty.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn keys_after(&self, id: &str) -> Result<KeyPage, ApiClientError> {
        self.get(&format!("/internal/keys/all?after={}&limit={MAX_KEY_PAGE}", escape(id)))?.json()
    }

    /// What a user is told who logs in without a command, with the key of this id if it is known.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn greeting(&self, user: &UserName, key: &str) -> Result<Greeting, ApiClientError> {
        self.get(&format!("/internal/users/{user}/greeting?key={}", escape(key)))?.json()
    }

    /// Whether a user may read or write an app. An app that does not exist reads the same as one that is
    /// not the user's.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call: access is then not granted.
    pub fn authorize(&self, user: &UserName, app: &AppName, access: Access) -> Result<bool, ApiClientError> {
        let access = match access {
            Access::Read => "read",
            Access::Write => "write",
        };
        let answer = self.get(&format!("/internal/authorize?user={user}&app={app}&access={access}"))?;
        match answer.status() {
            204 => Ok(true),
            403 | 404 => not_this_component(answer.done()).map(|()| false),
            _ => answer.done().map(|()| false),
        }
    }

    /// Opens a push and takes the app's lease, waiting for it as long as `open` says.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn open_push(&self, app: &AppName, open: &OpenPush) -> Result<Opened, ApiClientError> {
        let answer = self.post(&format!("/internal/apps/{app}/pushes"), open)?;
        match answer.status() {
            409 => answer.parse().map(Opened::Held),
            403 | 404 => not_this_component(answer.done()).map(|()| Opened::Denied),
            _ => answer.json().map(|push| Opened::Push(Box::new(push))),
        }
    }

    /// Takes up the next build of a tarball, waiting for one as long as `take` says: its push, open and with its
    /// app's lease. None when there was none.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn take_build(&self, take: &TakeBuild) -> Result<Option<Push>, ApiClientError> {
        let answer = self.post("/internal/builds/take", take)?;
        match answer.status() {
            204 => answer.done().map(|()| None),
            _ => answer.json().map(Some),
        }
    }

    /// The tarball of an open push that is none of git; it has to come to its end within `time`.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call, or the tarball is gone.
    pub fn source(&self, push: &PushId, time: Duration) -> Result<impl Read + use<>, ApiClientError> {
        self.get_within(&format!("/internal/builds/{push}/source"), time)?.reader()
    }

    /// Opens a fetch; none when the user may not read this app, or there is no such app.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn open_fetch(&self, app: &AppName, user: &UserName) -> Result<Option<Fetch>, ApiClientError> {
        let answer =
            self.post(&format!("/internal/apps/{app}/fetches"), &OpenFetch { user: user.clone() })?;
        match answer.status() {
            403 | 404 => not_this_component(answer.done()).map(|()| None),
            _ => answer.json().map(Some),
        }
    }

    /// Renews the lease of a push. `false`: it is lost, and nothing of this push can be committed.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call. The lease then runs on as it was.
    pub fn renew_lease(&self, push: &PushId) -> Result<bool, ApiClientError> {
        let answer = self.put(&format!("/internal/pushes/{push}/lease"), &())?;
        match answer.status() {
            404 | 410 => Ok(false),
            _ => answer.done().map(|()| true),
        }
    }

    /// Commits a push: repository version, slug and release at once, and gives the lease back. Repeated
    /// after a broken connection it gives the same answer.
    ///
    /// # Errors
    /// `Refused` with 409 when the repository moved on, 410 when the lease was lost, 422 when the commit
    /// is not valid; or the API cannot be reached, and whether it was carried out is unknown until it is
    /// repeated.
    pub fn commit(&self, push: &PushId, commit: &Commit) -> Result<Committed, ApiClientError> {
        self.post(&format!("/internal/pushes/{push}/commit"), commit)?.json()
    }

    /// Says what was deleted and found in storage, and asks what is to be done there.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call: what was told is told again the next time.
    pub fn storage_work(&self, done: &StorageDone) -> Result<StorageWork, ApiClientError> {
        self.post("/internal/storage/work", done)?.json()
    }

    /// How far a release is, waiting for at most so many seconds (30 at most) until its release phase has printed
    /// something beyond `output_from`, its dynos changed, or it is pending no more.
    ///
    /// # Errors
    /// `Refused` with 404 when there is no such app or release; or the API cannot be reached.
    pub fn release_progress(
        &self,
        app: &AppName,
        version: u64,
        output_from: u64,
        wait_seconds: u64,
    ) -> Result<ReleaseProgress, ApiClientError> {
        let asked = format!("output_from={output_from}&wait_seconds={wait_seconds}");
        let path = format!("/internal/apps/{app}/releases/{version}/progress?{asked}");
        self.get_within(&path, held(wait_seconds))?.json()
    }

    /// Ends a push that came to nothing, with the reason, and gives the lease back. A push that has
    /// already ended stays as it is.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call. The lease then runs out by itself.
    pub fn abort(&self, push: &PushId, abort: &Abort) -> Result<(), ApiClientError> {
        self.post(&format!("/internal/pushes/{push}/abort"), abort)?.done()
    }

    /// Tells what the steps of a push took, when it has ended.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call; 404 when nothing was pushed and there is no record.
    pub fn tell_steps(&self, push: &PushId, steps: &Steps) -> Result<(), ApiClientError> {
        self.put(&format!("/internal/pushes/{push}/steps"), steps)?.done()
    }

    /// Appends to the output that is kept of a push. A piece that is sent again is stored once.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn output(&self, push: &PushId, output: &Output) -> Result<(), ApiClientError> {
        self.post(&format!("/internal/pushes/{push}/output"), output)?.done()
    }
}

/// A refusal of the component itself (its token lacks the right) must not read as one of the user.
fn not_this_component(answer: Result<(), ApiClientError>) -> Result<(), ApiClientError> {
    match answer {
        Err(ApiClientError::Refused { status: 403 | 404, ref id, .. })
            if id == "denied" || id == "not_found" =>
        {
            Ok(())
        }
        other => other,
    }
}
