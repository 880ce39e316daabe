//! What every controller works with.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::platform::CallLimit;
use crate::settings::Settings;
use crate::store::Store;
use crate::token::Token;
use crate::uploads::Uploads;

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
    /// How often each account called.
    pub(crate) calls: CallLimit,
    stop: watch::Sender<bool>,
}

impl Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Api {
    pub(crate) fn new(settings: Settings, store: Store, uploads: Option<Uploads>, output_key: Token) -> Self {
        Self(Arc::new(Inner {
            settings,
            store,
            uploads,
            output_key,
            build_queued: Notify::new(),
            push_ended: Notify::new(),
            output_grew: Notify::new(),
            calls: CallLimit::default(),
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

    /// Wakes those who wait for a lease, and those who follow the output of the push.
    pub(crate) fn tell_push_ended(&self) {
        self.push_ended.notify_waiters();
        self.output_grew.notify_waiters();
    }
}
