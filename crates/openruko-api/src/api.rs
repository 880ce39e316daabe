//! What every controller works with.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use ruko_core::UserName;
use ruko_http::Places;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::log::build_lines::BuildLines;
use crate::log::drains::Drains;
use crate::log::{self, Logs};
use crate::password::Hashing;
use crate::platform::CallLimit;
use crate::settings::Settings;
use crate::store::Store;
use crate::throttle::Throttles;
use crate::token::Token;
use crate::uploads::Uploads;

/// Logs that are read at a time; a quarter of all connections ([`ruko_http::Bounds`]). Of one user, a quarter of
/// that: nobody keeps the others from theirs.
const LOG_READERS: (usize, usize) = (128, 32);

/// Outputs of builds that are followed at a time, and those of one user's builds.
const OUTPUT_READERS: (usize, usize) = (128, 32);

/// Programs that wait for a login by browser at a time, and those at one place on the network: who they are is
/// not known yet.
const LOGIN_WAITERS: (usize, usize) = (64, 16);

/// The settings, the database, and the events that calls wait for. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    /// Where tarballs wait to be built, where they may.
    pub(crate) uploads: Option<Uploads>,
    /// What the secrets in the URLs of builds' outputs are made with.
    pub(crate) output_key: Token,
    /// The build of a tarball was asked for.
    pub(crate) build_queued: Notify,
    /// A lease was given back, or a push ended in another way.
    pub(crate) push_ended: Notify,
    /// A push printed something.
    pub(crate) output_grew: Notify,
    /// The logs of apps.
    pub(crate) logs: Arc<Logs>,
    /// What builds printed of lines that are not at their end.
    pub(crate) build_lines: BuildLines,
    /// What happens to log drains.
    pub(crate) drains: Drains,
    /// Objects are to be deleted, or files to be listed.
    pub(crate) storage_due: Notify,
    /// The files of storage are to be listed.
    pub(crate) files_due: AtomicBool,
    /// When that was asked for last.
    pub(crate) files_listed: AtomicI64,
    /// When the router told last who asks for which app; 0: not since the API began.
    pub(crate) activity_told: AtomicI64,
    /// There is something to be told to webhooks.
    pub(crate) webhooks_due: Notify,
    /// Places for those who read logs: each holds a connection for long.
    pub(crate) log_readers: Places<String>,
    /// The same for those who follow the outputs of builds.
    pub(crate) output_readers: Places<UserName>,
    /// The same for those who wait for a login by browser.
    pub(crate) login_waiters: Places<IpAddr>,
    /// How often each account called.
    pub(crate) calls: CallLimit,
    /// How often somebody failed to prove who they are.
    pub(crate) throttles: Throttles,
    /// The hashing of passwords, so many at a time.
    pub(crate) hashing: Hashing,
    /// A login by browser was answered.
    pub(crate) browser_answered: Notify,
    stop: watch::Sender<bool>,
}

impl Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Api {
    pub(crate) fn new(
        settings: Settings,
        store: Store,
        uploads: Option<Uploads>,
        logs: Logs,
        output_key: Token,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            store,
            uploads,
            output_key,
            build_queued: Notify::new(),
            push_ended: Notify::new(),
            output_grew: Notify::new(),
            logs: Arc::new(logs),
            build_lines: BuildLines::default(),
            drains: Drains::default(),
            storage_due: Notify::new(),
            files_due: AtomicBool::new(false),
            files_listed: AtomicI64::new(0),
            activity_told: AtomicI64::new(0),
            webhooks_due: Notify::new(),
            log_readers: Places::new(LOG_READERS.0, LOG_READERS.1),
            output_readers: Places::new(OUTPUT_READERS.0, OUTPUT_READERS.1),
            login_waiters: Places::new(LOGIN_WAITERS.0, LOGIN_WAITERS.1),
            calls: CallLimit::default(),
            throttles: Throttles::default(),
            hashing: Hashing::default(),
            browser_answered: Notify::new(),
            stop: watch::Sender::new(false),
        }))
    }

    /// Lets every waiting call end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Ends when the API is told to stop.
    pub(crate) async fn stopping(&self) {
        // The sender lives as long as `self`: the only way for this to end is the value.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// When whoever waits for an event until a certain time looks again by themselves: another process of
    /// the API on the same database may have had it.
    pub(crate) fn look_again_by(&self, until: Instant) -> Instant {
        self.store.look_again().map_or(until, |pause| until.min(Instant::now() + pause))
    }

    /// Forgets the log of an app that is gone, and has its drains end.
    pub(crate) async fn forget_log(&self, app_id: &str) {
        self.logs.remove(app_id).await;
        self.drains.look();
    }

    /// Wakes those who wait for a lease, and those who follow the output of the push.
    pub(crate) fn tell_push_ended(&self) {
        self.push_ended.notify_waiters();
        self.output_grew.notify_waiters();
        self.tell_changed();
    }

    /// Wakes those who tell of changes: most make a release.
    pub(crate) fn tell_changed(&self) {
        self.logs.tell_all_changed();
        self.webhooks_due.notify_waiters();
    }

    /// What the platform itself says in the log of an app. Never fails: a line is not worth a call.
    pub(crate) async fn say(&self, app_id: &str, text: &str) {
        let (source, process) = log::PLATFORM;
        self.logs.append(app_id, source, process, &ruko_core::exit::one_line(text)).await;
    }

    /// The same of a change of one app.
    pub(crate) fn tell_changed_of(&self, app_id: &str) {
        self.logs.tell_changed(app_id);
        self.webhooks_due.notify_waiters();
    }
}
